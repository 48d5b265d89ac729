"""A study shared by several processes, one of them killed: no trial is lost, none runs twice."""

import collections
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from spermjax.errors import ConfigError
from spermjax.sweep import study as studies
from tests.sweep.support import sweep


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def storage(request, tmp_path):
    """Where a study lives."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql")
    return str(tmp_path / "study.journal") if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    """A PostgreSQL cluster of the test's own, on a socket in a temporary folder, as an unprivileged user."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(found[-1]) if found else None)
    if initdb is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    as_user = []
    folder = Path("/tmp") / f"spermjax-postgresql-{os.getpid()}"  # A socket's path must be short.
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shutil.chown(folder, "nobody", "nogroup")
    pg_ctl = str(Path(initdb).resolve().parent / "pg_ctl")
    data = str(folder / "data")

    def run(*command):
        subprocess.run(
            [*as_user, *command],
            check=True,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            stdout=subprocess.DEVNULL,
        )

    try:
        run(initdb, "-D", data, "-U", "sweep", "--auth=trust", "--no-sync", "--encoding=UTF8")
        run(
            pg_ctl, "-D", data, "-w", "-l", str(folder / "log"), "-o", f"-k {folder} -c listen_addresses='' -F", "start"
        )
        yield f"postgresql://sweep@/postgres?host={folder}"
        run(pg_ctl, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_one_of_three_workers_is_killed(storage, tmp_path):
    journals = [tmp_path / f"{number}.txt" for number in range(3)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.sweep.support", storage, journal, "yes" if number == 0 else "no"]
        )
        for number, journal in enumerate(journals)
    ]
    codes = [process.wait(timeout=120) for process in processes]
    assert codes[1:] == [0, 0]
    lines = [line.split() for journal in journals for line in journal.read_text().splitlines()]
    started = collections.Counter(int(number) for event, number, _ in lines if event == "start")
    done = collections.Counter(int(number) for event, number, _ in lines if event == "done")
    assert done == collections.Counter(range(8)), "each trial came to one result"
    killed = codes[0] == -9
    assert started.total() == 8 + killed, "the trial of the killed worker was begun again, and no other"
    values = {}
    for _, number, value in lines:
        assert values.setdefault(number, value) == value, "a trial that is taken over keeps its parameters"
    study = optuna.load_study(study_name="study", storage=studies.open_storage(storage))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 8
    assert len({trial.value for trial in study.trials}) == 8, "workers draw different values"


def test_a_trial_that_kills_its_workers_fails_in_the_end(tmp_path):
    """A process id that is gone stands for a worker killed for want of memory."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    search, store = sweep(run_cap=1), studies.open_storage(str(tmp_path / "study.journal"))
    study = studies.prepare(search, "study", store)
    for _ in range(studies.MOST_DEATHS):
        assert studies.claim(search, study, f"{socket.gethostname()}:{gone.pid}:word") is not None
        studies.give_back_abandoned(study, died=True)
    assert studies.claim(search, study, studies.identity()) is None
    (trial,) = study.trials
    assert trial.state == TrialState.FAIL and "worker died 3 times" in trial.user_attrs[studies.ERROR]


def test_a_worker_that_died_and_was_not_collected_is_gone(tmp_path):
    """In a container without an init, a killed worker stays in the process table."""
    search, store = sweep(run_cap=1), studies.open_storage(str(tmp_path / "study.journal"))
    study = studies.prepare(search, "study", store)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert studies.claim(search, study, f"{socket.gethostname()}:{process.pid}:word") is not None
        assert studies.abandoned(study) == [], "it lives"
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # It ended, and stays uncollected.
        assert len(studies.abandoned(study)) == 1


def test_a_lease_on_another_machine_runs_out(tmp_path, monkeypatch):
    search, store = sweep(run_cap=1), studies.open_storage(str(tmp_path / "study.journal"))
    study = studies.prepare(search, "study", store)
    trial = studies.claim(search, study, "elsewhere:1:word")
    assert trial is not None and studies.abandoned(study) == []
    later = time.time() + studies.LEASE_SECONDS + 1
    monkeypatch.setattr(studies.time, "time", lambda: later)
    assert [other.number for other in studies.abandoned(study)] == [trial.number]
    studies.give_back_abandoned(study, died=True)
    assert not studies.owns(study, trial._trial_id, "elsewhere:1:word"), "the slow worker learns that it lost the trial"


def test_a_worker_that_died_before_it_signed_is_replaced(tmp_path, monkeypatch):
    """Between taking a trial and writing its name on it."""
    search, store = sweep(run_cap=1), studies.open_storage(str(tmp_path / "study.journal"))
    study = studies.prepare(search, "study", store)
    (waiting,) = study.trials
    assert store.set_trial_state_values(waiting._trial_id, TrialState.RUNNING)
    studies.give_back_abandoned(study, died=True)
    assert studies.claim(search, study, studies.identity()) is None, "it may still sign"
    later = time.time() + studies.LEASE_SECONDS + 1
    monkeypatch.setattr(studies.time, "time", lambda: later)
    studies.give_back_abandoned(study, died=True)
    assert studies.claim(search, study, studies.identity()) is not None


def test_joining_a_study_that_was_half_filled_completes_it(tmp_path):
    search, store = sweep(), studies.open_storage(str(tmp_path / "study.journal"))
    study = optuna.create_study(study_name="study", storage=store, directions=["maximize"])
    study.enqueue_trial({}, user_attrs={"slot": 4})
    slots = [trial.user_attrs["slot"] for trial in studies.prepare(search, "study", store).trials]
    assert sorted(slots) == list(range(8))


def test_a_storage_that_comes_back_is_waited_for_and_one_that_does_not_stops_the_worker(monkeypatch):
    monkeypatch.setattr(studies, "PATIENCE_SECONDS", (0.0, 0.0))
    calls = []

    def flaky(times):
        calls.append(times)
        if len(calls) < times:
            raise ConnectionError("gone")
        return "there"

    assert studies.patient(flaky, 3) == "there"
    calls.clear()
    with pytest.raises(studies.StorageError, match="keep their checkpoints; bring it back"):
        studies.patient(flaky, 9)


def test_an_unknown_storage_is_refused():
    with pytest.raises(ConfigError, match="give a file, sqlite"):
        studies.open_storage("mysql://host/name")
