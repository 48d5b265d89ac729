"""One square for every image: what cropping, padding, turning and resizing must keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import disk, ellipse

from spermjax.clinic.axis import head_axis
from spermjax.clinic.masks import centroid
from spermjax.data.geometry import fit, resize_mask
from spermjax.parts import PARTS, pack, unpack

ACROSOME, NUCLEUS, VACUOLE, MIDPIECE, TAIL = (PARTS.index(name) for name in PARTS[:5])


def cell(angle: float, side: int = 160, acrosome: bool = True, midpiece: bool = True):
    """A drawn cell whose front points `angle` radians clockwise from up; parts are painted in their own gray."""
    front = np.array([np.sin(angle), -np.cos(angle)])
    masks = np.zeros((side, side, len(PARTS)), bool)
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    along, across = x * front[0] + y * front[1], x * -front[1] + y * front[0]
    head = (along / 30) ** 2 + (across / 18) ** 2 < 1
    masks[..., ACROSOME] = head & (along > 10) & acrosome
    masks[..., NUCLEUS] = head & ((along <= 10) | (not acrosome))
    masks[..., MIDPIECE] = (along < -30) & (along > -60) & (abs(across) < 3) & midpiece
    image = 230 - 60 * masks[..., NUCLEUS] - 120 * masks[..., ACROSOME] - 100 * masks[..., MIDPIECE]
    return np.repeat(image[..., None], 3, -1).astype(np.uint8), pack(masks)


@pytest.mark.parametrize("angle", np.deg2rad([0, 37, 90, 135, 180, 251, 333]))
@pytest.mark.parametrize("seen", ["acrosome", "midpiece"])
def test_aligned_head_points_up(angle, seen):
    """The turned masks' own axis is up, and the image's pixels turned with them."""
    image, parts = cell(angle, acrosome=seen == "acrosome", midpiece=seen == "midpiece")
    image, parts = fit(image, parts, size=160, align_head=True)
    np.testing.assert_allclose(head_axis(parts), [0, -1], atol=0.03)
    masks = unpack(parts)
    part, gray = (ACROSOME, 110) if seen == "acrosome" else (MIDPIECE, 130)
    assert (centroid(masks[..., part])[1] < 80) == (seen == "acrosome")
    assert abs(np.median(image[masks[..., part]].astype(int)) - gray) <= 1


def test_turn_is_not_a_mirror():
    """A mark to the right of the front stays to its right, by a hand-placed vacuole."""
    image, parts = cell(np.pi / 2)  # front to the right of the image, so the cell's right is down
    masks = unpack(parts)
    masks[disk((92, 80), 3)[0], disk((92, 80), 3)[1], VACUOLE] = True
    _, turned = fit(image, pack(masks), size=160, align_head=True)
    assert centroid(unpack(turned)[..., VACUOLE])[0] > 85


def test_two_orientations_of_one_cell_align_to_the_same_picture():
    """Turning the input changes nothing but interpolation."""
    first, first_parts = fit(*cell(0.4), size=64, crop=120, align_head=True)
    second, second_parts = fit(*cell(2.9), size=64, crop=120, align_head=True)
    assert np.abs(first.astype(int) - second).mean() < 2
    assert (first_parts != second_parts).mean() < 0.01


@pytest.mark.parametrize("masked", [False, True])
def test_without_an_axis_alignment_leaves_the_picture(masked):
    """A flat image without masks, or a perfectly round head: nothing tells the axis, so nothing is turned."""
    image, parts = np.full((50, 70, 3), 90, np.uint8), np.zeros((50, 70), np.uint8)
    if masked:
        image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
        masks = np.zeros((50, 70, len(PARTS)), bool)
        masks[20:31, 20:31, NUCLEUS] = True
        parts = pack(masks)
    for aligned, plain in zip(fit(image, parts, size=32, align_head=True), fit(image, parts, size=32), strict=True):
        np.testing.assert_array_equal(aligned, plain)


def test_same_size_is_identity():
    """A square image at its own size passes unchanged, pixels and bits."""
    rng = np.random.default_rng(1)
    image, parts = rng.integers(0, 256, (33, 33, 3), np.uint8), rng.integers(0, 64, (33, 33), np.uint8)
    fitted, bits = fit(image, parts, size=33)
    np.testing.assert_array_equal(fitted, image)
    np.testing.assert_array_equal(bits, parts)


@given(height=st.integers(3, 40), width=st.integers(3, 40), crop=st.integers(3, 50))
@settings(max_examples=30, deadline=None)
def test_crop_is_central_and_padding_repeats_the_border(height, width, crop):
    """Every kept pixel is its clamped source pixel; parts end where the image ends. Witness: index arithmetic."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, rows * 0], -1).astype(np.uint8)
    fitted, bits = fit(image, np.full((height, width), 1, np.uint8), size=crop, crop=crop)
    source_row = np.arange(crop) + (height - crop) // 2
    source_column = np.arange(crop) + (width - crop) // 2
    np.testing.assert_array_equal(fitted[..., 0], np.clip(source_row, 0, height - 1)[:, None].repeat(crop, 1))
    np.testing.assert_array_equal(fitted[..., 1], np.clip(source_column, 0, width - 1)[None].repeat(crop, 0))
    inside = ((source_row >= 0) & (source_row < height))[:, None] & (source_column >= 0) & (source_column < width)
    np.testing.assert_array_equal(bits, inside)


def test_mask_area_survives_resizing():
    """A shape of many pixels keeps its share of the square to a few per cent at any size."""
    nucleus = np.zeros((200, 200), np.float32)
    nucleus[ellipse(100, 110, 60, 35)] = 1
    for size in (32, 64, 300):
        assert resize_mask(nucleus, size).mean() == pytest.approx(nucleus.mean(), rel=0.03)


@given(row=st.integers(0, 223), column=st.integers(0, 223), size=st.sampled_from([16, 32, 64]))
@settings(max_examples=30, deadline=None)
def test_a_piece_of_one_pixel_is_kept_where_it_was(row, column, size):
    """A vacuole far smaller than a pixel of the result keeps one pixel, at its place, also beside a large one."""
    vacuoles = np.zeros((224, 224), np.float32)
    vacuoles[row, column] = 1
    kept = np.argwhere(resize_mask(vacuoles, size))
    assert len(kept) == 1
    assert (abs(kept[0] - (np.array([row, column]) + 0.5) * size / 224 + 0.5) <= 0.5 + size / 448).all()
    top, left = 0 if row > 112 else 150, 0 if column > 112 else 150
    vacuoles[top : top + 60, left : left + 60] = 1
    with_large = resize_mask(vacuoles, size)
    assert with_large[tuple(kept[0])]
    assert with_large.sum() > 1


def test_absent_parts_stay_absent():
    """No bit appears that was not in the source, also after a turn."""
    image, parts = cell(1.0, midpiece=False)
    _, bits = fit(image, parts, size=48, align_head=True)
    assert unpack(bits).any((0, 1)).tolist() == unpack(parts).any((0, 1)).tolist()
