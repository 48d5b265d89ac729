"""The renderer against plane geometry, and against itself at another resolution and pose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.parts import PARTS, region
from spermjax.phantom.anatomy import Cell
from spermjax.phantom.defects import DEFECTS, DRAWS
from spermjax.phantom.normal import sample_normal
from spermjax.phantom.render import render

CELLS = 6
FINE = {"size": 256, "pixel_um": 0.055}


@pytest.fixture(scope="module")
def normal() -> Cell:
    return jax.jit(jax.vmap(sample_normal))(jax.random.split(jax.random.key(0), CELLS))


def quiet(cells: Cell) -> Cell:
    """The same cells without what depends on the pixel grid or on the place in the image."""
    scene = cells.scene
    zero = jnp.zeros_like
    return cells.replace(
        scene=scene.replace(
            noise=zero(scene.noise),
            grain=zero(scene.grain),
            gradient_per_um=zero(scene.gradient_per_um),
            debris_absorbance=zero(scene.debris_absorbance),
        )
    )


def area_um2(parts, name):
    return np.asarray(region(parts, name)).sum((1, 2)) * FINE["pixel_um"] ** 2


def test_images_are_intensities_and_masks_are_parts(normal):
    image, parts = render(normal)
    assert image.shape == (CELLS, 64, 64, 3) and parts.shape == (CELLS, 64, 64, len(PARTS))
    assert image.dtype == jnp.float32 and parts.dtype == bool
    assert np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1
    channel = {name: np.asarray(parts[..., i]) for i, name in enumerate(PARTS)}
    assert not (channel["acrosome"] & channel["nucleus"]).any()
    assert not (channel["vacuole"] & ~(channel["acrosome"] | channel["nucleus"])).any()
    assert not (channel["midpiece"] & channel["tail"]).any()


def test_stain_darkens_in_the_order_of_real_slides(normal):
    """Nuclei are the darkest, then acrosomes and flagella, then the slide."""
    image, parts = render(quiet(normal))
    dark = np.asarray(image.mean(-1))
    mean = {
        name: np.array([d[m].mean() for d, m in zip(dark, np.asarray(region(parts, name)), strict=True)])
        for name in ("nucleus", "acrosome", "midpiece", "background")
    }
    assert (mean["nucleus"] < mean["acrosome"]).all()
    assert (mean["acrosome"] < mean["background"]).all() and (mean["midpiece"] < mean["background"]).all()


def test_an_elliptical_head_has_an_ellipse_s_area(normal):
    """Witness: pi / 4 x length x width."""
    plain = normal.replace(
        head=normal.head.replace(taper=jnp.zeros(CELLS), lobes=jnp.zeros((CELLS, 3))),
    )
    expected = np.pi / 4 * plain.head.length_um * plain.head.width_um
    np.testing.assert_allclose(area_um2(render(plain, **FINE).parts, "head"), expected, rtol=0.01)


def test_acrosome_has_its_share_of_any_head(normal):
    """Also where the outline is irregular: the border is found on the outline itself."""
    draws = jnp.linspace(0.05, 0.95, CELLS)[:, None] * jnp.ones(DRAWS)
    for cells in (normal, *[jax.vmap(DEFECTS[name].edit)(draws, normal) for name in ("pyriform", "amorphous")]):
        parts = render(cells, **FINE).parts
        share = area_um2(parts, "acrosome") / area_um2(parts, "head")
        np.testing.assert_allclose(share, cells.acrosome.share, atol=0.02)


def test_a_vacuole_has_a_disc_s_area(normal):
    cells = jax.vmap(DEFECTS["large_vacuole"].edit)(jnp.full((CELLS, DRAWS), 0.5), normal)
    expected = np.pi * cells.vacuoles.radius_um[:, 0] ** 2
    np.testing.assert_allclose(area_um2(render(cells, **FINE).parts, "vacuole"), expected, rtol=0.03)


def test_a_flagellum_has_a_strip_s_area(normal):
    """Witness: length x width, with a half disc at the stump's free end."""
    cells = jax.vmap(DEFECTS["short_tail"].edit)(jnp.full((CELLS, DRAWS), 0.9), normal)
    cells = cells.replace(midpiece=cells.midpiece.replace(bow_um=jnp.zeros(CELLS)))
    width = cells.tail.width_um
    both = area_um2(render(cells, **FINE).parts, "tail") + area_um2(render(cells, **FINE).parts, "midpiece")
    tail = cells.tail.length_um * width + np.pi / 8 * width**2
    midpiece = cells.midpiece.length_um * cells.midpiece.width_um
    np.testing.assert_allclose(both, tail + midpiece, rtol=0.06)


def test_small_vacuoles_always_have_a_pixel(normal):
    """A mask that is empty though the part is there would make localisation undefined."""
    shifts = jax.random.uniform(jax.random.key(5), (20, CELLS, 2), minval=-0.11, maxval=0.11)
    radius = jnp.zeros_like(normal.vacuoles.radius_um).at[:, 0].set(0.17)
    cells = normal.replace(vacuoles=normal.vacuoles.replace(radius_um=radius))
    for shift in shifts:
        moved = cells.replace(pose=cells.pose.replace(shift_um=shift))
        assert np.asarray(region(render(moved).parts, "vacuole")).any((1, 2)).all()


def test_a_quarter_turn_of_the_cell_is_a_quarter_turn_of_the_picture(normal):
    cells = quiet(normal)
    turned = cells.replace(pose=cells.pose.replace(rotation=cells.pose.rotation + np.float32(np.pi / 2)))
    image, parts = render(cells)
    turned_image, turned_parts = render(turned)
    clockwise = np.rot90(image, k=-1, axes=(1, 2))
    np.testing.assert_allclose(turned_image, clockwise, atol=1e-3)
    assert (np.rot90(parts, k=-1, axes=(1, 2)) != turned_parts).mean() < 1e-4


def test_a_pixel_is_the_mean_of_finer_pixels(normal):
    """Antialiasing in closed form agrees with 8 x 8 samples a pixel."""
    cells = quiet(normal)
    coarse = render(cells, 32, 0.44).image
    fine = np.asarray(render(cells, 256, 0.055).image).reshape(CELLS, 32, 8, 32, 8, 3).mean((2, 4))
    assert np.abs(coarse - fine).mean() < 0.005
    assert np.quantile(np.abs(coarse - fine), 0.99) < 0.06


def test_a_cell_does_not_depend_on_its_batch(normal):
    alone = render(jax.tree.map(lambda leaf: leaf[2:3], normal))
    together = render(normal)
    np.testing.assert_allclose(alone.image[0], together.image[2], atol=1e-6)
    np.testing.assert_array_equal(alone.parts[0], together.parts[2])
