"""A user's own images, in the form of a split."""

from collections.abc import Sequence

import numpy as np

from spermjax.data.examples import Examples
from spermjax.data.task import Task


def as_examples(task: Task, images: np.ndarray, names: Sequence[str]) -> Examples:
    """Images without labels or masks, as examples.

    Args:
        task: fixes the shape of the labels, all of which are missing (-1).
        images: uint8, of the size that the model takes.
        names: their ids.
    """
    count = len(images)
    shape = (count,) if task.kind == "single_label" else (count, task.num_outputs)
    return Examples(
        image=images,
        parts=np.zeros(images.shape[:3], np.uint8),
        has_parts=np.zeros(count, bool),
        label=np.full(shape, -1, np.int32),
        id=tuple(names),
        group=tuple(names),
    )
