"""Weights & Biases: the offline record equals the JSONL, and trouble never reaches training."""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from spermjax.config import Experiment, Tracking
from spermjax.run import write_json
from spermjax.sweep.fields import put
from spermjax.tracking import open_trackers, read
from spermjax.tracking.publish import precision_recall
from spermjax.tracking.wandb import Wandb, _group, _job_type, _run_id, wanted_mode


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """No key from this machine, wherever it is kept."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    yield
    import wandb

    wandb.teardown()


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "spermjax.tracking.wandb"]


def offline_record(run):
    (path,) = run.glob("wandb/offline-run-*/run-*.wandb")
    out = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", path], capture_output=True, text=True, check=True
    )
    return path, out.stdout


def history(text):
    """The logged rows by step, as W&B's own reader prints them."""
    rows = {}
    for record in map(json.loads, text.splitlines()):
        if record["type"] == "history":
            items = record["history"]["item"]
            rows[items["_step"]] = {name: value for name, value in items.items() if not name.startswith("_")}
    return rows


def test_without_a_key_the_offline_record_equals_the_jsonl(tmp_path):
    run = tmp_path / "phantom" / "run-0"
    tracker = open_trackers(Tracking(), run, {"seed": 3}, resume_step=None)
    for step in range(0, 60, 20):
        tracker.log(step, {"epoch": step / 20, "train/loss": 1 / (1 + step)})
        tracker.log(step, {"validation/accuracy": step / 100})
    tracker.figure(40, "interpret/panel", np.zeros((4, 6, 3), np.uint8), "a cell")
    tracker.summary({"accuracy": 0.4})
    tracker.finish()
    _, text = offline_record(run)
    ours = {}
    for line in read(run):
        ours.setdefault(line["step"], {}).update({k: v for k, v in line.items() if k not in ("step", "time")})
    theirs = history(text)
    panel = {name: theirs[40].pop(name) for name in list(theirs[40]) if name.startswith("interpret/panel")}
    assert theirs == ours
    assert (panel["interpret/panel.width"], panel["interpret/panel.height"]) == (6, 4)
    assert panel["interpret/panel.caption"] == "a cell"


def test_a_bad_key_is_said_once_and_never_written(tmp_path, monkeypatch, caplog):
    """A key of the wrong form; the run goes on offline and the key is nowhere in its folder."""
    key = "bad-key-0123"
    monkeypatch.setenv("WANDB_API_KEY", key)
    with caplog.at_level(logging.WARNING):
        tracker = Wandb(Tracking(wandb="online"), tmp_path / "run", {})
    tracker.log(1, {"train/loss": 1.0})
    tracker.finish()
    (said,) = warnings(caplog)
    assert "metrics.jsonl holds all numbers" in said and key not in caplog.text
    assert all(key.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert history(offline_record(tmp_path / "run")[1]) == {1: {"train/loss": 1.0}}


def test_an_unreachable_server_costs_seconds_and_the_run_is_recorded_offline(tmp_path, monkeypatch, caplog):
    key = "0123456789abcdef" * 3
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("spermjax.tracking.wandb.INIT_TIMEOUT_SECONDS", 2.0)
    start = time.monotonic()
    with caplog.at_level(logging.WARNING):
        tracker = Wandb(Tracking(), tmp_path / "run", {})
    tracker.log(7, {"train/loss": 0.25})
    tracker.finish()
    assert time.monotonic() - start < 15
    (said,) = warnings(caplog)
    assert "start online" in said and key not in caplog.text
    assert history(offline_record(tmp_path / "run")[1]) == {7: {"train/loss": 0.25}}
    assert all(key.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_failing_call_does_not_raise_and_is_said_once(tmp_path, monkeypatch, caplog):
    tracker = Wandb(Tracking(wandb="offline"), tmp_path / "run", {})

    def broken(*_, **__):
        raise ConnectionError("the network is gone")

    monkeypatch.setattr("wandb.Run.log", broken)
    with caplog.at_level(logging.WARNING):
        tracker.log(1, {"a": 1.0})
        tracker.log(2, {"a": 1.0})
        tracker.finish()
    assert warnings(caplog) == [
        "Weights & Biases could not log (ConnectionError: the network is gone). "
        "Training goes on; metrics.jsonl holds all numbers."
    ]


def test_training_does_not_wait_and_all_arrives_in_order(tmp_path, monkeypatch):
    """W&B's start takes a second; the calls before it return at once."""
    import wandb

    init = wandb.init

    def slow(**arguments):
        time.sleep(1.0)
        return init(**arguments)

    monkeypatch.setattr(wandb, "init", slow)
    tracker = Wandb(Tracking(wandb="offline"), tmp_path / "run", {})
    start = time.monotonic()
    for step in range(5):
        tracker.log(step, {"train/loss": 1.0 / (1 + step)})
    tracker.alert("Loss spike", "a text")
    assert time.monotonic() - start < 0.5
    tracker.finish()
    assert time.monotonic() - start > 1.0
    assert history(offline_record(tmp_path / "run")[1]) == {step: {"train/loss": 1.0 / (1 + step)} for step in range(5)}


def test_what_is_no_trouble_of_the_server_is_raised_at_the_end(tmp_path, monkeypatch):
    tracker = Wandb(Tracking(wandb="offline"), tmp_path / "run", {})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "wandb", None)
        tracker.log(1, {"train/loss": 1.0})
        with pytest.raises(ImportError, match="wandb"):
            tracker.finish()


def test_a_resumed_run_keeps_its_identity(tmp_path):
    first = Wandb(Tracking(wandb="offline"), tmp_path / "run", {})
    first.finish()
    again = Wandb(Tracking(wandb="offline"), tmp_path / "run", {})
    again.finish()
    other = Wandb(Tracking(wandb="offline"), tmp_path / "other", {})
    other.finish()
    assert first._run.id == again._run.id != other._run.id


def test_the_setting_goes_before_the_environment(monkeypatch):
    assert wanted_mode("auto") == "auto"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert (wanted_mode("auto"), wanted_mode("offline")) == ("disabled", "offline")


def test_disabled_imports_and_writes_nothing(tmp_path):
    code = (
        "import sys; from pathlib import Path; from spermjax.config import Tracking;"
        "from spermjax.tracking import open_trackers;"
        "t = open_trackers(Tracking(wandb='disabled'), Path(sys.argv[1]), {}, resume_step=None);"
        "t.log(1, {'train/loss': 1.0}); t.finish(); assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_seeds_and_folds_of_one_variant_share_a_group_and_each_fold_is_a_job_type():
    def group(name="one", **changes):
        experiment = put(Experiment(name="e"), changes)
        return _group(Path("runs/e") / name, experiment.to_dict())

    assert group() == group(seed=3) == group("two", **{"data.fold": 1})
    assert group() != group(**{"model.depth": 2})
    assert _job_type(put(Experiment(), {"data.split": "kfold", "data.fold": 2}).to_dict()) == "fold-2"


def test_a_sweeps_agent_names_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    assert _run_id(tmp_path / "run") == "given"


def test_a_finished_run_publishes_tables_masks_and_lineage(tmp_path):
    """Read back from the offline record."""
    run = tmp_path / "phantom" / "run-0"
    task = {"kind": "single_label", "names": ["a", "b"], "deciding_parts": {}}
    write_json(run / "data.json", {"name": "phantom", "fingerprint": "f" * 64, "protocol": "official"})
    scores = {"task": task, "confusion": {"label": [[3, 1], [0, 2]]}, "checkpoint_step": 8}
    write_json(run / "evaluation" / "validation.json", scores)
    rows = ["label,probability_a,probability_b", "a,0.9,0.1", "a,0.8,0.2", "b,0.3,0.7"]
    (run / "evaluation" / "validation.csv").write_text("\n".join(rows) + "\n")
    (run / "explanations" / "validation").mkdir(parents=True)
    cell = {"image": np.zeros((1, 8, 8, 3), np.uint8), "parts": np.full((1, 8, 8), 1, np.uint8)}
    facts = {
        "has_parts": np.ones(1, bool),
        "id": np.array(["x"]),
        "label": np.zeros(1, int),
        "predicted": np.zeros(1, int),
    }
    maps = {
        "probability": np.ones(1, np.float32),
        "maps/rollout": np.random.default_rng(0).random((1, 8, 8), np.float32),
    }
    np.savez(run / "explanations" / "validation" / "examples.npz", **cell, **facts, **maps)
    attention = {"count": np.ones((2, 3, 4), int), "log10_weight": np.linspace(-4, 0, 5)}
    np.savez(run / "explanations" / "validation" / "attention.npz", **attention)
    for step in ("8", "12"):
        (run / "checkpoints" / step).mkdir(parents=True)
        (run / "checkpoints" / step / f"state-{step}").write_text("numbers")
    (run / "report").mkdir()
    (run / "report" / "index.html").write_text("<p>report</p>")
    tracker = Wandb(Tracking(wandb="offline"), run, {})
    tracker.log(12, {"train/loss": 1.0})
    tracker.figure(8, "explanations/x", np.zeros((4, 6, 3), np.uint8), "a cell as the best checkpoint sees it")
    tracker.complete()
    tracker.finish()
    assert not tracker._said, "nothing went wrong"
    _, text = offline_record(run)
    (row,) = history(text).items()
    assert row[0] == 12, "tables and figures join the last step"
    assert row[1]["checkpoint_step"] == 8 and row[1]["explanations/x.width"] == 6
    assert row[1]["validation/attention/layer_1/head_2._type"] == "histogram"
    assert row[1]["validation/attention/layer_1/head_2.values"] == [1, 1, 1, 1]
    assert "state-8" in text and "state-12" not in text, "the best checkpoint is stored, and not the newest"
    for name in ("validation/confusion/label", "validation/precision_recall", "validation/predictions"):
        assert name in text
    for kind in ("dataset", "model", "report"):
        assert f'"type":"{kind}"' in text.replace(" ", "")
    assert "media/images/mask/" in text and ".mask.png" in text, "the part's mask is a layer"


def test_precision_and_recall_are_of_each_class(tmp_path):
    task = {"kind": "single_label", "names": ["a", "b"]}
    rows = [
        {"label": "a", "probability_a": "0.9", "probability_b": "0.1"},
        {"label": "b", "probability_a": "0.8", "probability_b": "0.2"},
        {"label": "a", "probability_a": "0.7", "probability_b": "0.3"},
    ]
    points = precision_recall(task, rows)
    assert ("a", 1.0, pytest.approx(2 / 3), 0.7) in points and ("a", 0.5, 1.0, 0.9) in points
