"""The run folder: all that a report, a comparison or a resume needs is in it.

runs/<experiment>/<run id>/
    config.json       the experiment
    environment.json  versions, devices, command
    data.json         fingerprint, protocol, splits with their ids
    groups.csv        the groups that were given in place of the data set's own, if any
    metrics.jsonl     every logged value, in order of steps
    checkpoints/      latest and best
    evaluation/       scores and predictions by split
    explanations/     maps, overlays and tables by split
    report/index.html
"""

import contextlib
import dataclasses
import datetime
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spermjax.config import Experiment
from spermjax.errors import ConfigError, SpermjaxError
from spermjax.files import write_atomic


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        path: the folder; it exists.
    """

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def report(self) -> Path:
        return self.path / "report" / "index.html"

    @property
    def groups(self) -> Path:
        return self.path / "groups.csv"

    def evaluation(self, split: str) -> Path:
        """Scores on a split; the predictions lie beside it as CSV."""
        return self.path / "evaluation" / f"{split}.json"

    def explanations(self, split: str) -> Path:
        return self.path / "explanations" / split

    def experiment(self) -> Experiment:
        """The experiment that the run was started with; given groups are read from the run folder's own copy."""
        experiment = Experiment.from_dict(read_json(self.path / "config.json"))
        if experiment.data.groups is None:
            return experiment
        return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, groups=self.groups))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the run for one process.

        Raises:
            SpermjaxError: another process trains in this folder.
        """
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SpermjaxError(
                    f"Another process is training in {self.path}. Wait for it, or give another --tracking.run-id."
                ) from None
            yield


def create(experiment: Experiment) -> Run:
    """Makes a run's folder and stores its configuration, or finds the one that `run_id` names.

    Raises:
        ConfigError: a run of that id exists with another configuration.
        SpermjaxError: the folder can't be written.
    """
    now = datetime.datetime.now()
    run_id = experiment.tracking.run_id or f"{now:%Y%m%d-%H%M%S}-seed{experiment.seed}"
    path = experiment.tracking.runs / experiment.name / run_id
    config = path / "config.json"
    if config.exists():
        # Through the type: a field that is newer than the run has its default there.
        changed = differences(Experiment.from_dict(read_json(config)).to_dict(), experiment.to_dict())
        if changed:
            raise ConfigError(
                f"The run {path} exists with another configuration ({', '.join(changed)} differ). "
                "Give another --tracking.run-id, or the same options as before."
            )
        return Run(path)
    run = Run(path)
    if experiment.data.groups is not None:
        write_atomic(run.groups, experiment.data.groups.read_text(encoding="utf-8"))
    write_json(config, experiment.to_dict())
    return run


def find(path: Path) -> Run:
    """Opens an existing run folder.

    Raises:
        ConfigError: the folder is no run; the runs nearby are named.
    """
    path = Path(path)
    if (path / "config.json").is_file():
        return Run(path)
    runs = sorted(str(config.parent) for config in path.glob("**/config.json"))[:8] if path.is_dir() else []
    hint = f"It holds the runs {', '.join(runs)}." if runs else "A run is a folder like runs/EXPERIMENT/ID."
    raise ConfigError(f"{path} is no run folder: it has no config.json. {hint}")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON as a whole; a NaN is refused, since it is not JSON.

    Raises:
        SpermjaxError: the file can't be written.
    """
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file of a run.

    Raises:
        SpermjaxError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise SpermjaxError(f"{path} is missing from the run folder.") from None
    except json.JSONDecodeError as error:
        raise SpermjaxError(f"{path} is damaged ({error}).") from None


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Dotted paths of the leaves that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            leaf
            for key in sorted(old.keys() | new.keys())
            for leaf in differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        ]
    return [] if old == new else [path]
