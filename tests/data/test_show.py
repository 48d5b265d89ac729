"""The contact sheet: every example in its place, its parts in their colours."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from spermjax.data.examples import Examples
from spermjax.data.show import PART_COLOURS, contact_sheet, outlined
from spermjax.data.task import Task
from spermjax.parts import PARTS, pack


def cells(count: int, side: int, attributes: int = 0) -> Examples:
    """Flat gray images, each of its own gray, with a square acrosome in the middle."""
    masks = np.zeros((count, side, side, len(PARTS)), bool)
    masks[:, side // 4 : -side // 4, side // 4 : -side // 4, PARTS.index("acrosome")] = True
    gray = np.arange(40, 40 + 5 * count, 5, dtype=np.uint8)
    return Examples(
        image=np.broadcast_to(gray[:, None, None, None], (count, side, side, 3)).copy(),
        parts=pack(masks),
        has_parts=np.ones(count, bool),
        label=np.zeros((count, attributes) if attributes else count, np.int32),
        id=tuple(f"a-very-long-folder-name-of-some-archive/cell-{i}" for i in range(count)),
        group=tuple(str(i) for i in range(count)),
    )


@pytest.mark.parametrize(
    ("side", "task"), [(40, Task("single_label", ("a", "b"))), (128, Task("multi_attribute", ("x", "y", "z")))]
)
def test_each_example_is_shown_once_with_its_outline(tmp_path, side, task):
    """Every example's own gray is found, left to right and top to bottom, and the acrosome's colour with it."""
    examples = cells(7, side, 0 if task.kind == "single_label" else 3)
    drawn = contact_sheet(examples, task, tmp_path / "new" / "sheet.png", rows=2, columns=3)
    assert drawn == 6
    with Image.open(tmp_path / "new" / "sheet.png") as image:
        sheet = np.asarray(image)
    places = []
    for index in range(6):
        found = np.argwhere((sheet == 40 + 5 * index).all(-1))
        assert len(found) > side * side / 2
        places.append(np.median(found, 0))
    rows, columns = np.array(places).reshape(2, 3, 2).transpose(2, 0, 1)
    assert np.ptp(rows, 1).max() <= 1 and rows[0, 0] < rows[1, 0]
    assert np.ptp(columns, 0).max() <= 1 and (np.diff(columns[0]) > 0).all()
    assert (sheet == ImageColor.getrgb(PART_COLOURS["acrosome"])).all(-1).sum() >= 6 * (side - 4)


def test_fewer_examples_than_places(tmp_path):
    """A sheet is as high as what there is to show."""
    task = Task("single_label", ("a",))
    assert contact_sheet(cells(2, 32), task, tmp_path / "few.png", rows=4, columns=2) == 2
    contact_sheet(cells(8, 32), task, tmp_path / "many.png", rows=4, columns=2)
    with Image.open(tmp_path / "few.png") as few, Image.open(tmp_path / "many.png") as many:
        assert few.width == many.width and few.height < many.height / 2


def test_outline_lies_on_the_border_of_the_part():
    """Drawn pixels are the part's own outermost; within it and beyond it the image stays."""
    examples = cells(1, 20)
    drawn = outlined(examples.image[0], examples.parts[0])
    changed = (drawn != examples.image[0]).any(-1)
    expected = np.zeros((20, 20), bool)
    expected[5:15, 5:15] = True
    expected[6:14, 6:14] = False
    np.testing.assert_array_equal(changed, expected)
