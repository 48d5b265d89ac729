"""Measurements of drawn cells whose sizes, shares and angles are known by construction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import disk, ellipse

from spermjax.clinic.morphometry import measure
from spermjax.parts import PARTS, pack

LENGTH, WIDTH = 90.0, 54.0


def cell(angle=0.0, acrosome=0.5, bend=0.0, length=LENGTH, width=WIDTH, midpiece=80.0, side=300):
    """Part channels of an elliptic head at `angle` (radians clockwise from up) and a straight midpiece.

    `acrosome` is the front share of the head's length, `bend` the midpiece's angle.
    """
    masks = np.zeros((side, side, len(PARTS)), bool)
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    along, across = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
    head = (2 * along / length) ** 2 + (2 * across / width) ** 2 < 1
    front = along > length * (0.5 - acrosome)
    masks[..., PARTS.index("acrosome")], masks[..., PARTS.index("nucleus")] = head & front, head & ~front
    behind, beside = -(along + length / 2), across
    leading = behind * np.cos(bend) + beside * np.sin(bend)
    sideways = beside * np.cos(bend) - behind * np.sin(bend)
    piece = (leading > 0) & (leading < midpiece) & (abs(sideways) < 4)
    masks[..., PARTS.index("midpiece")] = piece & ~head
    return masks


def paint(masks, part, row, column, radius):
    masks[(*disk((row, column), radius), PARTS.index(part))] = True


@given(angle=st.floats(-np.pi, np.pi), length=st.floats(70, 115), ratio=st.floats(1.15, 2.2))
@settings(max_examples=25, deadline=None)
def test_length_width_and_ratio_of_a_drawn_ellipse(angle, length, ratio):
    """Within a pixel of what was drawn, at any angle; so no angle is favoured. The ratio is exactly theirs."""
    measured = measure(pack(cell(angle, length=length, width=length / ratio)))
    assert measured.head_length_px == pytest.approx(length, abs=1.2)
    assert measured.head_width_px == pytest.approx(length / ratio, abs=1.2)
    assert measured.length_to_width == pytest.approx(measured.head_length_px / measured.head_width_px)


@given(angle=st.floats(-np.pi, np.pi), bend=st.floats(-2.6, 2.6))
@settings(max_examples=25, deadline=None)
def test_midpiece_angle_is_the_bend(angle, bend):
    """From straight on (0) to folded back along the head, whatever way the cell lies."""
    measured = measure(pack(cell(angle, bend=bend)))
    assert measured.midpiece_angle == pytest.approx(abs(np.degrees(bend)), abs=6)


def test_acrosome_share_is_its_area():
    """Half the length of an ellipse is half its area; 0 where there is none."""
    assert measure(pack(cell(acrosome=0.5))).acrosome_share == pytest.approx(0.5, abs=0.01)
    assert measure(pack(cell(acrosome=0.0))).acrosome_share == 0
    assert measure(pack(cell(acrosome=1.0))).acrosome_share == pytest.approx(1)


@pytest.mark.parametrize("hole", [False, True])
def test_vacuole_inside_the_acrosome_counts_as_acrosome(hole):
    """Drawn over the acrosome or left out of it, a vacuole changes neither head nor acrosome share."""
    masks = cell(acrosome=0.5)
    whole = measure(pack(masks))
    paint(masks, "vacuole", 125, 150, 6)
    if hole:
        masks[..., PARTS.index("acrosome")] &= ~masks[..., PARTS.index("vacuole")]
    measured = measure(pack(masks))
    assert measured.acrosome_share == pytest.approx(whole.acrosome_share)
    assert measured.length_to_width == whole.length_to_width
    assert measured.vacuole_share == pytest.approx(36 / (LENGTH * WIDTH / 4), rel=0.1)
    assert (measured.vacuoles, measured.posterior_vacuole_share) == (1, 0)


def test_vacuole_behind_the_acrosome_is_told_apart():
    masks = cell(acrosome=0.4)
    paint(masks, "vacuole", 125, 150, 4)
    paint(masks, "vacuole", 175, 150, 6)
    measured = measure(pack(masks))
    assert measured.vacuoles == 2
    assert measured.posterior_vacuole_share == pytest.approx(measured.vacuole_share * 36 / 52, rel=0.15)
    masks[..., PARTS.index("acrosome")] = False
    assert np.isnan(measure(pack(masks)).posterior_vacuole_share)


def test_what_is_not_there_is_not_measured():
    """Nothing at all, no midpiece, and a stub that the border left."""
    empty = measure(np.zeros((50, 60), np.uint8))
    assert np.isnan([empty.head_length_px, empty.acrosome_share, empty.vacuole_share, empty.midpiece_angle]).all()
    assert empty.vacuoles == 0
    assert np.isnan(measure(pack(cell(midpiece=0))).midpiece_angle)
    assert np.isnan(measure(pack(cell(midpiece=15))).midpiece_angle)
    assert not np.isnan(measure(pack(cell(midpiece=40))).midpiece_angle)


def test_tail_and_place_do_not_matter():
    """A tail anywhere and a shift of the cell change no measurement."""
    masks = cell(0.7, bend=0.3)
    plain = measure(pack(masks))
    masks[(*ellipse(40, 40, 30, 5), PARTS.index("tail"))] = True
    assert measure(pack(np.roll(masks, (11, -7), (0, 1)))) == plain


def test_a_round_head_has_a_ratio_of_one_and_no_direction():
    masks = np.zeros((60, 60, len(PARTS)), bool)
    masks[20:41, 20:41, PARTS.index("nucleus")] = True
    masks[41:70, 28:33, PARTS.index("midpiece")] = True
    measured = measure(pack(masks))
    assert (measured.head_length_px, measured.length_to_width) == (21, 1)
    assert np.isnan(measured.midpiece_angle)
