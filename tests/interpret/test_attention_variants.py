"""Every way to read a model serves every variant of attention."""

import numpy as np
import pytest

from spermjax.interpret import explain
from spermjax.models.attention import VARIANTS
from tests.models.test_variants import build, variables

# One method for each thing that is read of a model; what the others make of the same arrays is tested by itself.
READERS = (
    *("raw_attention", "attention_flow", "chefer2021b", "legrad", "chefer2021a", "lrp_pixels", "cp_lrp", "attn_lrp"),
    *("grad_cam", "eigen_cam", "ablation_cam"),
)
TARGETS = np.array([0, 1, 2, 0, 1], np.int32)


@pytest.mark.parametrize("name", VARIANTS)
def test_maps_are_finite_and_say_something(name, cells):
    """Of one block, which keeps the program small."""
    maps = explain(build(name, depth=1), variables(name), cells, TARGETS, methods=READERS, chunk=5)
    for method, of_method in maps.items():
        assert np.isfinite(of_method).all(), method
        assert np.ptp(of_method, axis=(1, 2)).max() > 0, method
