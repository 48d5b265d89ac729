"""Jobs for clusters: each template renders, and the system's own parser accepts it where it is at hand."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from spermjax.cli import main
from spermjax.commands.parse import parse
from spermjax.config import Experiment
from spermjax.errors import ConfigError, SpermjaxError
from spermjax.sweep.launch import TARGETS, render, start
from spermjax.validation import validate
from spermjax.workflow.experiments import load

SWEEP = str(Path(__file__).parents[2] / "experiments" / "sweeps" / "smoke.yaml")


def rendered(target, out, *words):
    return render(target, SWEEP if TARGETS[target].sweep else "phantom_quickstart", words, out)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_renders_and_says_what_could_not_be_checked(target, tmp_path):
    job = rendered(target, tmp_path, "--seed", "1")
    assert "@{" not in job.text and "--seed 1" in job.text
    assert job.checked or job.unchecked
    for line in job.unchecked:
        assert str(job.path) in line or "pip install" in line, "the command that would check it is given"


@pytest.mark.parametrize("target", ["gpu", "gpu8", "tpu", "spot"])
def test_skypilot_parses_its_files(target, tmp_path):
    pytest.importorskip("sky", reason="SkyPilot is not installed: pip install skypilot")
    assert any("parses it" in line for line in rendered(target, tmp_path).checked)


def test_kubernetes_refuses_a_field_that_it_does_not_know(tmp_path, monkeypatch):
    pytest.importorskip("kubernetes_validate", reason="pip install 'spermjax[cluster]'")
    import spermjax.sweep.launch as launch

    assert any("schema accepts" in line for line in rendered("kubernetes", tmp_path).checked)
    folder = tmp_path / "templates"
    folder.mkdir()
    good = (launch.TEMPLATES / "kubernetes_jobset.yaml").read_text()
    (folder / "kubernetes_jobset.yaml").write_text(good.replace("backoffLimit", "backofLimit"))
    monkeypatch.setattr(launch, "TEMPLATES", folder)
    with pytest.raises(ConfigError, match="backofLimit"):
        rendered("kubernetes", tmp_path)


def test_indexed_hosts_of_a_jobset(tmp_path):
    (job,) = yaml.safe_load(rendered("kubernetes", tmp_path).text)["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"] == 4


@pytest.mark.parametrize("target", ["slurm-nodes", "kubernetes", "tpu"])
def test_several_hosts_train_one_run(target, tmp_path):
    """What the command line says of where they meet is an experiment's own, once the host's number is there."""
    job = render(target, "phantom_quickstart", ("--seed", "1"), tmp_path)
    assert job.checked or job.unchecked
    (line,) = (line for line in job.text.splitlines() if "spermjax train" in line)
    words = line.split("spermjax train phantom_quickstart ")[1].strip('"]').replace("$JOB_COMPLETION_INDEX", "3")
    experiment = parse(Experiment, words.split(), "train", default=load("phantom_quickstart"))
    validate(experiment)
    assert experiment.seed == 1 and experiment.tracking.run_id == "phantom-quickstart"
    hosts = experiment.hosts
    if target == "kubernetes":
        spec = yaml.safe_load(job.text)["spec"]["replicatedJobs"][0]["template"]["spec"]
        assert (hosts.processes, hosts.process) == (spec["completions"], 3)
        assert hosts.coordinator == "phantom-quickstart-worker-0-0.phantom-quickstart:1234"
    else:
        assert hosts.cluster == "auto"


def test_a_sweep_is_refused_where_there_is_one_host(tmp_path):
    with pytest.raises(ConfigError, match=r"gpu8 takes an experiment.*slurm-nodes, kubernetes take one"):
        render("gpu8", SWEEP, (), tmp_path)


def test_words_that_a_shell_would_split_stay_together(tmp_path):
    job = rendered("slurm", tmp_path, "--data.manual-dir", "/data/my cells; rm x")
    assert "--data.manual-dir '/data/my cells; rm x'" in job.text


def test_a_dry_run_starts_nothing(tmp_path, capsys):
    assert main(["launch", "gpu", "phantom_quickstart", "--dry-run", "--json", "--out", str(tmp_path)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["command"] == f"sky launch --yes {facts['file']}" and Path(facts["file"]).exists()


def test_unknown_target_experiment_and_missing_program(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="no target 'gpu9'"):
        render("gpu9", "phantom_quickstart", (), tmp_path)
    with pytest.raises(ConfigError, match="no experiment 'phantom'"):
        render("gpu", "phantom", (), tmp_path)
    job = rendered("gpu", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SpermjaxError, match=r"sky is not installed here\. Where it is, run: sky launch"):
        start(job)
