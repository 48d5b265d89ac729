"""The W&B engine against a stand-in for its server; W&B's own client and agent do the talking."""

import json

import pytest

from spermjax.cli import main
from spermjax.errors import ConfigError
from spermjax.sweep.command import begin
from spermjax.sweep.compare.load import read
from spermjax.sweep.wandb import configuration
from tests.sweep.test_engines import write_sweep
from tests.sweep.wandb_server import serve


@pytest.fixture
def no_account(monkeypatch, tmp_path):
    """No key from this machine; nothing but the stand-in is talked to."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_ENTITY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # The agent leaves its files where it stands.
    import wandb

    wandb.teardown()  # What an earlier run of this process left, as being offline.
    yield monkeypatch
    wandb.teardown()


@pytest.mark.slow
def test_an_agent_trains_what_the_server_hands_out(tmp_path, no_account, capfd):
    """Lists and truth values among the parameters; a second call asks the same sweep for more."""
    varied = {"model.scan": {"values": [True]}, "interpret.methods": {"values": [["raw_attention"], ["rollout"]]}}
    file, out = write_sweep(tmp_path, **varied), tmp_path / "out"
    with serve() as (server, address):
        no_account.setenv("WANDB_BASE_URL", address)
        no_account.setenv("WANDB_API_KEY", "0" * 40)
        for _ in range(2):
            assert main(["sweep", str(file), "--out", str(out), "--engine", "wandb"]) == 0
    assert (server.registered, server.agents, server.unknown) == (1, 2, [])
    assert server.states.keys() == {"run0", "run1"}, "the agent told that they ran"
    assert "wandb agent spermjax/stand-in" in capfd.readouterr().out
    records, failed = read(sorted((out / "runs").glob("*/*")))
    assert [record.run.path.name for record in records] == ["run0", "run1"] and not failed
    assert [record.run.config["interpret"]["methods"] for record in records] == [["raw_attention"], ["rollout"]]
    assert all(record.run.config["model"]["scan"] is True for record in records)


def test_without_a_key_nothing_is_registered(tmp_path, no_account):
    with serve() as (server, address):
        no_account.setenv("WANDB_BASE_URL", address)
        with pytest.raises(ConfigError, match="needs a key: run `wandb login`"):
            from spermjax.sweep.wandb import run

            run(begin(write_sweep(tmp_path, seed={"values": [0]}), tmp_path / "out"), 1)
    assert server.registered == 0


def test_the_configuration_is_in_wandbs_own_schema(tmp_path):
    """A range names its distribution, a nested path is dotted, and the command holds what all runs share."""
    varied = {"optim": {"parameters": {"weight_decay": {"min": 0, "max": 0.1}}}}
    search = {"method": "random", "run_cap": 3}
    config = configuration(begin(write_sweep(tmp_path, search, **varied), tmp_path / "out"))
    assert config["parameters"]["optim.weight_decay"] == {"distribution": "uniform", "min": 0, "max": 0.1}
    assert config["parameters"]["schedule.epochs"] == {"value": 2.0} and config["run_cap"] == 3
    assert json.loads(config["command"][-2])["tracking.runs"] == str(tmp_path / "out" / "runs")


def test_what_wandb_does_not_know_is_refused_at_once(tmp_path):
    varied = {
        "model.attention": {"values": ["softmax", "gated"]},
        "optim.clip": {"values": [1.0, 2.0], "when": {"model.attention": "gated"}},
    }
    accuracy, loss = ({"name": f"validation/{name}", "goal": "maximize"} for name in ("accuracy", "log_loss"))
    folder = begin(write_sweep(tmp_path, {"metric": [accuracy, loss]}, **varied), tmp_path / "out")
    with pytest.raises(ConfigError) as caught:
        configuration(folder)
    assert "a single metric" in str(caught.value) and "no conditions, and optim.clip has one" in str(caught.value)
