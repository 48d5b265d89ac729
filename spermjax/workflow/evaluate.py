"""Scores of a run on a split, with the predictions behind them."""

import csv
import io
from pathlib import Path

import numpy as np

from spermjax.data.examples import Dataset, Examples
from spermjax.data.task import Task
from spermjax.errors import ConfigError, nearest
from spermjax.evaluate.classification import score
from spermjax.evaluate.scores import Scores
from spermjax.evaluate.views import Views, mean_logits
from spermjax.files import write_atomic
from spermjax.run import Run, write_json
from spermjax.train.session import make_predict
from spermjax.workflow.environment import environment
from spermjax.workflow.trained import Trained


def evaluate(
    trained: Trained, split: str = "validation", *, dataset: Dataset | None = None, views: Views = 1
) -> Scores:
    """Scores the best checkpoint and stores `evaluation/<split>.json` and `.csv`.

    With several views the files are those of `stored_at`, beside the ones of the plain images.

    Args:
        trained: the run.
        split: one of the data set's splits. Look at `test` once, at the end.
        dataset: the run's data, if they are loaded already.
        views: test-time augmentation: mirrored and turned images over which probabilities are averaged.

    Raises:
        ConfigError: the data set has no such split.
        DataError: the data are not there, or not those of the run.
    """
    dataset = dataset or trained.dataset()
    examples = split_of(dataset, split)
    logits = predict_logits(trained, examples, views)
    scores = score(trained.task, logits, examples.label, np.array(examples.group), seed=0)
    json_path = stored_at(trained.run, split, views)
    protocol = dataset.protocol if views == 1 else f"{dataset.protocol}; probabilities averaged over {views} views"
    write_json(
        json_path,
        {
            **scores.to_dict(),
            "split": split,
            "checkpoint_step": trained.step,
            "seed": trained.experiment.seed,
            "protocol": protocol,
            "views": views,
            "fingerprint": dataset.fingerprint,
            "command": environment()["command"],
        },
    )
    write_atomic(json_path.with_suffix(".csv"), predictions_csv(trained.task, examples, logits))
    return scores


def stored_at(run: Run, split: str, views: Views) -> Path:
    """Where the scores of a split lie, as JSON; the predictions lie beside them as CSV."""
    return run.evaluation(split if views == 1 else f"{split}-{views}-views")


def predict_logits(trained: Trained, examples: Examples, views: Views = 1) -> np.ndarray:
    """Logits of every example, in order; of several views those of the mean probability."""
    predict = make_predict(trained.model, trained.devices, trained.experiment.schedule.batch_size)
    logits = np.stack([predict(trained.variables, examples, view) for view in range(views)])
    return logits[0] if views == 1 else mean_logits(trained.task.kind, logits)


def split_of(dataset: Dataset, split: str) -> Examples:
    """The examples of a split, as the model sees them.

    Raises:
        ConfigError: the data set has no such split.
    """
    if split not in dataset.splits:
        raise ConfigError(f"{dataset.name} has no split {split!r}. {nearest(split, dataset.splits)}")
    return dataset.splits[split].without_margin()


def probabilities(task: Task, logits: np.ndarray) -> np.ndarray:
    """Softmax over classes, or each attribute's probability of being abnormal."""
    logits = logits.astype(np.float64)
    if task.kind == "multi_attribute":
        return 1.0 / (1.0 + np.exp(-logits))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def predictions_csv(task: Task, examples: Examples, logits: np.ndarray) -> str:
    """One line per example: id, group, true, predicted, probabilities."""
    probability = probabilities(task, logits)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if task.kind == "single_label":
        writer.writerow(["id", "group", "label", "predicted", *(f"probability_{name}" for name in task.names)])
        for i, name in enumerate(examples.id):
            true, predicted = task.names[examples.label[i]], task.names[probability[i].argmax()]
            writer.writerow([name, examples.group[i], true, predicted, *(f"{p:.6f}" for p in probability[i])])
    else:
        columns = [f"{kind}_{name}" for name in task.names for kind in ("label", "predicted", "probability")]
        writer.writerow(["id", "group", *columns])
        sides = {-1: "", 0: "normal", 1: "abnormal"}
        for i, name in enumerate(examples.id):
            row = [
                value
                for label, p in zip(examples.label[i], probability[i], strict=True)
                for value in (sides[int(label)], sides[int(p > 0.5)], f"{p:.6f}")
            ]
            writer.writerow([name, examples.group[i], *row])
    return text.getvalue()
