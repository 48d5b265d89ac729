"""Linear probe of an experiment's model as it is before training."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from spermjax.config import Experiment
from spermjax.data.batch import unpack
from spermjax.data.examples import Examples, divide, load_undivided
from spermjax.data.pipeline import padded_batches
from spermjax.data.progress import bar
from spermjax.errors import ConfigError
from spermjax.evaluate.classification import quick, score
from spermjax.evaluate.probe import linear_probe
from spermjax.models.attention.contract import FEATURES
from spermjax.models.build import build_model
from spermjax.parallel import choose_devices, pmap_examples
from spermjax.train.session import initial_variables
from spermjax.validation import validate


def probe(experiment: Experiment, repeats: int = 5) -> dict[str, Any]:
    """Fits a logistic regression on what the untrained head would read.

    Features are computed once for each image, without augmentation. Folds are taken all,
    and the predictions of their validation parts scored together; other divisions are
    scored on their validation split.

    Args:
        experiment: its data, their division, and its model with its weights.
        repeats: divisions with other repeats of the seed; an official split has one.

    Returns:
        JSON-able: scores with intervals of the first repeat, and mean and standard
        deviation of each headline metric over the repeats.

    Raises:
        ConfigError: the experiment can't be run as it is.
        DataError: data or weights are missing or damaged.
    """
    validate(experiment)
    if repeats < 1:
        raise ConfigError(f"--repeats is {repeats}; it must be 1 or more")
    data = dataclasses.replace(experiment.data, margin=0)
    undivided = load_undivided(data)
    pooled = features(experiment, undivided.task.num_outputs, list(undivided.splits.values()))
    folds = range(data.folds) if data.split == "kfold" and data.inner_fold is None else [data.fold]
    found, protocol = [], ""
    for repeat in range(1 if data.split == "official" else repeats):
        logits, label, group = [], [], []
        for fold in folds:
            divided = divide(undivided, dataclasses.replace(data, fold=fold, repeat=data.repeat + repeat))
            train, validation = divided.splits["train"], divided.splits["validation"]
            protocol = protocol or divided.protocol
            of_train, of_validation = (np.stack([pooled[name] for name in part.id]) for part in (train, validation))
            logits.append(linear_probe(divided.task, of_train, train.label, of_validation))
            label.append(validation.label)
            group += validation.group
        found.append((np.concatenate(logits), np.concatenate(label), np.array(group)))
    headline = [quick(undivided.task, logits, label) for logits, label, _ in found]
    logits, label, group = found[0]
    return {
        **score(undivided.task, logits, label, group, seed=0).to_dict(),
        "split": f"validation parts of {len(folds)} folds" if len(folds) > 1 else "validation",
        "protocol": f"linear probe, {protocol}",
        "repeats": {
            name: {
                "mean": float(np.mean([values[name] for values in headline])),
                "std": float(np.std([values[name] for values in headline])),
                "n": len(headline),
            }
            for name in headline[0]
        },
    }


def features(experiment: Experiment, num_outputs: int, splits: list[Examples]) -> dict[str, Float[np.ndarray, "width"]]:
    """What the head reads of each image, by the image's name."""
    model = build_model(experiment.model, num_outputs)
    variables = initial_variables(experiment, model)
    devices = choose_devices(experiment.parallel.devices, experiment.schedule.batch_size)

    def pooled(variables: Any, packed: Any) -> Any:
        _, captured = model.apply(variables, unpack(packed).image, mutable=[FEATURES])
        return captured[FEATURES]["pooled"]

    forward = pmap_examples(pooled, devices)
    found = {}
    with bar("computing features", sum(map(len, splits)), True) as advance:
        for examples in splits:
            for batch in padded_batches(examples, experiment.schedule.batch_size):
                for place, values in zip(batch.index, forward(variables, batch), strict=True):
                    if place >= 0:
                        found[examples.id[place]] = values
                        advance()
    return found
