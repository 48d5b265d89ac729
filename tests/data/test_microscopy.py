"""The microscope's changes, each against another library or the law that it follows."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import exposure

from spermjax.data import microscopy
from spermjax.data.microscopy import NAMES, debris, illumination, jpeg, randaugment, stain


def picture(height: int = 40, width: int = 52) -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(height, width, 3)), (2, 2, 0))
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


def through_pillow(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(np.round(255 * image).astype(np.uint8)).save(buffer, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(buffer)) / 255


@pytest.mark.parametrize("quality", [10, 35, 75, 95])
def test_jpeg_is_pillow_s(quality):
    """To a mean of two thirds of a level: Pillow's transform works on integers."""
    image = picture()
    ours = np.asarray(jax.jit(jpeg)(image, jnp.float32(quality))).clip(0, 1)
    witness = through_pillow(image, quality)
    assert np.abs(ours - witness).mean() < 0.67 / 255
    assert np.abs(ours - witness).mean() < 0.4 * np.abs(image - witness).mean()


def test_stain_is_scikit_image_s_gamma_and_multiplies_optical_density():
    image, density = picture(), np.array([0.6, 1.0, 1.7], np.float32)
    changed = np.asarray(stain(jnp.asarray(image), jnp.asarray(density)))
    for colour in range(3):
        witness = exposure.adjust_gamma(image[..., colour], density[colour])
        np.testing.assert_allclose(changed[..., colour], witness, atol=1e-6)
    seen = (image > 0.01) & (image < 0.99)
    factor = np.broadcast_to(density, image.shape)[seen]
    np.testing.assert_allclose(np.log(changed[seen]), factor * np.log(image[seen]), rtol=1e-3)
    assert (stain(jnp.ones((2, 2, 3)), jnp.asarray(density)) == 1).all()  # The empty field stays.


def test_debris_takes_light_by_its_density_and_covers_its_area():
    white = jnp.ones((64, 80, 3))
    spots = np.array([[20.0, 30.0], [60.0, 10.0]], np.float32), np.array([8.0, 3.0], np.float32)
    changed = np.asarray(debris(white, *spots, np.array([1.0, 0.5], np.float32)))
    np.testing.assert_allclose(changed[30, 20], np.exp(-1.0), rtol=1e-5)
    np.testing.assert_allclose(changed[10, 60], np.exp(-0.5), rtol=1e-5)
    absorbed = -np.log(changed[..., 0])
    np.testing.assert_allclose(absorbed.sum(), np.pi * (8**2 + 0.5 * 3**2), rtol=0.02)
    y, x = np.mgrid[:64, :80]
    far = (np.hypot(x - 20, y - 30) > 9) & (np.hypot(x - 60, y - 10) > 4)
    assert (changed[far] == 1).all()


def test_illumination_is_a_plane():
    changed = np.asarray(illumination(jnp.full((9, 11, 3), 0.5), jnp.array([0.2, -0.1])))
    np.testing.assert_allclose(changed[4, 5], 0.5, rtol=1e-6)
    np.testing.assert_allclose(changed[0, 10], 0.5 * 1.3, rtol=1e-6)
    np.testing.assert_allclose(np.diff(changed, n=2, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.diff(changed, n=2, axis=1), 0, atol=1e-6)


def test_as_many_changes_as_asked_for_and_none_at_no_magnitude(monkeypatch):
    """Each operation is replaced by one that marks a number of its own."""
    for i, name in enumerate(("stain", "debris", "light", "defocus", "jpeg")):
        monkeypatch.setattr(microscopy, f"_random_{name}", lambda key, image, magnitude, i=i: image + 2.0 ** (i - 6))
    keys = jax.random.split(jax.random.key(0), 200)
    for count in (1, 3, len(NAMES)):
        marks = jax.vmap(lambda key, count=count: randaugment(key, jnp.zeros((1, 1, 3)), count, 1.0))(keys)
        codes = np.round(np.asarray(marks[:, 0, 0, 0]) * 64).astype(int)
        bits = (codes[:, None] >> np.arange(5)) & 1
        assert (bits.sum(1) == count).all()
        assert (np.abs(bits.mean(0) - count / 5) < 0.12).all()


def test_changes_grow_with_magnitude_and_keep_intensities():
    keys = jax.random.split(jax.random.key(1), 16)
    image = jnp.asarray(picture())
    change = []
    for magnitude in (0.0, 0.3, 1.0):
        changed = jax.jit(jax.vmap(lambda key, m=magnitude: randaugment(key, image, len(NAMES), m)))(keys)
        assert changed.min() >= 0 and changed.max() <= 1 and np.isfinite(changed).all()
        change.append(float(jnp.abs(changed - image).mean()))
    assert change[0] < 1 / 255 < 2 * change[1] < 1.5 * change[2]
