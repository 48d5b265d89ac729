"""The folder of a sweep: what was asked for, its runs, and the table of its trials.

DIR/
    sweep.json      the sweep file, the experiment that it varies, and the storage
    study.journal   the study, unless another storage was given
    runs/           a run folder for each trial
    workers/        what each worker wrote to its error stream
    trials.csv      a line a trial: state, values, parameters, run, error
"""

import contextlib
import csv
import dataclasses
import fcntl
import hashlib
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna

from spermjax.config import Experiment
from spermjax.errors import ConfigError, SpermjaxError
from spermjax.files import write_atomic
from spermjax.run import read_json, write_json
from spermjax.sweep import study as studies
from spermjax.sweep.sweepfile import Sweep, from_dict

_OF_THIS_MACHINE = ("data.manual_dir", "data.data_dir")


@dataclasses.dataclass(frozen=True)
class Folder:
    """A sweep on disk.

    Attributes:
        path: the folder.
        sweep: what is searched.
        base: the experiment that is varied.
        storage: of the study.
    """

    path: Path
    sweep: Sweep
    base: Experiment
    storage: str

    @property
    def study_name(self) -> str:
        """The same for the same sweep of the same experiment, on each machine that joins."""
        experiment = self.base.to_dict()
        for path in _OF_THIS_MACHINE:
            section, field = path.split(".")
            experiment[section][field] = None
        text = json.dumps([self.sweep.raw, experiment], sort_keys=True, default=str)
        return f"{self.sweep.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def study(self) -> optuna.Study:
        """The study, with its pruner."""
        return studies.load(self.sweep, self.study_name, studies.open_storage(self.storage))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for one sweep on this machine; other machines may share it.

        Raises:
            SpermjaxError: a sweep already runs here.
        """
        with (self.path / f".lock-{socket.gethostname()}").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SpermjaxError(f"Another sweep runs in {self.path}. Wait for it, or give another --out.") from None
            yield

    def write_table(self, trials: list[dict[str, Any]]) -> Path:
        """Writes `trials.csv`."""
        text = io.StringIO()
        columns = list(dict.fromkeys(column for row in trials for column in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(trials)
        path = self.path / "trials.csv"
        write_atomic(path, text.getvalue())
        return path


def create(path: Path, sweep: Sweep, base: Experiment, storage: str | None) -> Folder:
    """Makes the folder of a sweep, or finds the one that was begun there.

    Raises:
        ConfigError: the folder holds another sweep.
        SpermjaxError: it can't be written.
    """
    folder = Folder(path, sweep, base, storage or str(path / "study.journal"))
    stored = path / "sweep.json"
    content = {"sweep": dict(sweep.raw), "experiment": base.to_dict(), "storage": folder.storage}
    content = json.loads(json.dumps(content, default=str))
    if stored.exists():
        found = read_json(stored)
        changed = [key for key, value in content.items() if found.get(key) != value]
        if changed:
            raise ConfigError(
                f"{path} holds another sweep: its {' and '.join(changed)} differ{'s' * (len(changed) == 1)}. "
                "Give another --out, or the same file and options as before."
            )
    else:
        write_json(stored, content | {"name": sweep.name})
    return folder


def find(path: Path) -> Folder:
    """Opens the folder of a sweep.

    Raises:
        ConfigError: it is none.
    """
    stored = path / "sweep.json"
    if not stored.exists():
        raise ConfigError(
            f"{path} is no sweep: it has no sweep.json. Start one with `spermjax sweep FILE --out {path}`."
        )
    content = read_json(stored)
    sweep = from_dict(content["sweep"], str(stored), content["name"])
    return Folder(path, sweep, Experiment.from_dict(content["experiment"]), content["storage"])


def table(folder: Folder, study: optuna.Study) -> list[dict[str, Any]]:
    """A row for each trial: number, state, objectives, parameters, run folder, error."""
    rows = []
    for trial in studies.patient(study.get_trials, deepcopy=False):
        finished = trial.state == optuna.trial.TrialState.COMPLETE
        values = trial.values if finished else [None] * len(folder.sweep.objectives)
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                **{o.name: value for o, value in zip(folder.sweep.objectives, values, strict=True)},
                **trial.user_attrs.get(studies.VALUES, {}),
                "run": trial.user_attrs.get(studies.RUN),
                "error": trial.user_attrs.get(studies.ERROR),
            }
        )
    return rows
