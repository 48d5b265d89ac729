"""Witness: Chefer's code and LXT in PyTorch, through the numbers in `golden/`."""

import jax
import numpy as np
import pytest

from spermjax.interpret.methods import METHODS
from spermjax.interpret.methods.attn_lrp import token_relevance
from tests.interpret.support import close_to_maximum
from tests.interpret.test_golden_maps import native

pytestmark = pytest.mark.golden
NAMES = ("cls", "rand")


@pytest.mark.parametrize("name", NAMES)
def test_transformer_attribution(golden, name):
    model = golden(name)
    for start in (0, 1):
        expected = model.maps[f"ref:chefer2021a_transformer_attribution_start{start}"]
        close_to_maximum(native(model, "chefer2021a", start_layer=start), expected)
    close_to_maximum(native(model, "lrp_rollout"), model.maps["ref:chefer2021a_lrp_rollout"])
    close_to_maximum(native(model, "lrp_last_layer"), model.maps["ref:chefer2021a_lrp_last_layer"])


@pytest.mark.parametrize("name", NAMES)
def test_pixel_lrp(golden, name):
    model = golden(name)
    close_to_maximum(native(model, "lrp_pixels"), model.maps["ref:chefer2021a_full"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["attn_lrp", "cp_lrp"])
def test_modified_gradients(golden, name, method):
    model, key = golden(name), method.replace("attn_lrp", "attnlrp")
    close_to_maximum(native(model, method), model.maps[f"ref:{key}_input"])
    tokens = jax.jit(lambda v, x, t: token_relevance(model.model, v, x, t, attention_held=method == "cp_lrp"))
    close_to_maximum(tokens(model.variables, model.images, model.targets), model.maps[f"ref:{key}_tokens"])
