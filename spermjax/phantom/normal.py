"""Normal cells: every part well inside the strict criteria, every scene different."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

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
    random_sign,
    uniform,
)

# Two ways to stain, read off by eye from public images: a pink slide as Diff-Quik gives,
# and a pale one. A scene mixes them. Absorbances are those of red, green and blue.
_PINK = {
    "background": (0.91, 0.70, 0.80),
    "acrosome": (0.20, 0.55, 0.16),
    "nucleus": (0.95, 1.25, 0.55),
    "flagellum": (0.34, 0.40, 0.20),
    "cytoplasm": (0.14, 0.24, 0.10),
}
_PALE = {
    "background": (0.87, 0.88, 0.92),
    "acrosome": (0.30, 0.62, 0.12),
    "nucleus": (1.35, 1.90, 0.50),
    "flagellum": (0.42, 0.40, 0.14),
    "cytoplasm": (0.22, 0.26, 0.08),
}


def sample_normal(key: Key[Array, ""], max_rotation_deg: float = 20.0, max_shift_um: float = 0.4) -> Cell:
    """Draws one normal cell.

    Args:
        key: decides everything; each part is drawn with a key of its own.
        max_rotation_deg: largest rotation either way; 180 for a free one.
        max_shift_um: largest shift either way, along each axis.

    Returns:
        A cell without a defect. A quarter of them have one small vacuole, and a
        quarter a droplet of cytoplasm: both are allowed, and decide nothing.
    """
    head, acrosome, vacuoles, midpiece, tail, cytoplasm, pose, scene = jax.random.split(key, 8)
    return Cell(
        head=_head(head),
        acrosome=_acrosome(acrosome),
        vacuoles=_vacuoles(vacuoles),
        midpiece=_midpiece(midpiece),
        tail=_tail(tail),
        cytoplasm=_cytoplasm(cytoplasm),
        pose=_pose(pose, max_rotation_deg, max_shift_um),
        scene=_scene(scene),
    )


def _head(key: Key[Array, ""]) -> Head:
    length, ratio, taper, lobes = jax.random.split(key, 4)
    length_um = uniform(length, 3.8, 4.5)
    return Head(
        length_um=length_um,
        width_um=length_um / uniform(ratio, 1.4, 1.65),
        taper=uniform(taper, 0.0, 0.12),
        lobes=uniform(lobes, -0.02, 0.02, (3,)),
    )


def _acrosome(key: Key[Array, ""]) -> Acrosome:
    share, bow, softness = jax.random.split(key, 3)
    return Acrosome(
        share=uniform(share, 0.46, 0.64),
        bow=uniform(bow, 0.05, 0.3),
        softness_um=uniform(softness, 0.1, 0.25),
    )


def _vacuoles(key: Key[Array, ""]) -> Vacuoles:
    present, x, y, radius = jax.random.split(key, 4)
    place = jnp.zeros((MAX_VACUOLES, 2)).at[0].set(jnp.stack([uniform(x, -0.35, 0.35), uniform(y, -0.6, -0.2)]))
    small = jnp.where(jax.random.bernoulli(present, 0.25), uniform(radius, 0.17, 0.21), 0.0)
    return Vacuoles(place=place, radius_um=jnp.zeros(MAX_VACUOLES).at[0].set(small))


def _midpiece(key: Key[Array, ""]) -> Midpiece:
    length, width, angle, offset, bow = jax.random.split(key, 5)
    return Midpiece(
        length_um=uniform(length, 3.6, 4.4),
        width_um=uniform(width, 0.52, 0.68),
        angle=jnp.deg2rad(uniform(angle, -10.0, 10.0)),
        offset_um=uniform(offset, -0.1, 0.1),
        bow_um=uniform(bow, -0.15, 0.15),
    )


def _tail(key: Key[Array, ""]) -> Tail:
    length, width, curvature, wave, phase = jax.random.split(key, 5)
    return Tail(
        length_um=uniform(length, 40.0, 50.0),
        width_um=uniform(width, 0.34, 0.44),
        curvature_per_um=uniform(curvature, -0.05, 0.05),
        wave_per_um=uniform(wave, 0.0, 0.12),
        phase=uniform(phase, 0.0, 2 * np.pi),
        coil_per_um=jnp.zeros(()),
    )


def _cytoplasm(key: Key[Array, ""]) -> Cytoplasm:
    present, radius, along, side = jax.random.split(key, 4)
    return Cytoplasm(
        radius_um=jnp.where(jax.random.bernoulli(present, 0.25), uniform(radius, 0.35, 0.5), 0.0),
        along_um=uniform(along, 0.5, 1.2),
        side_um=0.35 * random_sign(side),
    )


def _pose(key: Key[Array, ""], max_rotation_deg: float, max_shift_um: float) -> Pose:
    rotation, shift = jax.random.split(key)
    return Pose(
        rotation=jnp.deg2rad(uniform(rotation, -max_rotation_deg, max_rotation_deg)),
        shift_um=uniform(shift, -max_shift_um, max_shift_um, (2,)),
    )


def _scene(key: Key[Array, ""]) -> Scene:
    mix, light, strength, gradient, halo, blur, noise, grain, place, radius, dirt, noise_key = jax.random.split(key, 12)
    pale = jax.random.beta(mix, 0.5, 0.5)
    colours = {name: (1.0 - pale) * jnp.array(_PINK[name]) + pale * jnp.array(_PALE[name]) for name in _PINK}
    background = colours.pop("background") * uniform(light, 0.92, 1.06)
    stain = uniform(strength, 0.8, 1.2)
    return Scene(
        background=background,
        **{name: stain * colour for name, colour in colours.items()},
        gradient_per_um=uniform(gradient, -0.008, 0.008, (2,)),
        halo=uniform(halo, 0.0, 0.12),
        blur_um=uniform(blur, 0.1, 0.18),
        noise=uniform(noise, 0.005, 0.02),
        grain=uniform(grain, 0.005, 0.03),
        debris_um=uniform(place, -8.0, 8.0, (DEBRIS, 2)),
        debris_radius_um=uniform(radius, 0.1, 0.5, (DEBRIS,)),
        debris_absorbance=uniform(dirt, -0.4, 0.5, (DEBRIS,)).clip(0.0),
        noise_key=noise_key,
    )
