"""Two processes of two devices are one process of four: in steps, evaluation, stopping, going on; and fail together."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spermjax.cli import main
from spermjax.config import Experiment, Hosts
from spermjax.errors import ConfigError
from spermjax.parallel.watch import PeerError
from spermjax.tracking import read
from spermjax.validation import validate
from spermjax.workflow.monitor import make_monitor
from tests.conftest import FLAGS
from tests.parallel.test_mesh import after, session_of
from tests.parallel.worker import FEEDS, STOP_AFTER
from tests.workflow.conftest import write_experiment

pytestmark = pytest.mark.multiprocess
ROOT = Path(__file__).parents[2]


def start(
    what: str, folder: Path, *more: str, processes=(0, 1), slurm: bool = False, **environment: str
) -> list[subprocess.Popen]:
    """Starts processes that meet at a free port, each with two devices; or that Slurm's variables tell where to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = " ".join(("--xla_force_host_platform_device_count=2", *FLAGS[1:]))
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), **environment}
    if slurm:
        environment |= {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
        environment |= {"SLURM_LOCALID": "0", "JAX_COORDINATOR_PORT": str(port)}
    address = f"127.0.0.1:{port}"
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.parallel.worker", what, address, str(process), str(folder), *more],
            env=environment | ({"SLURM_PROCID": str(process)} if slurm else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for process in processes
    ]


def finish(processes: list[subprocess.Popen]) -> list[tuple[int, str]]:
    """Exit code and output of each; a process that hangs is killed."""
    try:
        said = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def succeed(processes: list[subprocess.Popen]) -> None:
    for code, said in finish(processes):
        assert code == 0, said


@pytest.fixture(scope="module")
def stepped(tmp_path_factory) -> Path:
    """What two processes came to after some steps under each mode."""
    folder = tmp_path_factory.mktemp("steps")
    succeed(start("steps", folder))
    return folder


@pytest.mark.parametrize(("mode", "feed"), FEEDS)
def test_parameters_and_evaluation_are_those_of_one_process(stepped, mode, feed):
    """Witness: one process with four devices; each process is asked for its own copy of everything."""
    import jax

    session = session_of(mode, 4, feed)
    state, metrics = after(session)
    values, score = make_monitor(session)(session.whole(state.evaluated))
    expected = {**metrics, **values, "score": score}
    arrays, numbers = [], []
    for process in (0, 1):
        with np.load(stepped / f"{mode}-{feed}-{process}.npz") as stored:
            arrays.append([stored[name] for name in stored.files])
        numbers.append(json.loads((stepped / f"{mode}-{feed}-{process}.json").read_text()))
    assert numbers[0] == numbers[1]
    for one, other in zip(*arrays, strict=True):
        np.testing.assert_array_equal(one, other)
    for name, value in expected.items():
        np.testing.assert_allclose(numbers[0][name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    for one, leaf in zip(arrays[0], jax.tree.leaves(state), strict=True):
        # Adam divides by the gradient's own size: where that is rounding alone, as in a key's bias, so is the step.
        close = np.isclose(one, np.asarray(leaf), rtol=1e-4, atol=2e-5)
        assert close.mean() > 0.9 or one.size < 200
    assert numbers[0]["stop"] == 0
    assert numbers[0]["differing"] == 0


def test_a_copy_that_differs_on_another_host_is_found(stepped):
    assert json.loads((stepped / "pmap-device-0.json").read_text())["tampered"] == 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A place for each process, and a run of one process with four devices."""
    folder = tmp_path_factory.mktemp("runs")
    for process in ("0", "1"):
        (folder / process).mkdir()
    assert main([*words(folder), "--parallel.devices", "4", "--tracking.runs", str(folder / "runs")]) == 0
    return folder


def words(folder: Path) -> list[str]:
    file = folder / "hushem.py"
    if not file.exists():
        write_experiment(folder, "hushem", "kfold")
    return ["train", str(file), "--schedule.steps", "20", "--schedule.eval-every", "3", "--schedule.batch-size", "8"]


def test_a_signal_to_one_stops_all_at_one_step_and_the_run_goes_on(folder):
    """Process 1 is told to stop after its sixth step; that is known to both with the next step's sums.

    Then all go on where the second has no run folder, to the end and the numbers of a run of one process.
    """
    run = folder / "0" / "runs" / "small" / "one"
    ends = finish(
        start("train", folder, *words(folder), "--parallel.devices", "2", "--tracking.runs", "runs", STOP="1")
    )
    for code, said in ends:
        assert code == 143, said
        assert f"Stopped by SIGTERM after step {STOP_AFTER + 2}" in said
        assert "spermjax resume runs/small/one" in said
    assert not (run / "report").exists()
    (first, said), (second, other) = finish(start("train", folder, "resume", "runs/small/one"))
    assert (first, second) == (0, 0), said + other
    assert "validation split" in said and "validation split" not in other
    assert (run / "report" / "index.html").stat().st_size > 10_000
    assert list((folder / "1").iterdir()) == [], "process 1 wrote"

    tables = [
        {(name, line["step"]): value for line in read(path) for name, value in line.items() if name != "time"}
        for path in (folder / "runs" / "small" / "one", run)
    ]
    assert tables[0].keys() == tables[1].keys()
    for key, value in tables[0].items():
        # Accuracy of three validation cells: equal, or nothing is.
        np.testing.assert_allclose(tables[1][key], value, rtol=5e-3, atol=2e-3, err_msg=str(key))
    config = json.loads((run / "config.json").read_text())["hosts"]
    assert config == json.loads((folder / "runs" / "small" / "one" / "config.json").read_text())["hosts"]
    assert config["coordinator"] is None and config["process"] is None
    assert json.loads((run / "environment.json").read_text())["processes"] == 2


def test_the_loss_of_a_process_ends_the_other_with_its_name(tmp_path):
    (code, said), (killed, _) = finish(start("sums", tmp_path, "1", "kill", LOST_AFTER="3"))
    assert killed == -9
    assert code == PeerError.exit_code, said
    assert f"Process 1 of 2 ({socket.gethostname()}, pid" in said.splitlines()[-1]
    assert "not heard of for 3 s" in said and "spermjax resume RUN" in said


def test_the_loss_of_the_coordinator_ends_the_other_with_its_name(tmp_path):
    (killed, _), (code, said) = finish(start("sums", tmp_path, "0", "kill", LOST_AFTER="3"))
    assert killed == -9
    assert code == PeerError.exit_code, said
    assert "Process 0 of 2, which coordinates at 127.0.0.1:" in said.splitlines()[-1]


@pytest.mark.parametrize("victim", [0, 1])
def test_an_error_of_one_is_told_by_the_other(tmp_path, victim):
    ends = finish(start("sums", tmp_path, str(victim), "fail"))
    (own, said), (code, other) = ends[victim], ends[1 - victim]
    assert own == code == ConfigError.exit_code, said + other
    assert said.splitlines()[-1] == "spermjax: no such thing"
    assert f"Process {victim} of 2" in other and "no such thing" in other


def test_processes_that_want_different_things_are_refused(tmp_path):
    ends = finish(start("differ", tmp_path))
    for code, said in ends:
        assert code == ConfigError.exit_code, said
        assert "The options of process 1 are not those of process 0: optim.learning_rate differ" in said


@pytest.mark.parametrize("slurm", [False, True])
def test_processes_find_each_other_and_leave_together(tmp_path, slurm):
    """By address, and by what Slurm tells its tasks; `sums` asks for the sum over all four devices."""
    succeed(start("sums", tmp_path, slurm=slurm))
    assert {path.name for path in tmp_path.iterdir()} == {"summed-0", "summed-1"}


def test_a_coordinator_that_does_not_answer_is_named(tmp_path):
    ((code, said),) = finish(start("sums", tmp_path, processes=(1,), START_WITHIN="1"))
    assert code == ConfigError.exit_code
    assert "--hosts.coordinator 127.0.0.1:" in said and "--hosts.start-within" in said
    assert "Start process 0 there" in said


def test_a_process_that_stays_alone_ends(tmp_path):
    ((code, said),) = finish(start("sums", tmp_path, processes=(0,), START_WITHIN="1"))
    assert code == PeerError.exit_code
    assert "Process 0 of 2 and the others did not meet at 127.0.0.1:" in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        (Hosts(coordinator="a:1", processes=2, process=2), "--hosts.process is 2.*runs from 0 to 1"),
        (Hosts(coordinator="a:1", processes=2, process=-1), "--hosts.process is -1"),
        (Hosts(coordinator="a:1", processes=2), "--hosts.process missing"),
        (Hosts(processes=2, process=0), "--hosts.coordinator missing"),
        (Hosts(coordinator="here", processes=2, process=0), "must be HOST:PORT"),
        (Hosts(lost_after=0), "--hosts.lost-after"),
    ],
)
def test_where_to_meet_is_checked_before_anything_runs(hosts, said):
    with pytest.raises(ConfigError, match=said):
        validate(Experiment(hosts=hosts))


def test_no_cluster_is_said(monkeypatch, capsys):
    """JAX has started in this process, which is told as well as a cluster that isn't there."""
    assert main(["train", "phantom_quickstart", "--hosts.cluster", "auto"]) == ConfigError.exit_code
    assert "--hosts.coordinator HOST:PORT" in capsys.readouterr().err
