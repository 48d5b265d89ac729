"""Augmentation moves image and masks together, and each example by its own key alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from spermjax.config import Augment
from spermjax.data.augment import augment, augment_points
from spermjax.data.batch import Batch
from spermjax.data.blur import gaussian_blur
from spermjax.data.motion import Turn, warp

BATCH, SIDE = 5, 24
NOTHING = Augment(flip=False, rotate=0, scale=0, shift=0, brightness=0, contrast=0, blur=0, noise=0)


def make_batch(size: int = BATCH) -> Batch:
    """Blobs as masks; the image's colours are the first three masks."""
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(size, SIDE, SIDE, 6)), (0, 2, 2, 0))
    parts = field > 0.03
    return Batch(
        image=jnp.asarray(parts[..., :3], jnp.float32),
        parts=jnp.asarray(parts),
        has_parts=jnp.ones(size, bool),
        label=jnp.arange(size, dtype=jnp.int32),
        weight=jnp.ones(size),
        index=jnp.arange(size, dtype=jnp.int32),
    )


def keys(size: int = BATCH, seed: int = 0):
    return jax.random.split(jax.random.key(seed), size)


def only(**changes) -> Augment:
    return Augment(**{**NOTHING.__dict__, **changes})


# Few values, for each configuration is compiled.
geometry = st.builds(
    only,
    flip=st.booleans(),
    flip_vertical=st.booleans(),
    rotate=st.sampled_from([0.0, 30.0, 180.0]),
    scale=st.sampled_from([0.0, 0.2]),
    shift=st.sampled_from([0.0, 0.1]),
)
EVERYTHING = Augment(flip_vertical=True, shift=0.1, brightness=0.5, contrast=0.5, blur=1.0, noise=0.3, randaugment=2)
configs = pytest.mark.parametrize("config", [EVERYTHING, Augment(), only(flip=True, noise=0.3)])


@settings(max_examples=6, deadline=None, derandomize=True)
@given(config=geometry, seed=st.integers(0, 2**16))
def test_image_and_masks_stay_registered(config, seed):
    """Where the moved image is wholly inside or outside a mask, so is the moved mask, but for the repeated edge."""
    batch = make_batch()
    result = augment(keys(seed=seed), batch, config)
    whole = augment(keys(seed=seed), batch.replace(parts=jnp.ones_like(batch.parts)), config).parts[..., :3]
    image, parts = np.asarray(result.image), np.asarray(result.parts[..., :3])
    assert parts[(image > 0.999) & np.asarray(whole)].all()
    assert not parts[image < 0.001].any()
    assert whole.mean() > 0.4


@settings(max_examples=4, deadline=None, derandomize=True)
@given(config=geometry, margin=st.sampled_from([0, 5]), seed=st.integers(0, 2**16))
def test_points_stay_on_what_they_mark(config, margin, seed):
    """Blobs of light about the points: after the change their centres of mass lie where the points went."""
    size, side = 40, 40 + 2 * margin
    points = (side - 1) / 2 + np.random.default_rng(seed).uniform(-8, 8, (6, 2))
    y, x = np.mgrid[:side, :side]
    squared = (x - points[:, 0, None, None]) ** 2 + (y - points[:, 1, None, None]) ** 2
    batch = make_batch(6)
    light = jnp.asarray(np.exp(-squared / 8), jnp.float32)[..., None].repeat(3, -1)
    parts = jnp.asarray(squared < 9)[..., None].repeat(6, -1)
    moved = augment(keys(6, seed), batch.replace(image=light, parts=parts), config, size)
    where = augment_points(keys(6, seed), jnp.asarray(points)[:, None], (side, side), config, size)[:, 0]
    for weights, tolerance in ((moved.image[..., 0], 0.1), (moved.parts[..., 0], 0.5)):
        centres = [ndimage.center_of_mass(np.asarray(one))[::-1] for one in weights]
        np.testing.assert_allclose(where, centres, atol=tolerance)


def test_changes_of_the_microscope_move_nothing():
    batch = make_batch()
    still, plain = (augment(keys(), batch, only(flip=True, randaugment=n, magnitude=1.0)) for n in (5, 0))
    np.testing.assert_array_equal(still.parts, plain.parts)
    assert (still.image != plain.image).any()


def test_without_changes_nothing_changes():
    batch = make_batch()
    result = augment(keys(), batch, NOTHING)
    jax.tree.map(np.testing.assert_array_equal, result, batch)


@pytest.mark.parametrize(("config", "axis"), [(only(flip=True), 2), (only(flip_vertical=True), 1)])
def test_flip_mirrors_about_half_of_the_examples_and_twice_is_none(config, axis):
    batch = make_batch(64)
    once = augment(keys(64), batch, config)
    flipped = np.array([not (a == b).all() for a, b in zip(once.image, batch.image, strict=True)])
    assert 16 < flipped.sum() < 48
    np.testing.assert_array_equal(once.image[flipped], np.flip(batch.image[flipped], axis))
    np.testing.assert_array_equal(once.parts[flipped], np.flip(batch.parts[flipped], axis))
    twice = augment(keys(64), once, config)
    jax.tree.map(np.testing.assert_array_equal, twice, batch)


@configs
def test_an_example_depends_on_its_own_key_alone(config):
    batch = make_batch()
    chosen = jnp.array([3, 1])
    together = augment(keys(), batch, config)
    apart = augment(keys()[chosen], jax.tree.map(lambda leaf: leaf[chosen], batch), config)
    np.testing.assert_allclose(apart.image, together.image[chosen], atol=1e-6)
    np.testing.assert_array_equal(apart.parts, together.parts[chosen])


@configs
def test_images_stay_intensities_and_the_rest_stays(config):
    batch = make_batch()
    result = augment(keys(), batch, config)
    assert result.image.min() >= 0 and result.image.max() <= 1 and np.isfinite(result.image).all()
    assert result.parts.dtype == bool
    for field in ("has_parts", "label", "weight", "index"):
        np.testing.assert_array_equal(getattr(result, field), getattr(batch, field))


def test_a_warp_is_scipy_s():
    """Witness: scipy's affine transform, order 1 for the image and 0 for the masks."""
    batch = make_batch()
    angle, scale, shift = 0.4, 1.15, np.array([2.0, -3.0])
    turn = Turn(angle=jnp.float32(angle), scale=jnp.float32(scale), shift=jnp.float32(shift))
    image, parts = warp(batch.image[0], batch.parts[0], turn, SIDE)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale  # Of (y, x).
    middle = (SIDE - 1) / 2
    offset = middle - rotation @ (middle + shift[::-1])
    for channel in range(3):
        expected = ndimage.affine_transform(batch.image[0, ..., channel], rotation, offset, order=1, mode="nearest")
        np.testing.assert_allclose(image[..., channel], expected, atol=1e-4)
        mask = np.asarray(batch.parts[0, ..., channel], np.uint8)
        expected = ndimage.affine_transform(mask, rotation, offset, order=0, mode="grid-constant")
        assert (np.asarray(parts[..., channel]) != expected).mean() < 0.005


@pytest.mark.parametrize("config", [only(rotate=180.0, scale=0.1, shift=0.05), only(flip=True)])
def test_what_lies_around_the_square_moves_in(config):
    """Without a margin corners repeat the edge; with one, they are the crop of the whole picture's own change."""
    inner = slice(6, -6)
    batch = make_batch()
    square = batch.replace(image=batch.image[:, inner, inner], parts=batch.parts[:, inner, inner])
    seen = augment(keys(), batch, config, SIDE - 12)
    # The whole picture's shift is the same number of pixels.
    whole = augment(keys(), batch, dataclasses.replace(config, shift=config.shift * (SIDE - 12) / SIDE))
    np.testing.assert_allclose(seen.image, whole.image[:, inner, inner], atol=1e-5)
    np.testing.assert_array_equal(seen.parts, whole.parts[:, inner, inner])
    streaked = augment(keys(), square, config)
    assert bool(jnp.abs(streaked.image - seen.image).max() > 0.5) == bool(config.rotate)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.0])
def test_a_blur_is_scipy_s(sigma):
    image = make_batch().image[0]
    expected = ndimage.gaussian_filter(np.asarray(image, float), (sigma, sigma, 0), mode="nearest", radius=(3, 3, 0))
    np.testing.assert_allclose(gaussian_blur(image, jnp.float32(sigma), 1.0), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "operation"),
    [
        (only(rotate=10.0), "gather"),
        (only(blur=1.0), "exponential"),
        (only(noise=0.1), "erf_inv"),
        (only(randaugment=1), "round"),
    ],
)
def test_what_is_zero_is_not_compiled(config, operation):
    batch = make_batch()
    assert operation in augment.lower(keys(), batch, config).as_text()
    assert operation not in augment.lower(keys(), batch, NOTHING).as_text()


def test_brightness_and_contrast_reach_their_bounds_and_no_further():
    grey = make_batch(128).replace(image=jnp.full((128, SIDE, SIDE, 3), 0.5).at[:, :, ::2].set(0.3))
    shift = augment(keys(128), grey, only(brightness=0.1)).image.mean((1, 2, 3)) - 0.4
    assert 0.09 < np.abs(shift).max() <= 0.1 + 1e-6 and abs(shift.mean()) < 0.02
    spread = augment(keys(128), grey, only(contrast=0.2)).image.std((1, 2, 3)) / 0.1
    assert 1.18 < spread.max() <= 1.2 + 1e-4 and 0.8 - 1e-4 <= spread.min() < 0.82
