"""A finished or interrupted run, ready to be asked questions."""

import dataclasses
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp

from spermjax.config import Data, Experiment
from spermjax.data.examples import Dataset, load
from spermjax.data.task import Task
from spermjax.errors import CheckpointError, DataError
from spermjax.models.build import build_model
from spermjax.parallel import choose_devices
from spermjax.run import Run, find, read_json
from spermjax.train.checkpoints import Checkpoints
from spermjax.train.optim import optimizer_of
from spermjax.train.session import abstract_state
from spermjax.train.state import Variables


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model with the variables of its best checkpoint.

    Attributes:
        run: the run folder.
        experiment: what was run, with the places of data as they are now.
        task: what the logits mean.
        fingerprint: of the data that it was trained on.
        model: without a mapped axis.
        variables: parameters and statistics, averaged if the run kept an average.
        step: steps behind the checkpoint.
        devices: that evaluation is spread over.
    """

    run: Run
    experiment: Experiment
    task: Task
    fingerprint: str
    model: nn.Module
    variables: Variables
    step: int
    devices: list[jax.Device]

    def dataset(self) -> Dataset:
        """The data that the run was trained on.

        Raises:
            DataError: it is not there, or no longer the same.
        """
        dataset = load(self.experiment.data)
        check_same_data(self.run, dataset)
        return dataset


def load_trained(path: Path, *, manual_dir: Path | None = None, data_dir: Path | None = None) -> Trained:
    """Opens a run folder.

    Args:
        path: the run folder.
        manual_dir: where the unpacked archive is now, if it moved.
        data_dir: where prepared sets live now, if they moved.

    Raises:
        ConfigError: the folder is no run.
        CheckpointError: it holds no usable checkpoint.
    """
    run = find(path)
    experiment = run.experiment()
    data = _moved(experiment.data, manual_dir, data_dir)
    experiment = dataclasses.replace(experiment, data=data)
    stored = read_json(run.path / "data.json")
    task = Task.from_dict(stored["task"])
    model = build_model(experiment.model, task.num_outputs)

    if not run.checkpoints.is_dir():
        raise CheckpointError(f"{run.path} has no checkpoint yet; continue it with `spermjax resume {run.path}`.")
    checkpoints = Checkpoints(run.checkpoints, read_only=True)
    restored = checkpoints.restore(abstract_state(experiment, model, optimizer_of(experiment, 1)), best=True)
    checkpoints.close()
    if restored is None:
        raise CheckpointError(f"{run.path} has no whole checkpoint yet; continue it with `spermjax resume {run.path}`.")
    best, _ = restored
    return Trained(
        run=run,
        experiment=experiment,
        task=task,
        fingerprint=stored["fingerprint"],
        model=model,
        variables=jax.tree.map(jnp.asarray, best.evaluated),
        step=int(best.step),
        devices=choose_devices(None, experiment.schedule.batch_size, processes=1),
    )


def check_same_data(run: Run, dataset: Dataset) -> None:
    """Refuses to go on with a run on other data, or other splits, than it was started with.

    Raises:
        DataError: the fingerprints or the splits differ.
    """
    stored = read_json(run.path / "data.json")
    then, now = stored["fingerprint"], dataset.fingerprint
    if then != now:
        raise DataError(
            f"The data of {run.path} have changed: fingerprint {then[:12]} then, {now[:12]} now. "
            "Point --data-dir or --manual-dir to the data of then, or start a new run."
        )
    ids_then = {split: values["ids"] for split, values in stored["splits"].items()}
    ids_now = {split: list(examples.id) for split, examples in dataset.splits.items()}
    if changed := [split for split in sorted(ids_then | ids_now) if ids_then.get(split) != ids_now.get(split)]:
        raise DataError(
            f"The splits of {run.path} are no longer those of its start: {', '.join(changed)} differ. "
            "Give the --data.groups of then, or start a new run."
        )


def _moved(data: Data, manual_dir: Path | None, data_dir: Path | None) -> Data:
    return dataclasses.replace(data, manual_dir=manual_dir or data.manual_dir, data_dir=data_dir or data.data_dir)
