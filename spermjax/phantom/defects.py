"""Defects: pure edits of a normal cell, each of which changes one part.

The ranges keep a distance from the strict criteria (WHO 2021), as those of normal
cells do on the other side: a defect may be subtle, but none is a matter of opinion.

| defect | changes | normal | defect |
|---|---|---|---|
| tapered | head | length/width 1.4 to 1.65 | 2.0 to 2.4 |
| pyriform | head | narrows to the neck by 0 to .12 | by .5 to .7 |
| amorphous | head | asymmetry to .035 | .26 to .34 |
| small_acrosome | acrosome | share of the head .46 to .64 | .12 to .26 |
| large_vacuole | vacuoles | none, or one of .17 to .21 um radius | one of .45 to .6 um |
| many_vacuoles | vacuoles | as above | three or four of .25 to .3 um |
| bent_midpiece | midpiece | bow to .15 um | .9 to 1.2 um |
| thick_midpiece | midpiece | width .52 to .68 um | 1.1 to 1.4 um |
| coiled_tail | tail | gently curved | coil of .9 to 1.2 um radius, 1.3 to 2 turns |
| short_tail | tail | 40 to 50 um | .8 to 1.6 um |

A defect leaves some of the part that decides, so that one can always ask whether an
explanation points there. The neck and both ends of the midpiece stay in place.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from spermjax.errors import ConfigError, nearest
from spermjax.phantom.anatomy import MAX_VACUOLES, Cell, random_sign, uniform
from spermjax.phantom.normal import sample_normal


class Defect(NamedTuple):
    """One way to depart from the normal.

    Attributes:
        label: the class that a cell with this defect belongs to.
        group: the field of `Cell` that is changed, the only one.
        edit: makes the defect, given a key and a cell.
    """

    label: str
    group: str
    edit: Callable[[Key[Array, ""], Cell], Cell]


def tapered(key: Key[Array, ""], cell: Cell) -> Cell:
    """A head that is long for its width."""
    return cell.replace(head=cell.head.replace(width_um=cell.head.length_um / uniform(key, 2.0, 2.4)))


def pyriform(key: Key[Array, ""], cell: Cell) -> Cell:
    """A pear: a head that narrows to the neck."""
    return cell.replace(head=cell.head.replace(taper=uniform(key, 0.5, 0.7)))


def amorphous(key: Key[Array, ""], cell: Cell) -> Cell:
    """A lopsided head with dents and bulges."""
    direction, size = jax.random.split(key)
    lobes = jax.random.normal(direction, (3,))
    lobes = uniform(size, 0.26, 0.34) * lobes / jnp.linalg.norm(lobes)
    return cell.replace(head=cell.head.replace(lobes=lobes))


def small_acrosome(key: Key[Array, ""], cell: Cell) -> Cell:
    """An acrosome that covers too little of the head."""
    return cell.replace(acrosome=cell.acrosome.replace(share=uniform(key, 0.12, 0.26)))


def large_vacuole(key: Key[Array, ""], cell: Cell) -> Cell:
    """One vacuole that is too large."""
    x, y, radius = jax.random.split(key, 3)
    return cell.replace(
        vacuoles=cell.vacuoles.replace(
            place=jnp.zeros((MAX_VACUOLES, 2)).at[0].set(jnp.stack([uniform(x, -0.3, 0.3), uniform(y, -0.5, 0.3)])),
            radius_um=jnp.zeros(MAX_VACUOLES).at[0].set(uniform(radius, 0.45, 0.6)),
        )
    )


def many_vacuoles(key: Key[Array, ""], cell: Cell) -> Cell:
    """Three or four vacuoles, none of them large, around the middle of the head."""
    start, jitter, radius, fourth = jax.random.split(key, 4)
    angle = uniform(start, 0.0, 2 * np.pi) + jnp.arange(MAX_VACUOLES) * np.float32(np.pi / 2)
    angle = angle + uniform(jitter, -0.3, 0.3, (MAX_VACUOLES,))
    present = jnp.arange(MAX_VACUOLES) < 3 + jax.random.bernoulli(fourth).astype(int)
    return cell.replace(
        vacuoles=cell.vacuoles.replace(
            place=0.5 * jnp.stack([jnp.sin(angle), -jnp.cos(angle)], -1) - jnp.array([0.0, 0.1]),
            radius_um=jnp.where(present, uniform(radius, 0.25, 0.3, (MAX_VACUOLES,)), 0.0),
        )
    )


def bent_midpiece(key: Key[Array, ""], cell: Cell) -> Cell:
    """A midpiece that leaves its line and comes back to it."""
    size, side = jax.random.split(key)
    return cell.replace(midpiece=cell.midpiece.replace(bow_um=uniform(size, 0.9, 1.2) * random_sign(side)))


def thick_midpiece(key: Key[Array, ""], cell: Cell) -> Cell:
    """A swollen midpiece."""
    return cell.replace(midpiece=cell.midpiece.replace(width_um=uniform(key, 1.1, 1.4)))


def coiled_tail(key: Key[Array, ""], cell: Cell) -> Cell:
    """A tail that is rolled up behind the midpiece."""
    size, turns, side = jax.random.split(key, 3)
    radius_um = uniform(size, 0.9, 1.2)
    return cell.replace(
        tail=cell.tail.replace(
            length_um=2 * np.float32(np.pi) * radius_um * uniform(turns, 1.3, 2.0),
            coil_per_um=random_sign(side) / radius_um,
        )
    )


def short_tail(key: Key[Array, ""], cell: Cell) -> Cell:
    """A stump of a tail."""
    return cell.replace(tail=cell.tail.replace(length_um=uniform(key, 0.8, 1.6)))


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


def sample(
    key: Key[Array, ""], label: Int[Array, ""], max_rotation_deg: float = 20.0, max_shift_um: float = 0.4
) -> Cell:
    """Draws one cell of a class: a normal one, with one of the class's defects if it has any.

    The normal cell under the defect depends on the key alone: label 0 gives the
    same cell without its defect. For use under `vmap` and `jit`.

    Args:
        key: decides everything but the class.
        label: index into `CLASSES`.
        max_rotation_deg: largest rotation either way.
        max_shift_um: largest shift either way, along each axis.
    """
    base_key, which_key, edit_key = jax.random.split(key, 3)
    cell = sample_normal(base_key, max_rotation_deg, max_shift_um)
    members = [[i for i, defect in enumerate(DEFECTS.values(), 1) if defect.label == name] or [0] for name in CLASSES]
    first = jnp.array([ids[0] for ids in members])[label]
    count = jnp.array([len(ids) for ids in members])[label]
    which = first + jax.random.randint(which_key, (), 0, count)
    edits = [lambda _, cell: cell, *(defect.edit for defect in DEFECTS.values())]
    return jax.lax.switch(which, edits, edit_key, cell)
