"""The cells of the data set `sperm_phantom`, by their ids: each can be drawn again, with or without its defect."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from spermjax.errors import DataError
from spermjax.phantom.anatomy import Cell
from spermjax.phantom.defects import CLASSES, afflict
from spermjax.phantom.normal import sample_normal

SPLITS = {"train": 3000, "validation": 600, "test": 600}
_SEED = 0x5EED


class Population(NamedTuple):
    """Cells with a leading axis.

    Attributes:
        cells: the cells as they stand in the data set.
        healthy: the same cells without their defects; equal to `cells` for normal ones.
        label: index into `spermjax.phantom.defects.CLASSES`; all classes alike often.
    """

    cells: Cell
    healthy: Cell
    label: Int[Array, "cells"]


def ids(split: str) -> list[str]:
    """The ids of a split, in order."""
    return [f"{split}/{index:05d}" for index in range(SPLITS[split])]


def population(ids: Sequence[str], max_rotation_deg: float = 20.0) -> Population:
    """The cells of these ids.

    Args:
        ids: as in the data set: split, slash and number.
        max_rotation_deg: that of the data set's configuration.

    Raises:
        DataError: for an id that no cell has.
    """
    places = np.array([_place(identity) for identity in ids], np.uint32).reshape(-1, 2)
    return _draw(places, max_rotation_deg)


def _place(identity: str) -> tuple[int, int]:
    split, _, number = identity.partition("/")
    if split not in SPLITS or not number.isdecimal() or int(number) >= SPLITS[split]:
        known = ", ".join(f"{name}/00000 to {name}/{size - 1:05d}" for name, size in SPLITS.items())
        raise DataError(f"There is no phantom cell {identity!r}. There are {known}.")
    return list(SPLITS).index(split), int(number)


@partial(jax.jit, static_argnames="max_rotation_deg")
def _draw(places: Int[Array, "cells 2"], max_rotation_deg: float) -> Population:
    def draw(place: Int[Array, "2"]) -> Population:
        # Threefry is a keyed hash of 64 bits, so a split's seed and a number are a good key of their own.
        key = jax.random.wrap_key_data(place + jnp.array([_SEED, 0], jnp.uint32), impl="threefry2x32")
        cell_key, defect_key = jax.random.split(key)
        label = (place[1] % len(CLASSES)).astype(jnp.int32)
        healthy = sample_normal(cell_key, max_rotation_deg)
        return Population(afflict(defect_key, healthy, label), healthy, label)

    return jax.vmap(draw)(places)
