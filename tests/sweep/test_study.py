"""A study shared by several processes, one of them killed: no trial is lost, none runs twice."""

import collections
import os
import socket
import subprocess
import sys
import time

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
        return request.getfixturevalue("cluster").url
    return str(tmp_path / "study.journal") if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"


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


def start_worker(storage, journal, lease):
    """One that reports what it does in `journal`."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.sweep.support", storage, journal, "no"],
        env={**os.environ, "SPERMJAX_LEASE_SECONDS": str(lease)},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_a_result(journal):
    while not journal.exists() or "done" not in journal.read_text():
        time.sleep(0.01)


def finished_once(journals, study_name="study", storage=""):
    """Each of the eight trials came to one result, and none was drawn anew."""
    lines = [line.split() for journal in journals for line in journal.read_text().splitlines()]
    study = optuna.load_study(study_name=study_name, storage=studies.open_storage(storage))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 8
    values = {number: trial.value for number, trial in enumerate(study.trials)}
    assert all(float(value) == pytest.approx(values[int(number)]) for _, number, value in lines)
    done = collections.Counter(int(number) for event, number, _ in lines if event == "done")
    assert set(done.values()) == {1}


@pytest.fixture
def fresh_study(cluster):
    """The server, without the study of another test."""
    studies_there = optuna.get_all_study_names(studies.open_storage(cluster.url))
    for name in studies_there:
        optuna.delete_study(study_name=name, storage=studies.open_storage(cluster.url))
    return cluster


def test_postgresql_is_gone_for_a_while(fresh_study, tmp_path):
    journal = tmp_path / "0.txt"
    worker = start_worker(fresh_study.url, journal, lease=60)
    wait_for_a_result(journal)
    fresh_study.stop()
    time.sleep(2)
    fresh_study.start()
    _, said = worker.communicate(timeout=120)
    assert worker.returncode == 0, said
    assert "The sweep's storage does not answer" in said, "it was gone while the worker needed it"
    finished_once([journal], storage=fresh_study.url)


def test_postgresql_is_gone_for_good(fresh_study, tmp_path):
    """The worker stops with a message; when the storage is back, another does the rest."""
    journals = [tmp_path / "0.txt", tmp_path / "1.txt"]
    worker = start_worker(fresh_study.url, journals[0], lease=4)
    wait_for_a_result(journals[0])
    fresh_study.stop()
    try:
        _, said = worker.communicate(timeout=120)
    finally:
        fresh_study.start()
    assert worker.returncode == 1
    assert "bring it back and give the same command again" in said
    again = start_worker(fresh_study.url, journals[1], lease=4)
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    finished_once(journals, storage=fresh_study.url)


def test_tpe_with_two_objectives_draws_near_their_front(tmp_path):
    """Two bowls around 0.2 and 0.4 by a rate in [0, 1]: the front lies between; even draws are near in three of ten."""
    search = sweep(
        method="bayes",
        run_cap=40,
        metric=[{"name": name, "goal": "minimize"} for name in ("validation/log_loss", "train/loss")],
    )
    study = studies.prepare(search, "study", studies.open_storage(str(tmp_path / "study.journal")))
    drawn = []
    while (trial := studies.claim(search, study, studies.identity())) is not None:
        value = search.parameters[0].suggest(trial)
        studies.tell(study, trial.number, [(value - 0.2) ** 2, (value - 0.4) ** 2], TrialState.COMPLETE)
        drawn.append(value)
    near = [0.15 < value < 0.45 for value in drawn]
    assert len(drawn) == 40 and sum(near[-20:]) >= 11, "even draws reach that one time in fifty"


def test_an_unknown_storage_is_refused():
    with pytest.raises(ConfigError, match="give a file, sqlite"):
        studies.open_storage("mysql://host/name")
