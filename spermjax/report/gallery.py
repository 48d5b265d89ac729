"""The cases that a report shows: the surest mistakes, and right answers of every kind."""

import base64
import dataclasses
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from spermjax.data.task import Task
from spermjax.parts import unpack
from spermjax.report.figures import enlarge, outlined, overlay
from spermjax.report.load import Explanations

TILE_PX = 224


@dataclasses.dataclass(frozen=True)
class Case:
    """One cell as it is shown.

    Attributes:
        id: the example's name in its data set.
        right: whether the model was right on what is explained; None without a label.
        question: the attribute that is explained; empty for a single label.
        truth: its label in words.
        answer: the model's answer in words.
        explained: the output that the maps explain, in words.
        probability: of that output.
        tiles: title and data URI of the image and of each overlay.
    """

    id: str
    right: bool | None
    question: str
    truth: str
    answer: str
    explained: str
    probability: float
    tiles: list[tuple[str, str]]


def cases(explained: Explanations, task: Task, *, each: int = 8) -> tuple[list[Case], list[Case]]:
    """Wrong and right cases with their pictures.

    Args:
        explained: what `explain` left; without arrays there are no cases.
        task: names the classes or attributes.
        each: at most this many of either.

    Returns:
        Wrong cases, the surest first, and right cases (and unlabelled ones), in turn
        from each class or attribute.
    """
    arrays = explained.examples
    if "image" not in arrays:
        return [], []
    label, predicted = (_of_target(arrays[name], arrays["target"]) for name in ("label", "predicted"))
    wrong = np.flatnonzero((label >= 0) & (label != predicted))
    right = np.flatnonzero((label < 0) | (label == predicted))
    sureness = np.abs(arrays["probability"] - 0.5)
    wrong = wrong[np.argsort(-sureness[wrong], kind="stable")]
    kind = predicted if task.kind == "single_label" else 2 * arrays["target"] + label
    turn = np.array([np.sum(kind[right[:place]] == kind[one]) for place, one in enumerate(right)], int)
    right = right[np.lexsort((kind[right], turn))] if len(right) else right
    show = [[_case(explained, task, int(one), label, predicted) for one in some[:each]] for some in (wrong, right)]
    return show[0], show[1]


def _of_target(values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Of several attributes the one that is explained."""
    return values if values.ndim == 1 else np.take_along_axis(values, target[:, None], axis=1)[:, 0]


def _case(explained: Explanations, task: Task, one: int, label: np.ndarray, predicted: np.ndarray) -> Case:
    arrays, target = explained.examples, int(explained.examples["target"][one])
    single = task.kind == "single_label"
    words = task.names if single else ("normal", "abnormal")
    image = arrays["image"][one]
    has_parts = bool(arrays["has_parts"][one])
    first = outlined(image, unpack(arrays["parts"][one]), TILE_PX) if has_parts else enlarge(image, TILE_PX)
    maps = {method: arrays[f"maps/{method}"][one].astype(np.float32) for method in explained.methods}
    return Case(
        id=str(arrays["id"][one]),
        right=None if label[one] < 0 else bool(label[one] == predicted[one]),
        question="" if single else task.names[target],
        truth=words[label[one]] if label[one] >= 0 else "unknown",
        answer=words[predicted[one]],
        explained=task.names[target] if single else f"abnormal {task.names[target]}",
        probability=float(arrays["probability"][one]),
        tiles=[
            ("image and parts" if has_parts else "image", _data_uri(first)),
            *((method, _data_uri(overlay(image, relevance, TILE_PX))) for method, relevance in maps.items()),
        ],
    )


def _data_uri(pixels: UInt8[np.ndarray, "height width 3"]) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", quality=88)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
