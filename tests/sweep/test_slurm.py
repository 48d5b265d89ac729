"""A real Slurm on one node: the engine runs trials as its jobs, and it accepts the rendered scripts."""

import shutil
import tempfile
from pathlib import Path

import pytest

from spermjax.cli import main
from spermjax.errors import ConfigError
from spermjax.sweep.launch import render
from tests.sweep.slurm_cluster import cluster, missing
from tests.sweep.test_engines import REPOSITORY, each_trial_ran_once, write_sweep
from tests.sweep.test_launch import SWEEP

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm():
    """The configuration of a running cluster."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    folder = Path(
        tempfile.mkdtemp(prefix="slurm-", dir="/tmp")
    )  # Munge's socket wants a short path that all may enter.
    folder.chmod(0o755)
    try:
        with cluster(folder) as configuration:
            yield configuration
    except RuntimeError as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def reachable(slurm, monkeypatch):
    """This process, and the jobs that it submits, see the cluster and this checkout."""
    monkeypatch.setenv("SLURM_CONF", str(slurm))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def test_slurm_engine_runs_trials_as_jobs_of_an_array(tmp_path):
    pytest.importorskip("submitit", reason="pip install 'spermjax[cluster]'")
    file, out = write_sweep(tmp_path, seed={"values": [0, 1]}), tmp_path / "out"
    words = ["--engine", "slurm", "--slurm.partition", "here", "--slurm.cpus", "1", "--workers", "2"]
    assert main(["sweep", str(file), "--out", str(out), *words]) == 0
    each_trial_ran_once(out, 2)
    scripts = list((out / "slurm").glob("*submission.sh"))
    assert scripts and all("#SBATCH --array=0-1%2" in script.read_text() for script in scripts)


@pytest.mark.parametrize(
    ("target", "what"), [("slurm", "phantom_quickstart"), ("slurm-nodes", SWEEP), ("slurm-nodes", "phantom_quickstart")]
)
def test_slurm_accepts_the_rendered_scripts(tmp_path, target, what):
    job = render(target, what, (), tmp_path)
    assert "sbatch --test-only accepts it" in job.checked and not job.unchecked


def test_slurm_refuses_a_script_for_more_nodes_than_there_are(tmp_path, monkeypatch):
    import spermjax.sweep.launch as launch

    folder = tmp_path / "templates"
    folder.mkdir()
    good = (launch.TEMPLATES / "slurm_many_nodes.sh").read_text()
    (folder / "slurm_many_nodes.sh").write_text(good.replace("--nodes=4", "--nodes=40"))
    monkeypatch.setattr(launch, "TEMPLATES", folder)
    with pytest.raises(ConfigError, match="sbatch refuses"):
        render("slurm-nodes", SWEEP, (), tmp_path)
