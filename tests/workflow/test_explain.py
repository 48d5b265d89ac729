"""What is stored of an explanation shows what it says."""

import jax
import numpy as np
from PIL import Image, ImageColor

from spermjax.data.show import PART_COLOURS
from spermjax.interpret.capture import capture
from spermjax.models.attention.contract import ATTENTION
from spermjax.models.build import build_model, init_variables
from spermjax.workflow.explain import _store_overlays
from spermjax.workflow.heads import LOG10_WEIGHT, make_head_histogram
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


def test_the_histogram_of_a_head_counts_each_of_its_weights():
    """Witness: NumPy's histogram of the captured attention; the last piece is padded."""
    model = build_model(tiny.experiment().model, 4)
    variables = init_variables(model, jax.random.key(0), 16)
    variables = jax.tree.map(lambda p: 4 * p, variables)  # Attention that is far from even.
    cells = tiny.dataset().splits["validation"]
    counts = make_head_histogram(model, jax.local_devices()[:2], 2)(variables, cells)
    attention = np.asarray(capture(model, variables, cells.image / np.float32(255), (ATTENTION,)).attention)
    assert counts.sum() == attention.size
    for layer, head in np.ndindex(counts.shape[:2]):
        exponent = np.log10(attention[layer, :, head].clip(1e-9, 1.0)).clip(-5.99, -1e-9)
        expected, _ = np.histogram(exponent, LOG10_WEIGHT)
        # A weight that lies on an edge may be rounded to either side.
        assert np.abs(counts[layer, head] - expected).sum() <= 4 and (expected > 0).sum() > 2
