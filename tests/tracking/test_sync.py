"""A server that fails never holds training up, and what it missed is sent later, by W&B's own program."""

import logging
import time

import pytest

from spermjax.cli import main
from spermjax.config import Tracking
from spermjax.tracking import open_trackers, read
from spermjax.tracking.wandb import Wandb
from tests.tracking.wandb_server import KEY, serve


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server, and the key for it."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("spermjax.tracking.wandb.INIT_TIMEOUT_SECONDS", 3.0)
    monkeypatch.setattr("spermjax.tracking.wandb.FINISH_TIMEOUT_SECONDS", 3.0)
    import wandb

    with serve() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        yield server
        server.released.set()
        wandb.teardown()


def losses(server):
    return {line["_step"]: line["train/loss"] for line in server.history if "train/loss" in line}


@pytest.mark.parametrize("mode", ["errors", "never"])
def test_a_server_that_fails_costs_seconds_and_all_is_sent_later(server, tmp_path, mode, capfd):
    """From the start: the run is recorded offline; `spermjax sync` sends it once, and not again."""
    server.mode = mode
    run = tmp_path / "phantom" / "run-0"
    start = time.monotonic()
    tracker = open_trackers(Tracking(), run, {"seed": 3}, resume_step=None)
    for step in range(50):
        tracker.log(step, {"train/loss": step / 4})
    tracker.finish()
    assert time.monotonic() - start < 40
    assert [line["step"] for line in read(run)] == list(range(50))
    assert not losses(server)
    server.mode = "well"
    server.released.set()
    assert main(["sync", str(tmp_path)]) == 0
    assert losses(server) == {step: step / 4 for step in range(50)}
    assert main(["sync", str(tmp_path)]) == 0
    assert "sent already" in capfd.readouterr().out
    assert len(losses(server)) == len([line for line in server.history if "train/loss" in line])


def test_a_server_that_dies_on_the_way_is_caught_up_with(server, tmp_path, caplog):
    run = tmp_path / "phantom" / "run-0"
    tracker = Wandb(Tracking(), run, {})
    tracker.log(1, {"train/loss": 1.0})
    tracker._send("wait", lambda run: None).result()
    server.mode = "errors"
    start = time.monotonic()
    for step in range(2, 200):
        tracker.log(step, {"train/loss": 1.0 / step})
    assert time.monotonic() - start < 5, "logging does not wait for the server"
    with caplog.at_level(logging.WARNING):
        tracker.finish()
    assert f"spermjax sync {run}" in caplog.text
    server.mode = "well"
    assert main(["sync", str(run)]) == 0
    assert losses(server) == {step: 1.0 / step for step in range(1, 200)}


def test_what_arrived_is_not_sent_again(server, tmp_path, capfd):
    run = tmp_path / "phantom" / "run-0"
    tracker = Wandb(Tracking(), run, {})
    tracker.log(1, {"train/loss": 1.0})
    tracker.finish()
    assert losses(server) == {1: 1.0}
    assert main(["sync", str(run)]) == 0
    assert "sent already" in capfd.readouterr().out
    assert len(server.history) == 1


def test_records_of_a_resumed_run_are_joined(server, tmp_path):
    """The second goes on after the lines that the server says it has."""
    run = tmp_path / "phantom" / "run-0"
    for steps in (range(1, 6), range(6, 11)):
        tracker = Wandb(Tracking(wandb="offline"), run, {})
        for step in steps:
            tracker.log(step, {"train/loss": 1.0 / step})
        tracker.finish()
        time.sleep(1.1)  # W&B names a record by the second.
    assert main(["sync", str(run)]) == 0
    assert [line["_step"] for line in server.history] == list(range(1, 11))


def test_a_record_that_is_not_taken_is_named_and_kept(server, tmp_path, monkeypatch, capfd):
    """Without a key W&B's program ends as if all were well; what was not sent is named all the same."""
    run = tmp_path / "phantom" / "run-0"
    tracker = Wandb(Tracking(wandb="offline"), run, {})
    tracker.log(1, {"train/loss": 1.0})
    tracker.finish()
    monkeypatch.delenv("WANDB_API_KEY")
    assert main(["sync", str(run)]) == 2
    message = capfd.readouterr().err
    assert "1 of 1 records were not sent" in message and "offline-run-" in message
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert main(["sync", str(run)]) == 0
    assert losses(server) == {1: 1.0}


def test_nothing_to_send_is_an_error(tmp_path, capsys):
    assert main(["sync", str(tmp_path)]) == 2
    assert "No record of Weights & Biases" in capsys.readouterr().err
