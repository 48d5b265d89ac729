"""Explaining goes on where it was killed, and shows the layers and heads that are asked for."""

import csv
import json

import jax
import numpy as np
import pytest

from spermjax.cli import main
from spermjax.config import Model
from spermjax.errors import ConfigError
from spermjax.interpret import FunctionModel
from spermjax.interpret.suite import Measurements
from spermjax.workflow.explain import against_baseline, choose_methods, summarise
from spermjax.workflow.measure import make_measure
from spermjax.workflow.pieces import Pieces
from tests.train import tiny


class Killed(Exception):
    """Stands for a kill after some pieces."""


def _measured(number):
    return Measurements({"a": np.full((2, 4, 4), number)}, {"a/gini": np.full(2, number)})


def test_pieces_survive_and_others_do_not(tmp_path):
    pieces = Pieces(tmp_path / "pieces", {"step": 1})
    pieces.save(3, _measured(3.0))
    again = Pieces(tmp_path / "pieces", {"step": 1}).load(3)
    assert again is not None
    np.testing.assert_array_equal(again.maps["a"], 3.0)
    np.testing.assert_array_equal(again.values["a/gini"], 3.0)
    assert again.values["a/gini"].shape == (2,)
    assert pieces.load(4) is None
    assert Pieces(tmp_path / "pieces", {"step": 2}).load(3) is None
    pieces.clear()
    assert not (tmp_path / "pieces").exists()


def test_a_second_call_computes_only_what_is_missing(tmp_path):
    """Killed after the second of three pieces; what was stored is taken as it is, the rest agrees with a whole call."""
    cells = tiny.dataset().splits["validation"]
    cells = cells.take(np.arange(6))
    targets = np.zeros(6, np.int64)

    def measure(pieces, advance=lambda count: None):
        return make_measure(
            model,
            tiny.dataset().task,
            jax.local_devices()[:1],
            methods=("random", "intensity"),
            metrics=("gini",),
            chunk=2,
            has_parts=True,
            pieces=pieces,
            advance=advance,
        )({}, cells, targets)

    model = FunctionModel(lambda images: images.mean((1, 2)))
    whole = measure(None)
    done = []

    def kill(count):
        done.append(count)
        if len(done) == 2:
            raise Killed

    with pytest.raises(Killed):
        measure(Pieces(tmp_path, {}), kill)
    stored = sorted(path.name for path in tmp_path.glob("*.npz"))
    assert len(stored) == 2
    changed = np.load(tmp_path / stored[0])
    np.savez(tmp_path / stored[0], **{name: changed[name] * 0 + 7 for name in changed.files})
    resumed = measure(Pieces(tmp_path, {}))
    np.testing.assert_array_equal(resumed.values["random/gini"][:2], 7)
    for name, values in whole.values.items():
        np.testing.assert_array_equal(resumed.values[name][2:], values[2:])


def test_layers_and_heads_are_shown_each_by_itself_and_unknown_ones_named_together():
    model = Model(depth=4, heads=2)
    methods = choose_methods(("raw_attention", "rollout", "uniform"), (0, -1), (1,), model)
    expected = ["rollout", "raw_attention_layer_0_head_1", "raw_attention_layer_3_head_1"]
    assert [method.name for method in methods] == expected
    assert [method.name for method in choose_methods(("rollout",), (), (), model)] == ["rollout"]
    with pytest.raises(ConfigError, match=r"(?s)--layers names 4; .*--heads names 2; the model has 2"):
        choose_methods(("rollout",), (4,), (2,), model)


def test_a_summary_counts_the_defined_compares_with_the_blob_and_says_how_methods_agree():
    cells = tiny.dataset().splits["validation"]
    cells = cells.take(np.arange(8))
    rng = np.random.default_rng(0)
    maps = {name: rng.uniform(size=(8, 4, 4)) for name in ("a", "centre_gaussian")}
    maps["b"] = 2 * maps["a"]
    better = np.r_[rng.uniform(0.8, 1.0, 7), np.nan]
    values = {"a/auroc": better, "b/auroc": better, "centre_gaussian/auroc": better - 0.5, "a/gini": better}
    measured = Measurements(maps, values)
    rows = {(row["method"], row["metric"]): row for row in summarise(measured, cells)}
    assert rows["a", "auroc"]["n"] == 7 and rows["centre_gaussian", "auroc"]["baseline"]
    assert rows["agreement", "kendall_w"]["value"] == pytest.approx(1.0)
    tests = against_baseline(measured, cells)
    assert [(test["metric"], test["first"]) for test in tests] == [("auroc", "a"), ("auroc", "b")]
    assert tests[0]["value"] == pytest.approx(0.5) and tests[0]["n"] == 7


def test_the_command_stores_a_table_twice_and_leaves_no_pieces(small_run, tmp_path):
    arguments = ["--methods", "raw_attention", "--metrics", "gini", "auroc", "--layers", "0", "-1", "--heads", "1"]
    assert main(["explain", str(small_run), *arguments, "--examples", "3", "--out", str(tmp_path)]) == 0
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "table.jsonl").read_text().splitlines()]
    assert len(rows) == len(lines) == 3
    column = "raw_attention_layer_0_head_1/gini"
    for row, line in zip(rows, lines, strict=True):
        assert row["id"] == line["id"]
        assert float(row[column]) == pytest.approx(line[column], rel=1e-4)
    assert {"raw_attention_layer_1_head_1/gini", "centre_gaussian/gini"} <= set(lines[0])
    assert not (tmp_path / "pieces").exists()
    assert len(list((tmp_path / "overlays").glob("*.png"))) == 3
