"""Normal cells: every part well inside the strict criteria, every scene different."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from spermjax.phantom.anatomy import (
    DEBRIS,
    MAX_VACUOLES,
    Acrosome,
    Cell,
    Cytoplasm,
    Head,
    Midpiece,
    Pose,
    Scene,
    Tail,
    Vacuoles,
    between,
    sign,
    unit_draws,
)

# Two ways to stain, read off by eye from public images: a pink slide as Diff-Quik gives,
# and a pale one. A scene mixes them. Absorbances are those of red, green and blue.
_PINK = {
    "background": (0.91, 0.70, 0.80),
    "acrosome": (0.20, 0.55, 0.16),
    "nucleus": (0.95, 1.25, 0.55),
    "flagellum": (0.50, 0.60, 0.30),
    "cytoplasm": (0.14, 0.24, 0.10),
}
_PALE = {
    "background": (0.87, 0.88, 0.92),
    "acrosome": (0.30, 0.62, 0.12),
    "nucleus": (1.35, 1.90, 0.50),
    "flagellum": (0.62, 0.58, 0.22),
    "cytoplasm": (0.22, 0.26, 0.08),
}

# How many draws from [0, 1) decide each group of a cell, and all of them, as running sums.
# They come from one call: each call of the random generator takes long to compile.
_DRAWS = np.cumsum([6, 3, 4, 5, 5, 4, 3, 9 + 4 * DEBRIS]).tolist()


def sample_normal(key: Key[Array, ""], max_rotation_deg: float = 20.0, max_shift_um: float = 0.4) -> Cell:
    """Draws one normal cell.

    Args:
        key: decides everything.
        max_rotation_deg: largest rotation either way; 180 for a free one.
        max_shift_um: largest shift either way, along each axis.

    Returns:
        A cell without a defect. A quarter of them have one small vacuole, and a
        quarter a droplet of cytoplasm: both are allowed, and decide nothing.
    """
    draws_key, noise_key = jax.random.split(key)
    head, acrosome, vacuoles, midpiece, tail, cytoplasm, pose, scene = jnp.split(
        unit_draws(draws_key, _DRAWS[-1]), _DRAWS[:-1]
    )
    return Cell(
        head=_head(head),
        acrosome=_acrosome(acrosome),
        vacuoles=_vacuoles(vacuoles),
        midpiece=_midpiece(midpiece),
        tail=_tail(tail),
        cytoplasm=_cytoplasm(cytoplasm),
        pose=_pose(pose, max_rotation_deg, max_shift_um),
        scene=_scene(scene, noise_key),
    )


def _head(draws: Float[Array, "6"]) -> Head:
    length_um = between(draws[0], 3.8, 4.5)
    return Head(
        length_um=length_um,
        width_um=length_um / between(draws[1], 1.4, 1.55),
        taper=between(draws[2], 0.0, 0.1),
        lobes=between(draws[3:], -0.02, 0.02),
    )


def _acrosome(draws: Float[Array, "3"]) -> Acrosome:
    share, bow, softness = draws
    return Acrosome(
        share=between(share, 0.46, 0.64),
        bow=between(bow, 0.05, 0.3),
        softness_um=between(softness, 0.1, 0.25),
    )


def _vacuoles(draws: Float[Array, "4"]) -> Vacuoles:
    present, lateral, axial, radius = draws
    place = jnp.stack([between(lateral, -0.35, 0.35), between(axial, -0.6, -0.2)])
    small = jnp.where(present < 0.25, between(radius, 0.17, 0.21), 0.0)
    return Vacuoles(
        place=jnp.zeros((MAX_VACUOLES, 2)).at[0].set(place), radius_um=jnp.zeros(MAX_VACUOLES).at[0].set(small)
    )


def _midpiece(draws: Float[Array, "5"]) -> Midpiece:
    length, width, angle, offset, bow = draws
    return Midpiece(
        length_um=between(length, 3.6, 4.4),
        width_um=between(width, 0.55, 0.7),
        angle=jnp.deg2rad(between(angle, -10.0, 10.0)),
        offset_um=between(offset, -0.1, 0.1),
        bow_um=between(bow, -0.1, 0.1),
    )


def _tail(draws: Float[Array, "5"]) -> Tail:
    length, width, curvature, wave, phase = draws
    return Tail(
        length_um=between(length, 40.0, 50.0),
        width_um=between(width, 0.42, 0.5),
        curvature_per_um=between(curvature, -0.05, 0.05),
        wave_per_um=between(wave, 0.0, 0.12),
        phase=between(phase, 0.0, 2 * np.pi),
        coil_per_um=jnp.zeros(()),
    )


def _cytoplasm(draws: Float[Array, "4"]) -> Cytoplasm:
    present, radius, along, side = draws
    return Cytoplasm(
        radius_um=jnp.where(present < 0.25, between(radius, 0.3, 0.4), 0.0),
        along_um=between(along, 0.5, 1.2),
        side_um=0.35 * sign(side),
    )


def _pose(draws: Float[Array, "3"], max_rotation_deg: float, max_shift_um: float) -> Pose:
    return Pose(
        rotation=jnp.deg2rad(between(draws[0], -max_rotation_deg, max_rotation_deg)),
        shift_um=between(draws[1:], -max_shift_um, max_shift_um),
    )


def _scene(draws: Float[Array, "21"], noise_key: Key[Array, ""]) -> Scene:
    mix, light, strength, halo, blur, noise, grain = draws[:7]
    debris = draws[9:].reshape(4, DEBRIS)
    pale = jnp.square(jnp.sin(np.float32(np.pi / 2) * mix))  # Mostly near one stain or the other.
    colours = {name: (1.0 - pale) * jnp.array(_PINK[name]) + pale * jnp.array(_PALE[name]) for name in _PINK}
    background = colours.pop("background") * between(light, 0.92, 1.06)
    return Scene(
        background=background,
        **{name: between(strength, 0.8, 1.2) * colour for name, colour in colours.items()},
        gradient_per_um=between(draws[7:9], -0.008, 0.008),
        halo=between(halo, 0.0, 0.12),
        blur_um=between(blur, 0.1, 0.18),
        noise=between(noise, 0.005, 0.015),
        grain=between(grain, 0.004, 0.015),
        debris_um=between(debris[:2].T, -8.0, 8.0),
        debris_radius_um=between(debris[2], 0.1, 0.5),
        debris_absorbance=between(debris[3], -0.4, 0.5).clip(0.0),
        noise_key=noise_key,
    )
