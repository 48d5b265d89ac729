"""Predictions for a user's own images."""

from collections.abc import Sequence
from pathlib import Path

from spermjax.data.examples import read_images
from spermjax.errors import ConfigError
from spermjax.evaluate.views import Views
from spermjax.workflow.evaluate import predict_logits, probabilities
from spermjax.workflow.images import as_examples
from spermjax.workflow.trained import Trained


def predict(trained: Trained, images: Sequence[Path], views: Views = 1) -> list[dict]:
    """Classifies image files.

    Args:
        trained: the run.
        images: files of any common format; they are cropped and resized as the
            training data were.
        views: mirrored and turned images over which probabilities are averaged.

    Returns:
        For each image its path, the predicted class (or side of each attribute) and the
        probabilities.

    Raises:
        ConfigError: no image was named.
        DataError: naming every file that can't be read.
    """
    if not images:
        raise ConfigError("Name at least one image file.")
    task = trained.task
    examples = as_examples(task, read_images(images, trained.experiment.data), [str(path) for path in images])
    results = []
    for path, probability in zip(images, probabilities(task, predict_logits(trained, examples, views)), strict=True):
        by_name = {name: round(float(p), 6) for name, p in zip(task.names, probability, strict=True)}
        if task.kind == "single_label":
            predicted = task.names[int(probability.argmax())]
        else:
            predicted = {name: "abnormal" if p > 0.5 else "normal" for name, p in by_name.items()}
        results.append({"image": str(path), "predicted": predicted, "probability": by_name})
    return results
