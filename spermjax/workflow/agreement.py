"""Whether the processes of a run want the same, and have the same data."""

import hashlib
import json
from typing import Any

import jax

from spermjax.config import Experiment
from spermjax.data.examples import Dataset
from spermjax.errors import ConfigError, DataError, SpermjaxError
from spermjax.parallel import from_first
from spermjax.run import differences

OWN = ("data_dir", "manual_dir", "groups")
"""Options of data that may differ: files lie where they lie on each host; their content may not."""


def check_same_experiment(experiment: Experiment) -> None:
    """Refuses a process whose options are not those of process 0, but for the places of data and results.

    Raises:
        ConfigError: naming the options.
    """
    shared = experiment.to_dict()
    shared["data"] = {name: value for name, value in shared["data"].items() if name not in OWN}
    del shared["tracking"]
    _check("options", shared, ConfigError)


def check_same_dataset(dataset: Dataset) -> None:
    """Refuses a process whose data or splits are not those of process 0.

    Raises:
        DataError: naming the splits.
    """
    ids = {split: json.dumps(examples.id) for split, examples in dataset.splits.items()}
    splits = {split: hashlib.sha256(names.encode()).hexdigest() for split, names in ids.items()}
    _check("data", {"fingerprint": dataset.fingerprint, "splits": splits}, DataError)


def _check(what: str, value: dict[str, Any], error: type[SpermjaxError]) -> None:
    if differing := differences(from_first(lambda: value), value):
        raise error(
            f"The {what} of process {jax.process_index()} are not those of process 0: {', '.join(differing)} differ. "
            "Start all processes with the same."
        )
