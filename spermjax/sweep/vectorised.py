"""The vmap engine: trials that differ in seeds and numbers alone are trained together, by one compiled step."""

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import grain
import jax
import numpy as np
import optuna
from optuna.trial import Trial

from spermjax.config import Experiment
from spermjax.data.examples import load
from spermjax.data.progress import bar
from spermjax.errors import ConfigError, DivergenceError
from spermjax.models.named import sized
from spermjax.parallel import choose_devices
from spermjax.run import Run, create
from spermjax.sweep import study as studies
from spermjax.sweep.folder import Folder
from spermjax.sweep.lanes import Lanes, kind
from spermjax.sweep.local import Stopped
from spermjax.sweep.trial import Watch, configure, end, leased
from spermjax.sweep.worker import count, prepare, wait_for_others
from spermjax.tracking import Tracker, open_trackers
from spermjax.train.checkpoints import Checkpoints, Elsewhere
from spermjax.train.interruption import interruptible
from spermjax.train.loop import Evaluate, Observer, locate
from spermjax.train.optim import optimizer_of
from spermjax.train.session import Session, build_session
from spermjax.train.state import TrainState
from spermjax.validation import validate
from spermjax.workflow.monitor import make_monitor
from spermjax.workflow.train import conclude, sign

Tell = Callable[[Trial, Run | Exception], None]


@dataclasses.dataclass
class Claimed:
    """A trial that this process has claimed.

    Attributes:
        trial: of the study.
        experiment: drawn for it.
        lost: is set when it was given to another worker.
    """

    trial: Trial
    experiment: Experiment
    lost: threading.Event


@dataclasses.dataclass(eq=False)
class Lane:
    """A trial in training.

    Attributes:
        claimed: which.
        run: its folder.
        files: closes the tracker, and gives the folder free.
        tracker: of the run.
        checkpoints: of the run.
        observer: evaluates, logs and saves.
        batches: yields the next batch.
        tell: says what became of the trial.
        step: steps taken.
        saved: step of the last checkpoint.
        problem: what ended it early.
    """

    claimed: Claimed
    run: Run
    files: contextlib.ExitStack
    tracker: Tracker
    checkpoints: Checkpoints | Elsewhere
    observer: Observer
    batches: grain.DatasetIterator
    tell: Tell
    step: int
    saved: int
    problem: Exception | None = None

    def attempt(self, action: Callable[..., None], *arguments: Any) -> None:
        """Does what may end this trial, and no other."""
        try:
            action(*arguments)
        except studies.StorageError:
            raise
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Ends this trial early."""
        if self.problem is not None:
            logging.warning("Trial %d: %s", self.claimed.trial.number, error)
            return
        self.problem = error
        if isinstance(error, DivergenceError):
            self.tracker.alert("Training diverged", str(error))
        self.end(error)

    def end(self, outcome: Run | Exception) -> None:
        """Closes the run, and tells."""
        self.files.close()
        self.tell(self.claimed.trial, outcome)

    def rest(self, state: TrainState) -> None:
        """Evaluates if it is time, and saves."""
        self.attempt(self.observer.rest, self.step, state, self.batches)
        self.saved = self.step


def run(folder: Folder, at_once: int | None, say: Callable[[str], None]) -> None:
    """Runs all unfinished trials of a sweep in this process.

    Args:
        folder: of the sweep.
        at_once: trials that are claimed together; None for all.
        say: takes a line for each trial.

    Raises:
        ConfigError: the sweep is not for this engine.
        Stopped: by SIGTERM or SIGINT; what was trained is saved, and the trials wait.
        StorageError: the storage is gone.
    """
    check(folder, at_once)
    prepare(folder)
    storage, owner = studies.open_storage(folder.storage), studies.identity()
    while True:
        study = studies.load(folder.sweep, folder.study_name, storage)

        def tell(trial: Trial, outcome: Run | Exception, study: optuna.Study = study) -> None:
            said = end(folder.sweep, study, trial, outcome)
            say(f"trial {trial.number} of {count(study)}: {said}")

        with contextlib.ExitStack() as leases:
            claimed = _claim(folder, study, owner, at_once, leases, tell)
            try:
                for group in groups(claimed):
                    _train(folder, group, tell)
            except (Stopped, KeyboardInterrupt):
                _give_back(study, claimed, owner)
                raise
        if not claimed and not wait_for_others(study):
            return


def check(folder: Folder, at_once: int | None) -> None:
    """Refuses what can't be trained side by side.

    Raises:
        ConfigError: naming the field and the remedy.
    """
    base, problems = folder.base, []
    if base.parallel.mode == "fsdp":
        problems.append("--engine vmap puts whole trials on each device; leave --parallel.mode at pmap")
    if base.deterministic:
        problems.append("a deterministic run is trained by itself, bit for bit; take --engine local")
    if folder.sweep.method == "bayes" and at_once is None:
        problems.append("TPE learns from trials that are over; say with --workers how many to train at once")
    if problems:
        raise ConfigError("\n".join(problems))


def groups(claimed: Iterable[Claimed]) -> list[list[Claimed]]:
    """Trials that one compiled step can train, together; in order."""
    found: dict[str, list[Claimed]] = {}
    for one in claimed:
        found.setdefault(kind(one.experiment), []).append(one)
    return list(found.values())


def _claim(
    folder: Folder,
    study: optuna.Study,
    owner: str,
    at_once: int | None,
    leases: contextlib.ExitStack,
    tell: Tell,
) -> list[Claimed]:
    """Takes waiting trials; those that can't be run are told at once."""
    claimed: list[Claimed] = []
    while at_once is None or len(claimed) < at_once:
        trial = studies.claim(folder.sweep, study, owner)
        if trial is None:
            break
        lost = leases.enter_context(leased(study, trial, owner))
        try:
            experiment = configure(folder.sweep, folder.base, trial, folder.path / "runs")
            validate(experiment)
        except ConfigError as error:
            tell(trial, error)
            continue
        claimed.append(Claimed(trial, dataclasses.replace(experiment, model=sized(experiment.model)), lost))
    return claimed


def _give_back(study: optuna.Study, claimed: Sequence[Claimed], owner: str) -> None:
    for one in claimed:
        if studies.owns(study, one.trial._trial_id, owner):
            studies.give_back(study, one.trial._trial_id)


def _train(folder: Folder, group: Sequence[Claimed], tell: Tell) -> None:
    """Trains trials of one kind, and concludes each.

    Raises:
        Stopped: by a signal, after saving.
    """
    first = group[0].experiment
    lanes: list[Lane] = []
    with contextlib.ExitStack() as open_runs:
        try:
            dataset = load(first.data)
            devices = choose_devices(first.parallel.devices, first.schedule.batch_size, first.optim.accumulate)
            session = build_session(first, dataset, devices=devices)
            evaluate = make_monitor(session)
        except Exception as error:
            for one in group:
                tell(one.trial, error)
            return
        states: list[TrainState] = []
        for one in group:
            files = open_runs.enter_context(contextlib.ExitStack())
            try:
                lane, state = _open(folder, session, one, evaluate, files, tell)
            except Exception as error:
                files.close()
                tell(one.trial, error)
                continue
            lanes.append(lane)
            states.append(state)
        with contextlib.ExitStack() as writing:
            for lane in lanes:
                writing.callback(lane.attempt, lane.checkpoints.close)
            try:
                fit(session, lanes, states)
            except (Stopped, studies.StorageError):
                raise
            except Exception as error:
                for lane in lanes:
                    lane.fail(error)
        for lane in lanes:
            if lane.problem is None:
                lane.attempt(conclude, lane.run, dataset, lane.tracker)
            if lane.problem is None:
                lane.end(lane.run)


def _open(
    folder: Folder, session: Session, claimed: Claimed, evaluate: Evaluate, files: contextlib.ExitStack, tell: Tell
) -> tuple[Lane, TrainState]:
    """Makes a trial's run folder, or finds where it stands."""
    experiment = claimed.experiment
    run = create(experiment)
    files.enter_context(run.lock())
    sign(run, experiment, session.dataset)
    own = dataclasses.replace(session, experiment=experiment, optimizer=optimizer_of(experiment, session.total_steps))
    position = locate(own, run)
    tracker = open_trackers(
        experiment.tracking,
        run.path,
        experiment.to_dict(),
        resume_step=position.step,
        terminal=False,
        others=[Watch(claimed.trial, folder.sweep, run.path, claimed.lost)],
    )
    files.callback(tracker.finish)
    observer = Observer(own, position.checkpoints, evaluate, tracker)
    lane = Lane(
        claimed=claimed,
        run=run,
        files=files,
        tracker=tracker,
        checkpoints=position.checkpoints,
        observer=observer,
        batches=position.batches,
        tell=tell,
        step=position.step,
        saved=position.step,
    )
    return lane, position.state


def fit(session: Session, lanes: Sequence[Lane], states: Sequence[TrainState]) -> None:
    """Takes all lanes to their last step, evaluating and saving each on the way.

    A trial that ends early leaves its lane idle; when half of the lanes are idle, the
    rest goes on without them, in a step that is compiled anew.

    Args:
        session: of one of the trials; all share its model, data and devices.
        lanes: that stand where their runs were left.
        states: of the lanes.

    Raises:
        Stopped: by a signal, after saving.
    """
    rows, total = list(lanes), session.total_steps

    def training() -> list[Lane]:
        return [lane for lane in rows if lane.problem is None and lane.step < total]

    if not training():
        return
    together = Lanes(session, [lane.claimed.experiment for lane in lanes], states)
    pending: list[tuple[int, Lane, int, np.ndarray]] = []
    metrics: dict[str, jax.Array] = {}

    def look() -> None:
        """Reads the metrics of the last step, of all lanes at once."""
        values = jax.device_get(metrics) if pending else {}
        for row, lane, step, index in pending:
            lane.attempt(lane.observer.look, step, index, {name: value[row] for name, value in values.items()})
        pending.clear()

    steps = max(total - lane.step for lane in training())
    with interruptible() as interruption, bar("training", steps, True) as advance:
        while (busy := training()) and not interruption.signum:
            if 2 * len(busy) <= len(rows):
                together.keep([rows.index(lane) for lane in busy])
                rows = busy
            batches = [next(lane.batches) for lane in rows]
            after = together.step(batches)
            look()
            metrics = after
            for row, (lane, batch) in enumerate(zip(rows, batches, strict=True)):
                if lane in busy:
                    lane.step += 1
                    pending.append((row, lane, lane.step, batch.index))
            resting = [lane for lane in busy if lane.observer.rests(lane.step)]
            if resting:
                look()
            for lane in resting:
                if lane.problem is None:
                    lane.rest(together.state(rows.index(lane)))
            advance()
        look()
        for row, lane in enumerate(rows):
            if lane.problem is None and lane.saved < lane.step:
                lane.rest(together.state(row))
    if interruption.signum:
        raise Stopped(interruption.signum)
