"""Changes of one part of a cell, with everything else in the picture kept.

What a picture shows of a defect, and so what an explanation of it should point at,
is what changes when that defect alone is added or taken away.
"""

from dataclasses import replace

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from spermjax.errors import ConfigError, nearest
from spermjax.phantom.anatomy import Cell, unit_draws
from spermjax.phantom.defects import DEFECTS, DRAWS, find_defect
from spermjax.phantom.render import PIXEL_UM, SIZE, render

GROUPS = tuple(dict.fromkeys(defect.group for defect in DEFECTS.values()))


def add_defect(key: Key[Array, ""], cell: Cell, defect: str) -> Cell:
    """The same cell in the same picture with one part made abnormal.

    Args:
        key: decides the degree of the defect.
        cell: without a leading axis; `jax.vmap` over keys and cells serves many.
        defect: one of `spermjax.phantom.defects.DEFECTS`.

    Raises:
        ConfigError: for a defect that is not known.
    """
    return find_defect(defect).edit(unit_draws(key, DRAWS), cell)


def exchange(cell: Cell, donor: Cell, group: str) -> Cell:
    """The cell with one part taken from another.

    With a cell's healthy twin (`spermjax.phantom.population`) as donor, this takes
    the defect of that part away.

    Args:
        cell: is changed.
        donor: gives the part; with the same leading axes.
        group: one of `GROUPS`.

    Raises:
        ConfigError: for a group that no defect changes.
    """
    if group not in GROUPS:
        raise ConfigError(f"There is no part {group!r} to exchange. {nearest(group, GROUPS)}")
    return replace(cell, **{group: getattr(donor, group)})


def visible_change(
    before: Cell, after: Cell, size: int = SIZE, pixel_um: float = PIXEL_UM
) -> Float[Array, "cells height width"]:
    """How much each pixel changes between two cells, as the mean over colours of the absolute difference.

    Both are rendered with their own noise, which an intervention keeps and which
    therefore cancels.

    Args:
        before: with a leading axis.
        after: with the same leading axis.
        size: side of the image in pixels.
        pixel_um: side of a pixel.
    """
    difference = render(after, size, pixel_um).image - render(before, size, pixel_um).image
    return jnp.abs(difference).mean(-1)
