"""Witness: Chefer's code and LXT in PyTorch, through the numbers in `golden/`."""

import dataclasses

import jax
import pytest

from spermjax.interpret.grid import class_row, to_grid
from spermjax.interpret.methods import chefer2021a
from spermjax.interpret.methods.attn_lrp import token_relevance
from spermjax.interpret.relevance import alpha_one
from tests.interpret.support import close_to_maximum
from tests.interpret.test_golden_maps import native

pytestmark = pytest.mark.golden
NAMES = ("cls", "rand")


def compare(model, tolerance):
    """All that the reference's propagation gives."""
    spec = model.model.attention_spec(model.images.shape[1:3])
    run = jax.jit(lambda v, x, t: chefer2021a.propagated(model.model, v, x, t))
    found = run(model.variables, model.images, model.targets)
    for start in (0, 1):
        actual = chefer2021a.attribution_map(found.gradients * found.attention, spec, start)
        close_to_maximum(actual, model.maps[f"ref:chefer2021a_transformer_attribution_start{start}"], tolerance)
    rolled = chefer2021a.attribution_map(found.attention, spec)
    close_to_maximum(rolled, model.maps["ref:chefer2021a_lrp_rollout"], tolerance)
    last = to_grid(class_row(jax.nn.relu(found.attention[-1]).mean(axis=1), spec), spec)
    close_to_maximum(last, model.maps["ref:chefer2021a_lrp_last_layer"], tolerance)
    close_to_maximum(found.images.sum(-1), model.maps["ref:chefer2021a_full"], tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_layerwise_relevance(golden_in_double, name):
    """In double precision, as quotients of nearly zero products of queries and keys amplify rounding.

    What is left comes from the reference's adding 1e-9 to the denominators of mere
    copies, and to products of queries and keys before they are scaled.
    """
    compare(golden_in_double(name), 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_layerwise_relevance_with_the_denominators_of_the_reference(golden_in_double, monkeypatch, name):
    """With its small numbers in its places there is no other difference."""
    model = golden_in_double(name)
    width = model.model.width // model.model.heads

    def copied(step, messages):
        """A residual sum, which is then copied for two branches."""
        if all(step.live) or not step.straight[step.live.index(True)]:
            messages = [step.results[0] * alpha_one.divide(messages[0], step.results[0])]
        return alpha_one.total(step, messages)

    def unscaled(step, messages):
        """Products of queries and keys, the queries already divided by the root of their width."""
        scores = all(step.live) and step.operands[0].shape[-1] == step.operands[1].shape[-1] == width
        if not scores:
            return alpha_one.product(step, messages)
        shares = alpha_one.divide(messages[0], step.results[0], 1e-9 * width**-0.5)
        return [step.operands[place] * step.linearised(place, shares) / 2 for place in (0, 1)]

    rules = {**alpha_one.ALPHA_ONE.by_name, "add": copied, "dot_general": unscaled}
    monkeypatch.setattr(chefer2021a, "ALPHA_ONE", dataclasses.replace(alpha_one.ALPHA_ONE, by_name=rules))
    compare(model, 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_keeps_the_map(golden, name):
    model = golden(name)
    expected = model.maps["ref:chefer2021a_transformer_attribution_start0"]
    close_to_maximum(native(model, "chefer2021a"), expected, 5e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["attn_lrp", "cp_lrp"])
def test_modified_gradients(golden, name, method):
    model, key = golden(name), method.replace("attn_lrp", "attnlrp")
    close_to_maximum(native(model, method), model.maps[f"ref:{key}_input"])
    tokens = jax.jit(lambda v, x, t: token_relevance(model.model, v, x, t, attention_held=method == "cp_lrp"))
    close_to_maximum(tokens(model.variables, model.images, model.targets), model.maps[f"ref:{key}_tokens"])
