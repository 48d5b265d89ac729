"""Comparison of runs: its numbers against SciPy and published examples, its files, and what it refuses."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats

from spermjax.cli import main
from spermjax.config import Experiment
from spermjax.errors import ConfigError
from spermjax.run import write_json
from spermjax.sweep.compare import compare
from spermjax.sweep.compare.pareto import unbeaten
from spermjax.sweep.compare.statistics import over_runs, paired, ranks
from spermjax.sweep.fields import put

IDS = [f"cell-{i}" for i in range(40)]


def write_run(folder, name, accuracy, ids=IDS, fingerprint="f" * 64, rng=None, **settings):
    """A run folder with all that a comparison reads, and no model in it."""
    experiment = put(Experiment(name="made", data=dataclasses.replace(Experiment().data, image_size=16)), settings)
    experiment = put(experiment, {"model.patch_size": 8, "model.width": 16, "model.depth": 1})
    path = folder / "made" / name
    write_json(path / "config.json", experiment.to_dict())
    task = {"kind": "single_label", "names": ["a", "b"], "deciding_parts": {}}
    splits = {"train": {"n": 160, "ids": []}, "validation": {"n": len(ids), "ids": list(ids)}}
    data = {"name": "made", "fingerprint": fingerprint, "protocol": "official", "task": task, "splits": splits}
    write_json(path / "data.json", data)
    interval = {"value": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.1, "n": len(ids)}
    scores = {"n": len(ids), "overall": {"accuracy": interval}, "per_name": {}, "task": task}
    write_json(path / "evaluation" / "validation.json", scores)
    rng = rng or np.random.default_rng(0)
    right = np.arange(len(ids)) < round(accuracy * len(ids))
    lines = ["id,group,label,predicted", *(f"{i},{i},a,{'a' if ok else 'b'}" for i, ok in zip(ids, right, strict=True))]
    (path / "evaluation" / "validation.csv").write_text("\n".join(lines) + "\n")
    maps = rng.random((2, 16, 16)).astype(np.float32)
    (path / "explanations" / "validation").mkdir(parents=True)
    np.savez(
        path / "explanations" / "validation" / "examples.npz",
        image=np.full((2, 16, 16, 3), 200, np.uint8),
        parts=np.zeros((2, 16, 16), np.uint8),
        has_parts=np.zeros(2, bool),
        id=np.array(ids[:2]),
        label=np.zeros(2, np.int32),
        **{"maps/rollout": maps},
    )
    log = [
        {"step": step, "epoch": step / 10, "time": 100.0 + step / 10, "train/loss": 1.0} for step in (10, 20, 30)
    ] + [{"step": 30, "epoch": 3.0, "time": 104.0, "validation/accuracy": accuracy}]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    return path


@pytest.fixture
def eight(tmp_path):
    """Two variants, four seeds; the second is better by a tenth in each."""
    rng = np.random.default_rng(1)
    for seed, base in enumerate((0.5, 0.6, 0.55, 0.65)):
        for variant, gain in (("softmax", 0.0), ("talking_heads", 0.1 + 0.01 * seed)):
            write_run(tmp_path, f"{variant}-{seed}", base + gain, rng=rng, seed=seed, **{"model.attention": variant})
    return tmp_path


def test_means_tests_and_ranks(eight):
    """Against SciPy's paired t test; the groups here are single cells."""
    result = compare([str(eight)])
    first, second = np.array([0.5, 0.6, 0.55, 0.65]), np.array([0.6, 0.71, 0.67, 0.78])
    assert list(result.variants) == ["softmax", "talking_heads"]
    mean = result.means["softmax", "accuracy"]
    low, high = stats.t.interval(0.95, 3, first.mean(), stats.sem(first))
    assert (mean.value, mean.low, mean.high, mean.n) == pytest.approx((first.mean(), low, high, 4))
    (test,) = result.tests
    witness = stats.ttest_rel(first, second)
    assert test.paired.p == pytest.approx(witness.pvalue) and test.p_adjusted == pytest.approx(witness.pvalue)
    bounds = witness.confidence_interval()
    difference = test.paired.difference
    assert (difference.low, difference.high) == pytest.approx((bounds.low, bounds.high))
    assert test.p_cells < 0.1
    np.testing.assert_array_equal(result.ranks["accuracy"].mean, [2, 1])
    assert result.seconds["softmax"] == pytest.approx(3.0), "thirty steps at a tenth of a second"
    assert result.parameters["talking_heads"] > result.parameters["softmax"] > 0
    assert max(result.importance, key=result.importance.__getitem__) in ("model.attention", "seed")


def test_by_one_factor_pairs_runs_that_agree_in_the_others(tmp_path):
    for seed in (0, 1):
        for decay in (0.1, 0.2):
            for variant in ("softmax", "gated"):
                value = 0.5 + 0.1 * (variant == "gated") + decay + 0.01 * seed
                write_run(
                    tmp_path,
                    f"{variant}-{decay}-{seed}",
                    value,
                    seed=seed,
                    **{"model.attention": variant, "optim.weight_decay": decay},
                )
    result = compare([str(tmp_path)], by=["model.attention"])
    (test,) = result.tests
    assert test.paired.difference.n == 4 and abs(test.paired.difference.value) == pytest.approx(0.1)
    assert len(compare([str(tmp_path)]).variants) == 4
    with pytest.raises(ConfigError, match=r"--by model\.atention: the runs don't differ in it. Did you mean"):
        compare([str(tmp_path)], by=["model.atention"])


def test_folds_share_training_cells_and_widen_the_interval():
    """Nadeau & Bengio's factor: with a quarter as many test as training cells and n = 4, sqrt(1/4 + 1/4)."""
    differences = np.array([0.1, 0.2, 0.15, 0.05])
    plain, corrected = paired(differences), paired(differences, 0.25)
    ratio = (corrected.difference.high - corrected.difference.low) / (plain.difference.high - plain.difference.low)
    assert ratio == pytest.approx(math.sqrt(2)) and corrected.p > plain.p


def test_the_critical_difference_is_that_of_demsar():
    """Demsar (2006), section 3.2.2: four classifiers on fourteen data sets differ by 1.25."""
    rng = np.random.default_rng(0)
    found = ranks(rng.random((14, 4)), higher_is_better=True)
    assert found is not None and found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.mean.sum() == pytest.approx(10)


def test_too_few_runs_give_no_bounds():
    assert math.isnan(over_runs(np.array([0.5])).low) and math.isnan(paired(np.array([0.1])).p)
    assert ranks(np.full((3, 2), np.nan), higher_is_better=True) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fingerprint": "0" * 64}, "the data themselves differ (fingerprint ffffffffffff and 000000000000)"),
        ({"ids": IDS[10:]}, "the validation splits hold 40 and 30 cells, of which 30 are the same"),
        ({"data.split_seed": 3}, "data.split_seed is 0 and 3"),
    ],
)
def test_other_splits_are_refused_with_the_reason(tmp_path, changes, said):
    write_run(tmp_path, "one", 0.5)
    write_run(tmp_path, "two", 0.6, **changes)
    with pytest.raises(ConfigError) as caught:
        compare([str(tmp_path)])
    assert said in str(caught.value) and "made/one and made/two can't be compared" in str(caught.value)


def test_the_command_writes_every_file_and_the_page_is_whole(eight, capsys):
    failed = "trial,state,run,error\n7,fail,,Training diverged at step 3\n"
    (eight / "trials.csv").write_text(failed)
    out = eight / "comparison"
    assert main(["compare", str(eight), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "1 of 1 pairs differ on accuracy" in printed and "critical difference" in printed
    page = (out / "index.html").read_text()
    assert page.count("<svg") == 3 and "data:image/png" in page and "Training diverged at step 3" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    table = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert {row["variant"] for row in table} == {"softmax", "talking_heads"}
    tests = list(csv.DictReader((out / "tests.csv").read_text().splitlines()))
    assert float(tests[0]["p_holm"]) < 0.01 and float(tests[0]["effect_size"]) < 0
    assert len((out / "runs.csv").read_text().splitlines()) == 1 + 8 + 1
    assert r"talking\_heads & 4 &" in (out / "table.tex").read_text()
    assert (out / "table.md").read_text().startswith("| variant | runs | accuracy ↑ |")
    assert json.loads((out / "wandb.json").read_text())["group_by"] == ["model.attention"]


def test_what_names_no_run_or_metric(eight):
    with pytest.raises(ConfigError, match="names no run"):
        compare([str(eight / "nothing" / "*")])
    with pytest.raises(ConfigError, match=r"--metrics acuracy: no run has it\. Did you mean 'accuracy'"):
        compare([str(eight / "made" / "*")], metrics=["acuracy"])


def test_the_front_holds_what_no_other_beats_on_both_objectives(tmp_path):
    """Accuracy and mass on a part; the second variant is beaten by the third on both, the first and last are ends."""
    values = {"softmax": (0.9, 0.1), "cosine": (0.6, 0.2), "gated": (0.7, 0.3), "talking_heads": (0.5, 0.8)}
    for variant, (accuracy, mass) in values.items():
        for seed, luck in enumerate((-0.01, 0.01)):
            run = write_run(tmp_path, f"{variant}-{seed}", accuracy + luck, seed=seed, **{"model.attention": variant})
            write_json(run / "summary.json", {"validation/accuracy": accuracy + luck, "rollout/mass": mass})
    sweep = {
        "program": "made",
        "method": "grid",
        "metric": [
            {"name": "validation/accuracy", "goal": "maximize"},
            {"name": "rollout/mass", "goal": "maximize"},
        ],
        "parameters": {"seed": {"values": [0, 1]}},
    }
    write_json(tmp_path / "sweep.json", {"sweep": sweep, "name": "made"})
    out = tmp_path / "comparison"
    assert main(["compare", str(tmp_path), "--out", str(out)]) == 0
    rows = list(csv.DictReader((out / "pareto.csv").read_text().splitlines()))
    assert [row["variant"] for row in rows if row["on_front"] == "True"] == ["gated", "softmax", "talking_heads"]
    page = (out / "index.html").read_text()
    assert 'id="pareto"' in page and "3 of 4 variants" in page
    assert "(Pareto front): softmax; gated; talking_heads." in (out / "table.md").read_text()


def test_equal_points_are_both_on_the_front():
    np.testing.assert_array_equal(unbeaten(np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.0], [0.0, 2.0]])), [1, 1, 0, 1])
