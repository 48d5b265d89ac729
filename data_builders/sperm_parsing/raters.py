"""Which cell of one rater is which cell of another: they number the cells of a field each in their own way."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from scipy.optimize import linear_sum_assignment

from spermjax.clinic.masks import mask_of
from spermjax.parts import HEAD

SAME_CELL_IOU = 0.5
"""Heads of one cell overlap more than this; of two neighbours, less."""


def match(
    reference: Mapping[int, UInt8[np.ndarray, "height width"]], rater: Mapping[int, UInt8[np.ndarray, "height width"]]
) -> dict[int, int]:
    """Pairs the cells of two raters so that the summed overlap of their heads is greatest.

    Args:
        reference: part bits of each cell of one rater, over the whole field.
        rater: the same of another rater.

    Returns:
        For each cell of the reference that the rater drew too, the rater's number of
        it: those whose heads' intersection over union exceeds `SAME_CELL_IOU`.
    """
    heads = [[np.flatnonzero(mask_of(bits, *HEAD)) for bits in cells.values()] for cells in (reference, rater)]
    overlap = np.array([[_iou(ours, theirs) for theirs in heads[1]] for ours in heads[0]]).reshape(
        len(reference), len(rater)
    )
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    ours, theirs = list(reference), list(rater)
    return {
        ours[row]: theirs[column]
        for row, column in zip(rows, columns, strict=True)
        if overlap[row, column] > SAME_CELL_IOU
    }


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two sorted sets of pixels; 0 where both are empty."""
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / max(len(first) + len(second) - common, 1)
