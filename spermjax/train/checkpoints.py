"""Checkpoints: the latest and the best kept together, each verified before it is trusted."""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from spermjax.errors import CheckpointError
from spermjax.train.state import TrainState

SCORE = "score"


class Checkpoints:
    """Saves and restores the state of a run.

    A checkpoint is written whole or not at all, and a list of checksums is laid beside
    it; one that was cut short or changed on disk is set aside, loudly, and the one before
    it is used.

    Args:
        directory: the run's checkpoint folder; made if it is not there.
        read_only: for evaluation of a run that another process may own.
    """

    def __init__(self, directory: Path, *, read_only: bool = False):
        self.directory = Path(directory).absolute()
        policy = preservation_policy.AnyPreservationPolicy(
            [
                preservation_policy.LatestN(2),
                preservation_policy.BestN(get_metric_fn=_score, reverse=False, n=1),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=_score,
                enable_async_checkpointing=False,
                read_only=read_only,
                create=not read_only,
            ),
            item_names=("state", "meta"),
        )

    def save(self, state: TrainState, meta: dict[str, Any], score: float) -> None:
        """Stores the state.

        Args:
            state: of training, on one or more devices.
            meta: JSON-able values; the data iterator's state among them.
            score: of the validation split, greater is better; NaN ranks last.

        Raises:
            CheckpointError: it can't be written; what was saved before is untouched.
        """
        step = int(state.step)
        score = -1e30 if np.isnan(score) else score
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(jax.tree.map(np.asarray, state)), meta=ocp.args.JsonSave(meta)
                ),
                metrics={SCORE: score},
            )
            self._sums(step).write_text(json.dumps(_checksums(self.directory / str(step))))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"The checkpoint of step {step} can't be written to {self.directory} ({error}). Make room or mend the "
                "permissions, then continue with `spermjax resume`; earlier checkpoints are whole."
            ) from error
        for sums in self.directory.glob("*.sha256.json"):
            if not (self.directory / sums.name.split(".")[0]).is_dir():
                sums.unlink()

    def restore(self, abstract: TrainState, *, best: bool = False) -> tuple[TrainState, dict[str, Any]] | None:
        """Reads the newest whole checkpoint, or the best one.

        Args:
            abstract: shapes and types of the state.
            best: the one with the highest score instead of the newest.

        Returns:
            State (NumPy arrays) and meta, or None where nothing was ever wholly saved.

        Raises:
            CheckpointError: checkpoints exist but all are damaged.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        if best and (step := self._manager.best_step()) is not None:
            steps = [step, *(other for other in steps if other != step)]
        problems = []
        for step in steps:
            if not self._sums(step).exists():
                logging.warning("Checkpoint %s was not finished; using the one before it.", self.directory / str(step))
                continue
            problem = self._damage(step)
            if problem is None:
                try:
                    restored = self._manager.restore(
                        step,
                        args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore()),
                    )
                    return restored["state"], restored["meta"]
                except (OSError, ValueError, KeyError, TypeError) as error:
                    problem = f"can't be read: {error}"
            problems.append(f"{self.directory / str(step)} {problem}")
            logging.warning("Checkpoint %s; using the one before it.", problems[-1])
        if problems:
            raise CheckpointError("No checkpoint of this run can be used:\n  " + "\n  ".join(problems))
        return None

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def drop_after(self, step: int) -> None:
        """Removes checkpoints newer than the one that was restored, which proved damaged."""
        for newer in [s for s in self._manager.all_steps() if s > step]:
            shutil.move(self.directory / str(newer), self.directory / f"damaged-{newer}")
            self._sums(newer).unlink(missing_ok=True)
        self._manager.reload()

    def close(self) -> None:
        """Ends the manager's threads."""
        self._manager.close()

    def _sums(self, step: int) -> Path:
        return self.directory / f"{step}.sha256.json"

    def _damage(self, step: int) -> str | None:
        """What is wrong with a checkpoint's files, or None."""
        try:
            wanted = json.loads(self._sums(step).read_text())
        except (json.JSONDecodeError, OSError) as error:
            return f"has an unreadable list of checksums ({error})"
        actual = _checksums(self.directory / str(step))
        changed = sorted(name for name in wanted.keys() | actual.keys() if wanted.get(name) != actual.get(name))
        return f"is damaged: {changed[0]} (and {len(changed) - 1} more) changed" if changed else None


def _score(metrics: dict[str, float]) -> float:
    return metrics[SCORE]


def _checksums(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
