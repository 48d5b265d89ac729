"""Defects: pure edits of a normal cell, each of which changes one part.

The ranges keep a distance from the strict criteria (WHO 2021), as those of normal
cells do on the other side: a defect may be subtle, but none is a matter of opinion.

| defect | changes | normal | defect |
|---|---|---|---|
| tapered | head | length/width 1.4 to 1.55 | 2.2 to 2.6 |
| pyriform | head | narrows to the neck by 0 to .1 | by .6 to .8 |
| amorphous | head | asymmetry to .035 | .42 to .5 |
| small_acrosome | acrosome | share of the head .46 to .64 | .12 to .26 |
| large_vacuole | vacuoles | none, or one of .17 to .21 um radius | one of .6 to .75 um |
| many_vacuoles | vacuoles | as above | three or four of .32 to .38 um |
| bent_midpiece | midpiece | bow to .1 um | 1 to 1.3 um |
| thick_midpiece | midpiece | width .55 to .7 um | 1.2 to 1.5 um |
| coiled_tail | tail | gently curved | coil of 1.1 to 1.4 um radius, 1.3 to 2 turns |
| short_tail | tail | 40 to 50 um | .5 to 1 um |

A defect leaves some of the part that decides, so that one can always ask whether an
explanation points there. The neck and both ends of the midpiece stay in place.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from spermjax.errors import ConfigError, nearest
from spermjax.phantom.anatomy import MAX_VACUOLES, Cell, between, sign, unit_draws

DRAWS = 2 + MAX_VACUOLES  # As many as the most demanding edit takes.
Draws = Float[Array, "6"]


class Defect(NamedTuple):
    """One way to depart from the normal.

    Attributes:
        label: the class that a cell with this defect belongs to.
        group: the field of `Cell` that is changed, the only one.
        edit: makes the defect, given `DRAWS` numbers in [0, 1) that decide its degree,
            and a cell.
    """

    label: str
    group: str
    edit: Callable[[Draws, Cell], Cell]


def tapered(draws: Draws, cell: Cell) -> Cell:
    """A head that is long for its width."""
    return replace(cell, head=replace(cell.head, width_um=cell.head.length_um / between(draws[0], 2.2, 2.6)))


def pyriform(draws: Draws, cell: Cell) -> Cell:
    """A pear: a head that narrows to the neck."""
    return replace(cell, head=replace(cell.head, taper=between(draws[0], 0.6, 0.8)))


def amorphous(draws: Draws, cell: Cell) -> Cell:
    """A lopsided head with dents and bulges; the direction of its asymmetry is even on the sphere."""
    axial, turn = between(draws[0], -1.0, 1.0), 2 * np.float32(np.pi) * draws[1]
    around = jnp.sqrt(1.0 - jnp.square(axial))
    direction = jnp.stack([axial, around * jnp.sin(turn), around * jnp.cos(turn)])
    return replace(cell, head=replace(cell.head, lobes=between(draws[2], 0.42, 0.5) * direction))


def small_acrosome(draws: Draws, cell: Cell) -> Cell:
    """An acrosome that covers too little of the head."""
    return replace(cell, acrosome=replace(cell.acrosome, share=between(draws[0], 0.12, 0.26)))


def large_vacuole(draws: Draws, cell: Cell) -> Cell:
    """One vacuole that is too large."""
    place = jnp.stack([between(draws[0], -0.3, 0.3), between(draws[1], -0.5, 0.3)])
    return replace(
        cell,
        vacuoles=replace(
            cell.vacuoles,
            place=jnp.zeros((MAX_VACUOLES, 2)).at[0].set(place),
            radius_um=jnp.zeros(MAX_VACUOLES).at[0].set(between(draws[2], 0.6, 0.75)),
        ),
    )


def many_vacuoles(draws: Draws, cell: Cell) -> Cell:
    """Three or four vacuoles, none of them large, around the middle of the head."""
    angle = 2 * np.float32(np.pi) * (draws[0] + jnp.arange(MAX_VACUOLES) / MAX_VACUOLES)
    present = jnp.arange(MAX_VACUOLES) < jnp.where(draws[1] < 0.5, 3, 4)
    return replace(
        cell,
        vacuoles=replace(
            cell.vacuoles,
            place=0.5 * jnp.stack([jnp.sin(angle), -jnp.cos(angle)], -1) - jnp.array([0.0, 0.1]),
            radius_um=jnp.where(present, between(draws[2:], 0.32, 0.38), 0.0),
        ),
    )


def bent_midpiece(draws: Draws, cell: Cell) -> Cell:
    """A midpiece that leaves its line and comes back to it."""
    return replace(cell, midpiece=replace(cell.midpiece, bow_um=between(draws[0], 1.0, 1.3) * sign(draws[1])))


def thick_midpiece(draws: Draws, cell: Cell) -> Cell:
    """A swollen midpiece."""
    return replace(cell, midpiece=replace(cell.midpiece, width_um=between(draws[0], 1.2, 1.5)))


def coiled_tail(draws: Draws, cell: Cell) -> Cell:
    """A tail that is rolled up behind the midpiece."""
    radius_um = between(draws[0], 1.1, 1.4)
    return replace(
        cell,
        tail=replace(
            cell.tail,
            length_um=2 * np.float32(np.pi) * radius_um * between(draws[1], 1.3, 2.0),
            coil_per_um=sign(draws[2]) / radius_um,
        ),
    )


def short_tail(draws: Draws, cell: Cell) -> Cell:
    """A stump of a tail."""
    return replace(cell, tail=replace(cell.tail, length_um=between(draws[0], 0.5, 1.0)))


DEFECTS = {
    "tapered": Defect("head_defect", "head", tapered),
    "pyriform": Defect("head_defect", "head", pyriform),
    "amorphous": Defect("head_defect", "head", amorphous),
    "small_acrosome": Defect("acrosome_defect", "acrosome", small_acrosome),
    "large_vacuole": Defect("vacuolated", "vacuoles", large_vacuole),
    "many_vacuoles": Defect("vacuolated", "vacuoles", many_vacuoles),
    "bent_midpiece": Defect("midpiece_defect", "midpiece", bent_midpiece),
    "thick_midpiece": Defect("midpiece_defect", "midpiece", thick_midpiece),
    "coiled_tail": Defect("tail_defect", "tail", coiled_tail),
    "short_tail": Defect("tail_defect", "tail", short_tail),
}

DECIDING_PARTS = {
    "normal": (),
    "head_defect": ("acrosome", "nucleus"),
    "acrosome_defect": ("acrosome",),
    "vacuolated": ("vacuole",),
    "midpiece_defect": ("midpiece",),
    "tail_defect": ("tail",),
}

CLASSES = tuple(DECIDING_PARTS)


def find_defect(name: str) -> Defect:
    """The defect of this name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in DEFECTS:
        raise ConfigError(f"There is no defect {name!r}. {nearest(name, DEFECTS)}")
    return DEFECTS[name]


def afflict(key: Key[Array, ""], cell: Cell, label: Int[Array, ""]) -> Cell:
    """Gives a normal cell one of the defects of a class; label 0 leaves it normal.

    Args:
        key: decides which of the class's defects, and its degree.
        cell: a normal cell, without a leading axis; `jax.vmap` serves many.
        label: index into `CLASSES`.
    """
    members = [[i for i, defect in enumerate(DEFECTS.values(), 1) if defect.label == name] or [0] for name in CLASSES]
    first = jnp.array([ids[0] for ids in members])[label]
    count = jnp.array([len(ids) for ids in members])[label]
    choice, *degree = unit_draws(key, 1 + DRAWS)
    edits = [lambda _, cell: cell, *(defect.edit for defect in DEFECTS.values())]
    return jax.lax.switch(first + jnp.floor(choice * count).astype(int), edits, jnp.stack(degree), cell)
