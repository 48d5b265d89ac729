"""Every explanation serves every variant of attention."""

import numpy as np
import pytest

from spermjax.interpret import explain
from spermjax.interpret.methods import METHODS
from spermjax.models.attention import VARIANTS
from tests.models.test_variants import build, variables

# One program of all explanations a variant: what differs most from softmax in the fast lane, the rest in the slow.
FAST = ("differential", "part_query")
TARGETS = np.array([0, 1, 2, 0, 1], np.int32)


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]
)
def test_every_explanation_is_finite_and_says_something(name, cells):
    methods = [key for key, method in METHODS.items() if method.needs & {"attention", "features"}]
    maps = explain(build(name), variables(name), cells, TARGETS, methods=methods, chunk=5)
    for method, of_method in maps.items():
        assert np.isfinite(of_method).all(), method
        assert np.ptp(of_method, axis=(1, 2)).max() > 0, method
