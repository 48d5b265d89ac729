"""Weights & Biases: the offline record equals the JSONL, and trouble never reaches training."""

import json
import logging
import subprocess
import sys
import time

import numpy as np
import pytest

from spermjax.config import Tracking
from spermjax.tracking import open_trackers, read
from spermjax.tracking.wandb import Wandb, wanted_mode


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

    monkeypatch.setattr(tracker._run, "log", broken)
    with caplog.at_level(logging.WARNING):
        tracker.log(1, {"a": 1.0})
        tracker.log(2, {"a": 1.0})
    assert warnings(caplog) == [
        "Weights & Biases could not log (ConnectionError: the network is gone). "
        "Training goes on; metrics.jsonl holds all numbers."
    ]
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
