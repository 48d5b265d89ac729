"""How much a leaking split flatters: one model and budget under literature's split and under its clean partner.

    spermjax data check smids --manual-dir DIR --out check/smids
    python -m experiments.leakage_gap probe smids_dinov2 --data.manual-dir DIR --data.groups check/smids/groups.csv \
        --model.weights FILE --splits 20
    python -m experiments.leakage_gap train leakage_gap --data.name smids --data.manual-dir DIR \
        --data.groups check/smids/groups.csv --splits 3

`probe` fits a logistic regression on an experiment's untrained features, `train` trains
its model for the steps that it names and takes the last ones; both are scored on the
validation part of each split, and nothing is chosen by it. RESULTS.md holds the numbers.
"""

import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from jaxtyping import Float, Int

from spermjax.config import Data, Experiment, Model, Optim, Schedule
from spermjax.data.examples import Dataset, concatenate, divide, load_undivided
from spermjax.evaluate.intervals import bootstrap
from spermjax.evaluate.weighted import ratio
from spermjax.sweep.compare.statistics import over_runs

PROTOCOLS = ("literature", "literature_grouped")

Answer = Callable[[Dataset, int], Float[np.ndarray, "n classes"]]
"""Logits of the validation part of a divided set, by a model that has seen its training part; and a seed."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is compared."""

    way: Annotated[Literal["probe", "train"], tyro.conf.Positional]
    """Linear probe, or training."""
    name: Annotated[str, tyro.conf.Positional]
    """Where the experiment comes from, as for `spermjax train`."""
    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    splits: int = 20
    """Split seeds, from 0; each gives one division under either protocol."""
    json: Path | None = None
    """Write the numbers here."""


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """What was right, by image and by split.

    Attributes:
        hits: for each protocol and image, how often its class was found.
        tries: how often it was held out.
        accuracy: of each split's validation part.
        related: of each split, the share of validation images that have a relative in training.
        group: of each image.
    """

    hits: Int[np.ndarray, "protocols n"]
    tries: Int[np.ndarray, "protocols n"]
    accuracy: Float[np.ndarray, "protocols splits"]
    related: Float[np.ndarray, "protocols splits"]
    group: np.ndarray


def experiment() -> Experiment:
    """A transformer from scratch that trains in half a minute, for the same number of steps on any set."""
    return Experiment(
        name="leakage_gap",
        data=Data(name="smids", image_size=32, split="literature_grouped"),
        model=Model(stem="conv", patch_size=8, width=64, depth=3, heads=4, positions="sincos"),
        optim=Optim(learning_rate=2e-3, weight_decay=0.05),
        schedule=Schedule(steps=300, batch_size=32, eval_every=1000),
    )


def repeat(undivided: Dataset, data: Data, splits: int, answer: Answer) -> Outcomes:
    """Divides, trains and looks at the validation part, under both protocols and all split seeds."""
    pool = concatenate(list(undivided.splits.values()))
    place = {name: i for i, name in enumerate(pool.id)}
    shape = (len(PROTOCOLS), len(pool))
    hits, tries = np.zeros(shape, int), np.zeros(shape, int)
    accuracy, related = np.zeros((len(PROTOCOLS), splits)), np.zeros((len(PROTOCOLS), splits))
    group = np.array(pool.group, dtype=object)
    for seed in range(splits):
        for row, protocol in enumerate(PROTOCOLS):
            divided = divide(undivided, dataclasses.replace(data, split=protocol, split_seed=seed))
            train, validation = divided.splits["train"], divided.splits["validation"]
            right = answer(divided, seed).argmax(-1) == validation.label
            at = np.array([place[name] for name in validation.id])
            hits[row, at] += right
            tries[row, at] += 1
            accuracy[row, seed] = right.mean()
            related[row, seed] = np.isin(validation.group, train.group).mean()
            for part in divided.splits.values():
                group[[place[name] for name in part.id]] = part.group
    return Outcomes(hits, tries, accuracy, related, group.astype(str))


def summarise(outcomes: Outcomes) -> dict[str, Any]:
    """Accuracies, and by how much the leaking one is higher.

    An image's weight is how often it was held out. `cells` are BCa bootstrap intervals in
    which a group's images, with all their repeats and under both protocols, are drawn
    together, so that the gap is paired; `splits` are Student's, over split seeds, and
    narrower than the truth, for training parts overlap. Both for all images and for those
    that have a relative in the set, which alone can gain by a leak.
    """
    _, code, size = np.unique(outcomes.group, return_inverse=True, return_counts=True)
    has_relative, held_out = size[code] > 1, outcomes.tries.any(0)
    cells = {}
    for name, chosen in (("all", held_out), ("with a relative", held_out & has_relative)):
        hits, tries = outcomes.hits[:, chosen].T, outcomes.tries[:, chosen].T

        def statistics(weight: np.ndarray, hits: np.ndarray = hits, tries: np.ndarray = tries) -> dict[str, np.ndarray]:
            leaking, clean = ratio(weight @ hits, weight @ tries).T
            return {"literature": leaking, "clean": clean, "gap": leaking - clean}

        intervals = bootstrap(statistics, int(chosen.sum()), outcomes.group[chosen])
        cells |= {f"{name}: {which}": interval.to_dict() for which, interval in intervals.items()}
    leaking, clean = outcomes.accuracy
    return {
        "images": len(has_relative),
        "images with a relative": int(has_relative.sum()),
        "share of validation with a relative in training": outcomes.related.mean(1).tolist(),
        "cells": cells,
        "splits": {
            name: over_runs(values).to_dict()
            for name, values in (("literature", leaking), ("clean", clean), ("gap", leaking - clean))
        },
    }


def probing(experiment: Experiment, undivided: Dataset) -> Answer:
    """A logistic regression on features that are computed once."""
    from spermjax.evaluate.probe import linear_probe
    from spermjax.workflow.probe import features

    pooled = features(experiment, undivided.task.num_outputs, list(undivided.splits.values()))

    def answer(divided: Dataset, seed: int) -> np.ndarray:
        del seed  # A logistic regression has one solution.
        train, validation = divided.splits["train"], divided.splits["validation"]
        of_train, of_validation = (np.stack([pooled[name] for name in part.id]) for part in (train, validation))
        return linear_probe(divided.task, of_train, train.label, of_validation)

    return answer


def training(experiment: Experiment) -> Answer:
    """The experiment's model after its last step."""
    from spermjax.data.pipeline import training_batches
    from spermjax.parallel import replicate
    from spermjax.train.session import build_session, make_predict

    # Streamed, so that the step has one shape for all splits and is compiled once.
    experiment = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, feed="stream"))

    def answer(divided: Dataset, seed: int) -> np.ndarray:
        session = build_session(dataclasses.replace(experiment, seed=seed), divided)
        state, batch_size = replicate(session.initial_state(), session.devices), experiment.schedule.batch_size
        batches = training_batches(divided.splits["train"], batch_size, seed)
        for _ in range(session.total_steps):
            state, _ = session.train_step(state, next(batches))
        return make_predict(session.model, session.devices, batch_size)(state.evaluated, divided.splits["validation"])

    return answer


def main(words: Sequence[str]) -> None:
    """Compares both protocols, prints and writes the numbers."""
    from spermjax.commands.parse import parse, print_json
    from spermjax.validation import validate
    from spermjax.workflow import experiments

    names = [word for word in words[1:2] if not word.startswith("-")]
    default = experiments.load(names[0]) if names else experiment()
    settings = parse(
        Settings, words, "", default=Settings(tyro.MISSING, tyro.MISSING, experiment=default), description=__doc__
    )
    logging.getLogger().setLevel(logging.ERROR)  # Each leaking split warns that it leaks.
    validate(settings.experiment)
    data = dataclasses.replace(settings.experiment.data, margin=0)
    undivided = load_undivided(data)
    answer = probing(settings.experiment, undivided) if settings.way == "probe" else training(settings.experiment)
    found = {"command": " ".join(words), **summarise(repeat(undivided, data, settings.splits, answer))}
    print_json(found)
    if settings.json:
        settings.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
