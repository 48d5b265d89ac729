"""A stained cell in transmitted light, with the exact mask of each part.

Light follows Beer and Lambert: the slide's colour, dimmed by the absorbance of what
lies on it. Edges are those of a Gaussian point spread function, in closed form, so
that no convolution is needed and the image is antialiased at any pixel size. The
masks know neither blur nor noise: a pixel bears a part where its centre lies in it.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from spermjax.parts import PARTS
from spermjax.phantom import geometry
from spermjax.phantom.anatomy import Cell

SIZE = 64
PIXEL_UM = 0.22
NECK_UM = -0.8  # Height of the neck over the middle of the image: head and midpiece fill it evenly.
_VACUOLE_CLEARING = 0.85
_HALO_WIDTH_UM = 0.35


class Rendering(NamedTuple):
    """A picture of a cell.

    Attributes:
        image: intensities in [0, 1].
        parts: where each of `spermjax.parts.PARTS` is; vacuoles lie in the acrosome
            or the nucleus and belong to both.
    """

    image: Float[Array, "*cells height width 3"]
    parts: Bool[Array, "*cells height width parts"]


@partial(jax.jit, static_argnames="size")
def render(cells: Cell, size: int = SIZE, pixel_um: float = PIXEL_UM) -> Rendering:
    """Renders a batch of cells.

    Args:
        cells: with a leading axis.
        size: side of the image in pixels.
        pixel_um: side of a pixel; with `size`, the width of the field.

    Returns:
        One image and one set of masks for each cell.
    """
    return jax.vmap(lambda cell: render_one(cell, size, pixel_um))(cells)


def render_one(cell: Cell, size: int = SIZE, pixel_um: float = PIXEL_UM) -> Rendering:
    """Renders one cell; pure, for use under `jit`."""
    steps = (jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2) * pixel_um
    field = jnp.stack(jnp.meshgrid(steps, steps), -1)
    distance = _distances(cell, field)
    return Rendering(image=_image(cell, field, distance, pixel_um), parts=_masks(distance))


def _distances(cell: Cell, field: Float[Array, "height width 2"]) -> dict[str, Float[Array, "height width"]]:
    """Signed distance of each pixel's centre to each part, in micrometres.

    The acrosome's is the distance to its rear border, whether in the head or not.
    """
    sin, cos = jnp.sin(cell.pose.rotation), jnp.cos(cell.pose.rotation)
    upright = field @ jnp.array([[cos, -sin], [sin, cos]])
    points = upright - cell.pose.shift_um - jnp.array([0.0, NECK_UM])
    midpiece = geometry.midpiece_curve(cell.midpiece)
    tail = geometry.tail_curve(cell.midpiece, cell.tail)
    return {
        "head": geometry.head_distance(cell.head, points),
        "acrosome": geometry.acrosome_distance(cell.head, cell.acrosome, points),
        "vacuole": geometry.vacuole_distance(cell.head, cell.vacuoles, points),
        "midpiece": geometry.curve_distance(midpiece, points) - cell.midpiece.width_um / 2,
        "tail": geometry.curve_distance(tail, points) - cell.tail.width_um / 2,
        "residual_cytoplasm": geometry.cytoplasm_distance(cell.midpiece, cell.cytoplasm, points),
    }


def _masks(distance: dict[str, Float[Array, "height width"]]) -> Bool[Array, "height width parts"]:
    inside = {name: values < 0.0 for name, values in distance.items()}
    masks = {
        "acrosome": inside["head"] & inside["acrosome"],
        "nucleus": inside["head"] & ~inside["acrosome"],
        "vacuole": inside["head"] & inside["vacuole"],
        "midpiece": inside["midpiece"] & ~inside["head"],
        "tail": inside["tail"] & ~inside["midpiece"] & ~inside["head"],
        "residual_cytoplasm": inside["residual_cytoplasm"] & ~inside["head"],
    }
    return jnp.stack([masks[part] for part in PARTS], -1)


def _image(
    cell: Cell,
    field: Float[Array, "height width 2"],
    distance: dict[str, Float[Array, "height width"]],
    pixel_um: float,
) -> Float[Array, "height width 3"]:
    scene = cell.scene
    blur = jnp.hypot(scene.blur_um, 0.3 * pixel_um)  # A pixel is a box of this standard deviation.

    def solid(gap: Float[Array, "height width"], softness: Float[Array, ""] = blur) -> Float[Array, "height width 1"]:
        """A half-plane's coverage after the blur."""
        return _normal_cdf(-gap / softness)[..., None]

    def band(gap: Float[Array, "height width"], width_um: Float[Array, ""]) -> Float[Array, "height width 1"]:
        """A strip's coverage after the blur, which a thin strip does not survive whole."""
        return solid(gap) - solid(gap + width_um)

    head = solid(distance["head"])
    cap = solid(distance["acrosome"], jnp.hypot(blur, cell.acrosome.softness_um))
    vacuole = solid(distance["vacuole"])
    stain = (cap * scene.acrosome + (1.0 - cap) * scene.nucleus) * (1.0 - _VACUOLE_CLEARING * vacuole)
    flagellum = jnp.maximum(
        band(distance["midpiece"], cell.midpiece.width_um), band(distance["tail"], cell.tail.width_um)
    )
    droplet = solid(distance["residual_cytoplasm"])
    debris = zip(scene.debris_um, scene.debris_radius_um, scene.debris_absorbance, strict=True)
    dirt = sum(strength * solid(geometry.disc_distance(centre, radius, field)) for centre, radius, strength in debris)
    beside = flagellum * scene.flagellum + droplet * scene.cytoplasm + dirt * scene.flagellum
    absorbance = head * stain + (1.0 - head) * beside

    halo = scene.halo * jnp.exp(-jnp.square(distance["head"] / _HALO_WIDTH_UM))[..., None] * (1.0 - head)
    light = scene.background * (1.0 + field @ scene.gradient_per_um)[..., None] * (1.0 + halo)
    image = light * jnp.exp(-absorbance) + _unevenness(cell, field.shape[:2])
    return image.clip(0.0, 1.0)


def _normal_cdf(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return 0.5 + 0.5 * jax.lax.erf(x * np.float32(np.sqrt(0.5)))


def _unevenness(cell: Cell, shape: tuple[int, ...]) -> Float[Array, "height width 3"]:
    """Noise of the camera, and a slow unevenness of the slide."""
    pixels = shape[0] * shape[1] * 3
    draws = jax.random.normal(cell.scene.noise_key, (pixels + 64,))
    coarse = jax.image.resize(draws[pixels:].reshape(8, 8, 1), (*shape, 1), "bilinear")
    return cell.scene.noise * draws[:pixels].reshape(*shape, 3) + cell.scene.grain * coarse
