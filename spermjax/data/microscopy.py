"""What happens to a picture on its way through stain, optics and file: RandAugment for microscopy.

Each operation is a function of an image in [0, 1] and of numbers; none moves a pixel,
so masks and points stay where they are.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from spermjax.data.blur import gaussian_blur

Image = Float[Array, "height width 3"]

NAMES = ("stain", "debris", "illumination", "defocus", "jpeg")
"""The operations, in the order in which a picture meets them."""

_STAIN_SHARED, _STAIN_OWN = 0.5, 0.25  # Largest logarithm of the density's factor, for all colours and for each.
_SPOTS, _SPOT_RADIUS, _SPOT_DENSITY = 3, 0.04, 1.5  # Number, largest radius as a share of the side, optical density.
_SLOPE = 0.4  # Largest change of the light from the middle to the edge.
_DEFOCUS = 0.02  # Largest standard deviation, as a share of the side.
_WORST_QUALITY = 20.0

# ITU-T Recommendation T.81 (1992), annex K, tables K.1 and K.2.
_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
_TABLE = np.stack([_LUMINANCE, _CHROMINANCE, _CHROMINANCE], axis=-1).reshape(8, 8, 3).astype(np.float32)
_FREQUENCY = np.arange(8)[:, None]
_DCT = np.sqrt(np.where(_FREQUENCY == 0, 1, 2) / 8) * np.cos(np.pi * _FREQUENCY * (2 * np.arange(8) + 1) / 16)
_DCT = _DCT.astype(np.float32)
# ITU-R BT.601, full range, as JFIF takes it.
_TO_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_TO_RGB = np.linalg.inv(_TO_YCBCR).astype(np.float32)


def randaugment(key: Key[Array, ""], image: Image, count: int, magnitude: float) -> Image:
    """Some of the operations, chosen at random (RandAugment, Cubuk et al. 2020).

    Apart from the paper, an image meets no operation twice, in the order of `NAMES`, and
    the strength of each is drawn evenly up to the magnitude.

    Args:
        key: of the image.
        image: intensities in [0, 1].
        count: how many operations.
        magnitude: of the strongest change, from 0 for none to 1.

    Returns:
        Intensities in [0, 1].
    """
    choice_key, *keys = jax.random.split(key, 1 + len(NAMES))
    draw = jax.random.uniform(choice_key, (len(NAMES),))
    chosen = (draw < draw[:, None]).sum(1) < count
    for i, operation in enumerate((_random_stain, _random_debris, _random_light, _random_defocus, _random_jpeg)):
        changed = operation(keys[i], image, magnitude).clip(0.0, 1.0)
        image = jnp.where(chosen[i], changed, image)
    return image


def stain(image: Image, density: Float[Array, "3"]) -> Image:
    """Multiplies the optical density, -log of the transmittance, of each colour (law of Beer and Lambert).

    Args:
        image: transmittance; 1 is the empty field, and stays.
        density: factor for each colour; 1 leaves it as it is.
    """
    return image**density


def debris(
    image: Image, centre: Float[Array, "spots 2"], radius: Float[Array, "spots"], density: Float[Array, "spots"]
) -> Image:
    """Lays grey discs over the picture, with an edge of one pixel.

    Args:
        image: transmittance.
        centre: x and y of each disc, in pixels.
        radius: of each disc, in pixels.
        density: optical density of each disc.
    """
    y, x = jnp.mgrid[: image.shape[0], : image.shape[1]]
    distance = jnp.hypot(x - centre[:, 0, None, None], y - centre[:, 1, None, None])
    coverage = (radius[:, None, None] + 0.5 - distance).clip(0.0, 1.0)
    return image * jnp.exp(-(density[:, None, None] * coverage).sum(0))[..., None]


def illumination(image: Image, slope: Float[Array, "2"]) -> Image:
    """Light that falls off evenly over the field.

    Args:
        image: intensities.
        slope: relative change from the middle to the right and to the lower edge.
    """
    height, width = image.shape[:2]
    x, y = jnp.linspace(-1.0, 1.0, width), jnp.linspace(-1.0, 1.0, height)
    return image * (1.0 + slope[0] * x + slope[1] * y[:, None])[..., None]


def jpeg(image: Image, quality: Float[Array, ""]) -> Image:
    """What JPEG leaves of a picture: 8 x 8 cosine transforms, quantised; colour is not subsampled.

    Pixels and components are rounded to whole levels, as in a file.

    Args:
        image: intensities in [0, 1].
        quality: 1 to 100, in the scale of the Independent JPEG Group's library.
    """
    height, width = image.shape[:2]
    padding = ((0, -height % 8), (0, -width % 8), (0, 0))
    offset = np.array([128.0, 0.0, 0.0], np.float32)
    levels = jnp.pad(jnp.round(jnp.round(255.0 * image) @ _TO_YCBCR.T) - offset, padding, mode="edge")
    blocks = levels.reshape(levels.shape[0] // 8, 8, levels.shape[1] // 8, 8, 3)
    percent = jnp.where(quality < 50.0, 5000.0 / quality, 200.0 - 2.0 * quality)
    table = jnp.floor((_TABLE * percent + 50.0) / 100.0).clip(1.0, 255.0)[:, None]
    coefficients = jnp.einsum("ui,hiwjc,vj->huwvc", _DCT, blocks, _DCT)
    coefficients = table * jnp.round(coefficients / table)
    levels = jnp.einsum("ui,huwvc,vj->hiwjc", _DCT, coefficients, _DCT).reshape(levels.shape)[:height, :width]
    return jnp.round(levels + offset) @ _TO_RGB.T / 255.0


def _random_stain(key: Key[Array, ""], image: Image, magnitude: float) -> Image:
    shared, *own = jax.random.uniform(key, (4,), minval=-1.0)
    return stain(image, jnp.exp(magnitude * (_STAIN_SHARED * shared + _STAIN_OWN * jnp.stack(own))))


def _random_debris(key: Key[Array, ""], image: Image, magnitude: float) -> Image:
    x, y, radius, density = jax.random.uniform(key, (4, _SPOTS))
    height, width = image.shape[:2]
    centre = jnp.stack([x * (width - 1), y * (height - 1)], axis=-1)
    return debris(image, centre, _SPOT_RADIUS * width * radius, magnitude * _SPOT_DENSITY * density)


def _random_light(key: Key[Array, ""], image: Image, magnitude: float) -> Image:
    strength, turn = jax.random.uniform(key, (2,))
    direction = 2.0 * jnp.pi * turn
    return illumination(image, magnitude * _SLOPE * strength * jnp.stack([jnp.cos(direction), jnp.sin(direction)]))


def _random_defocus(key: Key[Array, ""], image: Image, magnitude: float) -> Image:
    largest = magnitude * _DEFOCUS * image.shape[1]
    return gaussian_blur(image, largest * jax.random.uniform(key), largest)


def _random_jpeg(key: Key[Array, ""], image: Image, magnitude: float) -> Image:
    return jpeg(image, 100.0 - magnitude * (100.0 - _WORST_QUALITY) * jax.random.uniform(key))
