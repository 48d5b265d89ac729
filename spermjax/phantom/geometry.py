"""Distances to the parts of a cell, in its own frame and in micrometres."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from spermjax.phantom.anatomy import Acrosome, Cytoplasm, Head, Midpiece, Tail, Vacuoles

Points = Float[Array, "*points 2"]
Distance = Float[Array, "*points"]

MIDPIECE_POINTS = 13
TAIL_POINTS = 41
_WAVELENGTH_UM = 14.0
_QUADRATURE = 40


def head_place(head: Head, points: Points) -> Points:
    """Lateral and axial place in half widths and half lengths from the head's middle, the front at -1.

    The lateral place is measured on the ellipse before it narrows to the neck.
    """
    half_length = head.length_um / 2
    return jnp.stack([points[..., 0] / (head.width_um / 2), points[..., 1] / half_length + 1.0], -1)


def head_distance(head: Head, points: Points) -> Distance:
    """Signed distance to the head's outline, negative inside; first order, so exact on the outline."""

    def level(point: Float[Array, "2"]) -> Float[Array, ""]:
        return _head_level(head, point)

    value, slope = jax.vmap(jax.value_and_grad(level))(points.reshape(-1, 2))
    return (value / jnp.linalg.norm(slope, axis=-1).clip(1e-3)).reshape(points.shape[:-1])


def acrosome_distance(head: Head, acrosome: Acrosome, points: Points) -> Distance:
    """Signed distance to the rear border of the cap along the head's axis, negative on the cap's side.

    The border lies where the cap covers the acrosome's share of the head's area,
    found as a quantile over a grid of points in the head.
    """
    x = jnp.linspace(-0.8, 0.8, _QUADRATURE) * head.width_um
    y = -jnp.linspace(0.0, 1.0, _QUADRATURE) * head.length_um
    grid = jnp.stack(jnp.meshgrid(x, y), -1).reshape(-1, 2)
    inside = _head_level(head, grid) < 0.0
    ordered = jnp.sort(jnp.where(inside, _depth(head, acrosome, grid), jnp.inf))
    border = ordered[jnp.floor(acrosome.share * inside.sum()).astype(int)]
    return (_depth(head, acrosome, points) - border) * head.length_um / 2


def vacuole_distance(head: Head, vacuoles: Vacuoles, points: Points) -> Distance:
    """Signed distance to the nearest vacuole, negative inside; infinite where there is none."""
    half = jnp.stack([head.width_um, head.length_um]) / 2
    centres = (vacuoles.place - jnp.array([0.0, 1.0])) * half
    gaps = [disc_distance(centre, radius, points) for centre, radius in zip(centres, vacuoles.radius_um, strict=True)]
    return functools.reduce(jnp.minimum, gaps)


def cytoplasm_distance(midpiece: Midpiece, cytoplasm: Cytoplasm, points: Points) -> Distance:
    """Signed distance to the droplet, negative inside; infinite where there is none."""
    along, across = _midpiece_axes(midpiece)
    centre = cytoplasm.along_um * along + cytoplasm.side_um * across
    return disc_distance(centre, cytoplasm.radius_um, points)


def midpiece_curve(midpiece: Midpiece) -> Float[Array, "curve 2"]:
    """The midpiece's centre line, from the neck to the tail."""
    along, across = _midpiece_axes(midpiece)
    s = jnp.linspace(0.0, 1.0, MIDPIECE_POINTS)[:, None]
    line = s * midpiece.length_um * along + midpiece.bow_um * jnp.sin(np.float32(np.pi) * s) * across
    return line + jnp.stack([midpiece.offset_um, jnp.zeros(())])


def tail_curve(midpiece: Midpiece, tail: Tail) -> Float[Array, "curve 2"]:
    """The tail's centre line, from the end of the midpiece."""
    s = jnp.linspace(0.0, 1.0, TAIL_POINTS) * tail.length_um
    step = tail.length_um / (TAIL_POINTS - 1)
    wave = tail.wave_per_um * jnp.sin(2 * np.float32(np.pi) / _WAVELENGTH_UM * s + tail.phase)
    curvature = tail.curvature_per_um + wave + tail.coil_per_um * (1.0 + 0.6 * s / tail.length_um)
    angle = midpiece.angle + jnp.cumsum(curvature * step) - curvature * step / 2
    steps = step * jnp.stack([-jnp.sin(angle), jnp.cos(angle)], -1)[:-1]
    start = midpiece_curve(midpiece)[-1]
    return start + jnp.concatenate([jnp.zeros((1, 2)), jnp.cumsum(steps, 0)])


def curve_distance(curve: Float[Array, "curve 2"], points: Points) -> Distance:
    """Distance to a chain of straight segments, never negative."""
    x, y = points[..., 0], points[..., 1]

    def nearer(squared: Distance, segment: tuple[Float[Array, "2"], Float[Array, "2"]]) -> tuple[Distance, None]:
        start, along = segment
        to_x, to_y = x - start[0], y - start[1]
        share = ((to_x * along[0] + to_y * along[1]) / jnp.square(along).sum().clip(1e-12)).clip(0.0, 1.0)
        gap = jnp.square(to_x - share * along[0]) + jnp.square(to_y - share * along[1])
        return jnp.minimum(squared, gap), None

    # A scan: one pass over the pixels for each segment vectorises, a reduction over segments does not.
    squared, _ = jax.lax.scan(nearer, jnp.full(x.shape, jnp.inf), (curve[:-1], jnp.diff(curve, axis=0)))
    return jnp.sqrt(squared)


def disc_distance(centre: Float[Array, "2"], radius: Float[Array, ""], points: Points) -> Distance:
    """Signed distance to a disc, negative inside; infinite for a radius of 0."""
    gap = jnp.hypot(points[..., 0] - centre[0], points[..., 1] - centre[1]) - radius
    return jnp.where(radius > 0.0, gap, jnp.inf)


def _head_level(head: Head, points: Points) -> Distance:
    """Below 0 inside the outline, 0 on it; a relative radius less one."""
    lateral, axial = jnp.moveaxis(head_place(head, points), -1, 0)
    rearward = jnp.clip((axial + 0.3) / 1.3, 0.0, 1.0)
    lateral = lateral / (1.0 - head.taper * rearward**2 * (3.0 - 2.0 * rearward))
    radius = jnp.sqrt(jnp.square(lateral) + jnp.square(axial) + 1e-6)
    sin, cos = lateral / radius, -axial / radius
    harmonics = jnp.stack([2 * sin * cos, 3 * sin - 4 * sin**3, 4 * sin * cos * (1 - 2 * sin**2)], -1)
    return radius - 1.0 - jnp.square(sin) * (harmonics * head.lobes).sum(-1)


def _depth(head: Head, acrosome: Acrosome, points: Points) -> Distance:
    """Axial place, less where the cap reaches further back."""
    lateral, axial = jnp.moveaxis(head_place(head, points), -1, 0)
    return axial - acrosome.bow * jnp.square(lateral)


def _midpiece_axes(midpiece: Midpiece) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
    """Unit vectors along the midpiece's line and across it."""
    sin, cos = jnp.sin(midpiece.angle), jnp.cos(midpiece.angle)
    return jnp.stack([-sin, cos]), jnp.stack([cos, sin])
