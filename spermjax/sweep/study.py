"""The study that workers share: a storage, a fixed number of trials in it, and who works on which.

Every trial of a sweep exists from the start and waits. A worker claims one (the storage
lets only one of them succeed), renews a lease on it while it trains, and tells the
result. A trial whose worker is gone goes back to waiting under the same number, and so
with the same parameters and the same run folder, where training goes on from its last
checkpoint: none is lost, and none runs twice.
"""

import datetime
import logging
import os
import socket
import time
import uuid
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import optuna
import psutil
import sqlalchemy
from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, ProgrammingError

from spermjax.errors import ConfigError, SpermjaxError
from spermjax.sweep.parameter import choice
from spermjax.sweep.sweepfile import Goal, Sweep

LEASE_SECONDS = float(os.environ.get("SPERMJAX_LEASE_SECONDS", "120"))
"""A worker that has not renewed its lease for so long is taken for dead, on whatever machine."""
RENEW_SECONDS = LEASE_SECONDS / 8
MOST_DEATHS = 3
"""A trial whose worker died so often (out of memory, say) fails."""
PATIENCE_SECONDS = tuple(LEASE_SECONDS / 120 * 2.0**number for number in range(6))
"""Pauses between tries of a storage that doesn't answer; all of them take half a lease."""

OWNER, LEASE, DEATHS, ERROR, VALUES, RUN = "owner", "lease", "deaths", "error", "values", "run"

P = ParamSpec("P")
T = TypeVar("T")

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


class StorageError(SpermjaxError):
    """The storage of a sweep is gone, and stayed so."""


def patient(call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Calls a storage, and again after a pause where it doesn't answer.

    Raises:
        StorageError: it did not answer for a minute; nothing of the sweep is lost.
    """
    # Workers that start together create the same tables at once; all but one are told so.
    answers = (IntegrityError, ProgrammingError) if call is RDBStorage else ()
    for pause in (*PATIENCE_SECONDS, None):
        try:
            return call(*args, **options)
        except (*answers, StorageInternalError, OperationalError, InterfaceError, OSError) as error:
            if pause is None:
                raise StorageError(
                    f"The sweep's storage does not answer ({type(error).__name__}: {str(error).splitlines()[0]}). "
                    "Runs keep their checkpoints; bring it back and give the same command again."
                ) from error
            logging.warning("The sweep's storage does not answer (%s); trying again.", type(error).__name__)
            time.sleep(pause)
    raise AssertionError


def open_storage(where: str) -> optuna.storages.BaseStorage:
    """The storage of a study.

    Args:
        where: a file path (a journal; it may lie in a folder that several machines share),
            or a database, `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.

    Raises:
        ConfigError: a kind that isn't known, or whose driver isn't installed.
        StorageError: it can't be reached.
    """
    scheme, separator, rest = where.partition("://")
    if not separator:
        path = Path(where)
        path.parent.mkdir(parents=True, exist_ok=True)
        return patient(lambda: JournalStorage(JournalFileBackend(str(path))))
    if scheme not in ("sqlite", "postgresql"):
        raise ConfigError(f"--storage {where!r}: give a file, sqlite:///FILE or postgresql://USER@HOST/NAME.")
    arguments = {"connect_args": {"timeout": 60}} if scheme == "sqlite" else {"pool_pre_ping": True}
    url = where if scheme == "sqlite" else f"postgresql+psycopg://{rest}"
    try:
        database = patient(RDBStorage, url, engine_kwargs=arguments)
    except ImportError as error:
        raise ConfigError(f"--storage {where!r} needs a driver ({error}): pip install 'spermjax[sweep]'") from error
    if scheme == "sqlite":
        _lock_whole_transactions(database.engine)
    return database


def _lock_whole_transactions(engine: sqlalchemy.Engine) -> None:
    """SQLite has no `SELECT ... FOR UPDATE`; without this, two workers could claim one trial."""

    def connected(connection: Any, record: object) -> None:
        del record
        connection.isolation_level = None  # The driver would begin by itself, too late.

    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begin)
    engine.dispose()


def prepare(sweep: Sweep, name: str, storage: optuna.storages.BaseStorage) -> optuna.Study:
    """Creates the study with all its trials waiting, or joins the one that is there.

    Args:
        sweep: what to search.
        name: of the study.
        storage: shared by all workers.

    Raises:
        StorageError: the storage does not answer.
    """
    directions: list[Goal] = [objective.goal for objective in sweep.objectives]
    try:
        study = patient(optuna.create_study, study_name=name, storage=storage, directions=directions)
    except DuplicatedStudyError:
        study = patient(optuna.load_study, study_name=name, storage=storage)
        # Another machine may be filling it just now; one that died doing so is helped out.
        for _ in range(20):
            if patient(lambda: study.user_attrs).get("ready"):
                return study
            time.sleep(0.5)
    present = {trial.user_attrs.get("slot") for trial in patient(study.get_trials, deepcopy=False)}
    points = sweep.grid() if sweep.method == "grid" else [{}] * sweep.trials()
    for slot, point in enumerate(points[: sweep.run_cap]):
        if slot not in present:
            fixed = {path: choice(value) for path, value in point.items()}
            patient(study.enqueue_trial, fixed, user_attrs={"slot": slot})
    patient(study.set_user_attr, "ready", True)
    return study


def load(sweep: Sweep, name: str, storage: optuna.storages.BaseStorage) -> optuna.Study:
    """The study, with its pruner; `claim` sets the sampler.

    Args:
        sweep: what to search.
        name: of the study.
        storage: shared by all workers.
    """
    return patient(optuna.load_study, study_name=name, storage=storage, pruner=_pruner(sweep))


def _sampler(sweep: Sweep, slot: int) -> optuna.samplers.BaseSampler:
    """Seeded by the trial's place, so that no two trials draw the same, and one drawn twice draws alike."""
    if sweep.method != "bayes":
        return optuna.samplers.RandomSampler(seed=slot)
    single = len(sweep.objectives) == 1
    return optuna.samplers.TPESampler(seed=slot, constant_liar=True, multivariate=single, group=single)


def _pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    early = sweep.early
    if early is None:
        return optuna.pruners.NopPruner()
    if early.kind == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=early.min_iter, reduction_factor=early.eta)
    return optuna.pruners.HyperbandPruner(
        min_resource=early.min_iter, max_resource=early.max_iter or "auto", reduction_factor=early.eta
    )


def identity() -> str:
    """Names this process among all workers: host, process, and a word that no other has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def claim(sweep: Sweep, study: optuna.Study, owner: str) -> Trial | None:
    """Takes a waiting trial; None where none waits."""
    storage = study._storage
    for waiting in patient(study.get_trials, deepcopy=False, states=(TrialState.WAITING,)):
        trial_id = waiting._trial_id
        try:
            if not patient(storage.set_trial_state_values, trial_id, TrialState.RUNNING):
                continue
        except UpdateFinishedTrialError:
            continue
        renew(study, trial_id, owner)
        study.sampler = _sampler(sweep, waiting.user_attrs.get("slot", waiting.number))
        return patient(Trial, study, trial_id)
    return None


def renew(study: optuna.Study, trial_id: int, owner: str) -> None:
    """Writes whose trial it is, and that its worker lives."""
    storage = study._storage
    patient(storage.set_trial_user_attr, trial_id, OWNER, owner)
    patient(storage.set_trial_user_attr, trial_id, LEASE, time.time())


def owns(study: optuna.Study, trial_id: int, owner: str | None) -> bool:
    """Whether a trial is still this worker's: running, and not given to another meanwhile."""
    trial = patient(study._storage.get_trial, trial_id)
    return trial.state == TrialState.RUNNING and trial.user_attrs.get(OWNER) == owner


def tell(study: optuna.Study, number: int, values: Sequence[float] | None, state: TrialState) -> None:
    """Ends a trial; again, where the storage was gone before it could answer."""
    patient(study.tell, number, values, state, skip_if_finished=True)


def give_back(study: optuna.Study, trial_id: int) -> None:
    """Lets a trial wait for another worker."""
    patient(study._storage.set_trial_user_attr, trial_id, OWNER, "")
    patient(study._storage.set_trial_state_values, trial_id, TrialState.WAITING)


def abandoned(study: optuna.Study) -> list[FrozenTrial]:
    """Running trials whose worker is gone: its process here, or its lease anywhere."""
    running = patient(study.get_trials, deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in running if not _alive(trial)]


def give_back_abandoned(study: optuna.Study, *, died: bool) -> None:
    """Lets abandoned trials wait again.

    Args:
        study: of the sweep.
        died: workers died by themselves, and not because somebody ended the whole
            sweep; a trial that sees that `MOST_DEATHS` times fails.
    """
    for trial in abandoned(study):
        storage, trial_id = study._storage, trial._trial_id
        if not owns(study, trial_id, trial.user_attrs.get(OWNER)):
            continue  # Another worker was faster.
        deaths = trial.user_attrs.get(DEATHS, 0) + died
        patient(storage.set_trial_user_attr, trial_id, DEATHS, deaths)
        if deaths >= MOST_DEATHS:
            message = f"its worker died {deaths} times (out of memory?); see workers/*.log"
            patient(storage.set_trial_user_attr, trial_id, ERROR, message)
            patient(storage.set_trial_state_values, trial_id, TrialState.FAIL)
        else:
            give_back(study, trial_id)


def _alive(trial: FrozenTrial) -> bool:
    host, pid, _ = (trial.user_attrs.get(OWNER) or "::").split(":")
    if host == socket.gethostname() and not _process_runs(int(pid)):
        return False
    started = trial.datetime_start or datetime.datetime.now()
    lease = max(trial.user_attrs.get(LEASE, 0.0), started.timestamp())
    return time.time() - lease < LEASE_SECONDS


def _process_runs(pid: int) -> bool:
    """A process that died counts as gone even while nobody has collected it, as in containers without an init."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
