"""What is stored of an explanation shows what it says."""

import numpy as np
from PIL import Image, ImageColor

from spermjax.data.show import PART_COLOURS
from spermjax.workflow.explain import _store_overlays
from tests.train import tiny


def test_overlays_bear_the_outlines_of_the_parts(tmp_path):
    """The colour of the only part is on the pictures of cells with masks, and on no other."""
    cells = tiny.dataset().splits["validation"]
    cells = cells.take(np.arange(6))
    cells.parts[~cells.has_parts] = 0
    _store_overlays(tmp_path, cells, {"map": np.zeros(cells.parts.shape, np.float32)})
    colour = np.array(ImageColor.getrgb(PART_COLOURS["nucleus"]))
    for path, has_parts in zip(sorted((tmp_path / "overlays").iterdir()), cells.has_parts, strict=True):
        picture = np.asarray(Image.open(path)).astype(int)
        assert (np.abs(picture - colour).sum(-1) < 30).any() == has_parts, path.name
