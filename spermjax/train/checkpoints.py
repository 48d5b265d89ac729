"""Checkpoints: latest, best and every so many steps, written beside training, each verified before it is trusted."""

import concurrent.futures
import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from spermjax.errors import CheckpointError, SpermjaxError
from spermjax.files import write_atomic, writing
from spermjax.parallel import fetch
from spermjax.train.state import TrainState

SCORE = "score"

_NONE = "No checkpoint of this run can be used:\n  "


class Checkpoints:
    """Saves and restores the state of a run.

    A checkpoint is written whole or not at all, and a list of checksums is laid beside
    it; one that was cut short or changed on disk is set aside, loudly, and the one before
    it is used. Writing goes on beside training, one checkpoint at a time: the next `save`,
    `wait` or `close` tells if it failed.

    Args:
        directory: the run's checkpoint folder; made if it is not there.
        keep_every: steps between checkpoints that are kept for good, or None.
        read_only: for evaluation of a run that another process may own.

    Raises:
        CheckpointError: a score can't be read, and the checkpoint must not be set aside.
    """

    def __init__(self, directory: Path, *, keep_every: int | None = None, read_only: bool = False):
        self.directory = Path(directory).absolute()
        self._writer = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: concurrent.futures.Future[None] | None = None
        policies: list[preservation_policy.PreservationPolicy] = [
            preservation_policy.LatestN(2),
            preservation_policy.BestN(get_metric_fn=_score, reverse=False, n=1),
        ]
        if keep_every is not None:
            policies.append(preservation_policy.EveryNSteps(keep_every))
        if not read_only:
            with writing(self.directory):
                self.directory.mkdir(parents=True, exist_ok=True)
        self._problems = self._without_score(read_only)
        self._manager = _Manager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=preservation_policy.AnyPreservationPolicy(policies),
                best_fn=_score,
                enable_async_checkpointing=False,
                read_only=read_only,
                create=False,
                # One process of several: nobody else is to be waited for.
                multiprocessing_options=ocp.options.MultiprocessingOptions(
                    primary_host=jax.process_index(), active_processes={jax.process_index()}
                ),
            ),
            item_names=("state", "meta"),
        )

    def save(self, state: TrainState, meta: dict[str, Any], score: float) -> None:
        """Takes a copy of the state and has it stored; waits for the one before alone.

        Args:
            state: of training, on one or more devices.
            meta: JSON-able values; the data iterator's state among them.
            score: of the validation split, greater is better; NaN ranks last.

        Raises:
            CheckpointError: the one before can't be written; what was saved earlier is untouched.
        """
        self.wait()
        # A copy: the next step takes the buffers over.
        self._writing = self._writer.submit(self._write, jax.tree.map(fetch, state), meta, score)

    def wait(self) -> None:
        """Returns when all is on disk.

        Raises:
            CheckpointError: it can't be written; what was saved earlier is untouched.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, state: TrainState, meta: dict[str, Any], score: float) -> None:
        step = int(state.step)
        score = -1e30 if np.isnan(score) else score
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)),
                metrics={SCORE: score},
            )
            write_atomic(self._sums(step), json.dumps(_checksums(self.directory / str(step))))
        except (OSError, ValueError, SpermjaxError) as error:
            raise CheckpointError(
                f"The checkpoint of step {step} can't be written to {self.directory} ({error}). Make room or mend the "
                "permissions, then continue with `spermjax resume`; earlier checkpoints are whole."
            ) from error
        for sums in self.directory.glob("*.sha256.json"):
            if not (self.directory / sums.name.split(".")[0]).is_dir():
                sums.unlink()

    def restore(
        self,
        abstract: TrainState,
        *,
        best: bool = False,
        step: int | None = None,
        initial: Callable[[], TrainState] | None = None,
    ) -> tuple[TrainState, dict[str, Any]] | None:
        """Reads the newest whole checkpoint, the best one, or that of a step.

        A field of the state that has a default may be younger than the checkpoint: it then
        has its initial value, or None where none is given.

        Args:
            abstract: shapes and types of the state.
            best: the one with the highest score instead of the newest.
            step: the one of this step and no other.
            initial: gives the state before the first step.

        Returns:
            State (NumPy arrays) and meta, or None where nothing was ever wholly saved.

        Raises:
            CheckpointError: checkpoints exist but all are damaged, or there is none of that step.
        """
        self.wait()
        steps = sorted(self._manager.all_steps(), reverse=True)
        if step is not None:
            if step not in steps:
                there = ", ".join(map(str, reversed(steps))) or "none"
                raise CheckpointError(f"{self.directory} has no checkpoint of step {step}. There are: {there}.")
            steps = [step]
        elif best and (top := self._manager.best_step()) is not None:
            steps = [top, *(other for other in steps if other != top)]
        problems = list(self._problems)
        for found in steps:
            where = self.directory / str(found)
            if not self._sums(found).exists():
                logging.warning("Checkpoint %s was not finished.", where)
                if step is not None:
                    problems.append(f"{where} was not finished")
                continue
            problem = self._damage(found)
            if problem is None:
                try:
                    return self._read(found, abstract, initial)
                except (OSError, ValueError, KeyError, TypeError) as error:
                    problem = f"can't be read: {error}"
            problems.append(f"{where} {problem}")
            logging.warning("Checkpoint %s.", problems[-1])
        if problems:
            raise CheckpointError(_NONE + "\n  ".join(problems))
        return None

    def _read(
        self, step: int, abstract: TrainState, initial: Callable[[], TrainState] | None
    ) -> tuple[TrainState, dict[str, Any]]:
        with ocp.StandardCheckpointer() as reader:
            stored: Any = reader.metadata(self.directory / str(step) / "state").item_metadata
        fields = [field for field in dataclasses.fields(abstract) if field.name in stored or not _optional(field)]
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore({field.name: getattr(abstract, field.name) for field in fields}),
                meta=ocp.args.JsonRestore(),
            ),
        )
        younger = {field.name for field in dataclasses.fields(abstract)} - restored["state"].keys()
        missed = sorted(name for name in younger if getattr(abstract, name) is not None)
        values: dict[str, Any] = dict.fromkeys(younger)
        if missed and initial is not None:
            logging.warning("Checkpoint %s is older than %s: initial values.", self.directory / str(step), missed)
            values |= {name: getattr(initial(), name) for name in missed}
        return TrainState(**restored["state"], **values), restored["meta"]

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint on disk, or None."""
        self.wait()
        return self._manager.latest_step()

    def set_aside_after(self, step: int) -> None:
        """Takes checkpoints newer than the one that was restored out of the way: damaged, or no longer wanted."""
        for newer in [other for other in self._manager.all_steps() if other > step]:
            self._set_aside(newer)
        self._manager.reload()

    def _set_aside(self, step: int) -> None:
        self._sums(step).unlink(missing_ok=True)
        aside = self.directory / f"set-aside-{step}"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.move(self.directory / str(step), aside)

    def _without_score(self, read_only: bool) -> list[str]:
        """Takes checkpoints whose score is damaged out of the way of orbax, which opens all or none."""
        problems = {}
        steps = ocp.utils.checkpoint_steps(self.directory)
        for step in steps:
            folder = self.directory / str(step)
            try:
                float(_score(json.loads((folder / "metrics" / "metrics").read_text())))
            except (OSError, ValueError, KeyError, TypeError) as error:
                if folder.exists():  # Else the process that trains has removed it just now.
                    problems[step] = f"{folder} is damaged: its score can't be read ({error})"
        if problems and len(problems) == len(steps):
            raise CheckpointError(_NONE + "\n  ".join(problems.values()))
        for step, problem in problems.items():
            if read_only:
                raise CheckpointError(f"{problem}. `spermjax resume` sets it aside and goes on from the one before.")
            logging.warning("Checkpoint %s; it is set aside.", problem)
            self._set_aside(step)
        return list(problems.values())

    def close(self) -> None:
        """Waits for what is being written, and ends all threads.

        Raises:
            CheckpointError: it can't be written.
        """
        try:
            self.wait()
        finally:
            self._writer.shutdown()
            self._manager.close()

    def _sums(self, step: int) -> Path:
        return self.directory / f"{step}.sha256.json"

    def _damage(self, step: int) -> str | None:
        """What is wrong with a checkpoint's files, or None."""
        try:
            wanted = json.loads(self._sums(step).read_text())
            if not isinstance(wanted, dict):
                raise ValueError("it is no table")
        except (ValueError, OSError) as error:
            return f"has an unreadable list of checksums ({error})"
        actual = _checksums(self.directory / str(step))
        changed = sorted(name for name in wanted.keys() | actual.keys() if wanted.get(name) != actual.get(name))
        return f"is damaged: {changed[0]} (and {len(changed) - 1} more) changed" if changed else None


class _Manager(ocp.CheckpointManager):
    def reached_preemption(self, step: int) -> bool:
        """Stops are told by signals, and JAX's service, which orbax would ask, is off (`spermjax.parallel.hosts`)."""
        del step
        return False


class Elsewhere:
    """The checkpoints of a run, in a process that leaves them to the first."""

    def __init__(self) -> None:
        self._saved: int | None = None

    def save(self, state: TrainState, meta: dict[str, Any], score: float) -> None:
        """Takes part in gathering what lies in slices."""
        del meta, score
        for leaf in jax.tree.leaves(state):
            if not leaf.is_fully_replicated:
                fetch(leaf)
        self._saved = int(state.step)

    def latest_step(self) -> int | None:
        """Step of the last one since this process started, or None."""
        return self._saved

    def close(self) -> None:
        """Nothing is open here."""


def _optional(field: dataclasses.Field) -> bool:
    return field.default is not dataclasses.MISSING


def _score(metrics: dict[str, float]) -> float:
    return metrics[SCORE]


def _checksums(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
