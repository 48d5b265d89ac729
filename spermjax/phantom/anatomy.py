"""The anatomy of one sperm cell, in micrometres, and the variation of normal ones.

A `Cell` is a pytree of scalars and small arrays, so that sampling and rendering run
under `jit` and `vmap`. Each part has its own group of values: an edit of one group
leaves every other part where and as it was.

The cell's frame has its origin in the neck, where head and midpiece meet; x points
right and y to the rear, so the head of an unrotated cell points up. Sizes follow the
strict criteria (WHO 2021, 6th edition; Menkveld et al. 1990) with a margin, so that
no normal cell is borderline.
"""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

MAX_VACUOLES = 4
DEBRIS = 3


@flax.struct.dataclass
class Head:
    """Outline of the head.

    Attributes:
        length_um: from the front to the neck.
        width_um: greatest width of the ellipse that the outline departs from.
        taper: share of the width that is lost toward the neck.
        lobes: asymmetry, as coefficients of sin 2a, sin 3a and sin 4a in the
            relative radius at angle a from the front.
    """

    length_um: Float[Array, ""]
    width_um: Float[Array, ""]
    taper: Float[Array, ""]
    lobes: Float[Array, "3"]


@flax.struct.dataclass
class Acrosome:
    """The cap over the front of the head.

    Attributes:
        share: of the head's area.
        bow: how far, in half head lengths, the cap reaches further back at the
            sides than in the middle.
        softness_um: standard deviation of the transition of the stain to the nucleus.
    """

    share: Float[Array, ""]
    bow: Float[Array, ""]
    softness_um: Float[Array, ""]


@flax.struct.dataclass
class Vacuoles:
    """Unstained discs in the head.

    Attributes:
        place: of the centres, lateral and axial, in half widths and half lengths
            from the head's middle.
        radius_um: 0 for a vacuole that is not there.
    """

    place: Float[Array, "vacuoles 2"]
    radius_um: Float[Array, "vacuoles"]


@flax.struct.dataclass
class Midpiece:
    """The thick beginning of the flagellum.

    Attributes:
        length_um: of the straight line from the neck to the tail.
        width_um: thickness.
        angle: of that line against the head's axis, in radians.
        offset_um: of its insertion beside the head's axis.
        bow_um: greatest departure from the straight line.
    """

    length_um: Float[Array, ""]
    width_um: Float[Array, ""]
    angle: Float[Array, ""]
    offset_um: Float[Array, ""]
    bow_um: Float[Array, ""]


@flax.struct.dataclass
class Tail:
    """The principal piece: a curve that starts in line with the midpiece.

    Attributes:
        length_um: along the curve.
        width_um: thickness.
        curvature_per_um: constant part of the curvature.
        wave_per_um: amplitude of its periodic part.
        phase: of the periodic part at the midpiece, in radians.
        coil_per_um: curvature of a coil, which tightens toward the tail's end.
    """

    length_um: Float[Array, ""]
    width_um: Float[Array, ""]
    curvature_per_um: Float[Array, ""]
    wave_per_um: Float[Array, ""]
    phase: Float[Array, ""]
    coil_per_um: Float[Array, ""]


@flax.struct.dataclass
class Cytoplasm:
    """A droplet of residual cytoplasm at the midpiece.

    Attributes:
        radius_um: 0 where there is none.
        along_um: distance of its centre from the neck.
        side_um: distance of its centre from the midpiece's line, signed.
    """

    radius_um: Float[Array, ""]
    along_um: Float[Array, ""]
    side_um: Float[Array, ""]


@flax.struct.dataclass
class Pose:
    """How the cell lies.

    Attributes:
        rotation: clockwise, in radians, about the middle of the image.
        shift_um: of the cell from the middle, before the rotation.
    """

    rotation: Float[Array, ""]
    shift_um: Float[Array, "2"]


@flax.struct.dataclass
class Scene:
    """Stain, light, optics and surroundings: nothing that a diagnosis may rest on.

    Attributes:
        background: colour of the empty slide.
        acrosome, nucleus, flagellum, cytoplasm: absorbance of the stained part, by colour.
        gradient_per_um: relative change of the light across the image.
        halo: relative brightness of the rim of light around the head.
        blur_um: standard deviation of the optics' point spread function.
        noise: standard deviation of the camera's noise.
        grain: standard deviation of the uneven background.
        debris_um: centres of stained dirt, in the image's frame.
        debris_radius_um: its radius.
        debris_absorbance: its strength.
        noise_key: the key that noise and background are drawn with.
    """

    background: Float[Array, "3"]
    acrosome: Float[Array, "3"]
    nucleus: Float[Array, "3"]
    flagellum: Float[Array, "3"]
    cytoplasm: Float[Array, "3"]
    gradient_per_um: Float[Array, "2"]
    halo: Float[Array, ""]
    blur_um: Float[Array, ""]
    noise: Float[Array, ""]
    grain: Float[Array, ""]
    debris_um: Float[Array, "debris 2"]
    debris_radius_um: Float[Array, "debris"]
    debris_absorbance: Float[Array, "debris"]
    noise_key: Key[Array, ""]


@flax.struct.dataclass
class Cell:
    """One cell and the picture it is taken in."""

    head: Head
    acrosome: Acrosome
    vacuoles: Vacuoles
    midpiece: Midpiece
    tail: Tail
    cytoplasm: Cytoplasm
    pose: Pose
    scene: Scene


def unit_draws(key: Key[Array, ""], count: int) -> Float[Array, "{count}"]:
    """Numbers drawn evenly from [0, 1)."""
    return jax.random.uniform(key, (count,), jnp.float32)


def between(draw: Float[Array, "..."], low: float, high: float) -> Float[Array, "..."]:
    """A draw from [0, 1) brought to [low, high)."""
    return low + (high - low) * draw


def sign(draw: Float[Array, ""]) -> Float[Array, ""]:
    """-1 or 1 with a half's chance each, from a draw."""
    return jnp.where(draw < 0.5, -1.0, 1.0)
