"""Witness: Chefer's code and LXT in PyTorch, through the numbers in `golden/`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.interpret.grid import class_row, to_grid
from spermjax.interpret.methods import chefer2021a
from spermjax.interpret.methods.attn_lrp import token_relevance
from spermjax.interpret.program import trace_model
from tests.interpret.support import close_to_maximum
from tests.interpret.test_golden_maps import native

pytestmark = pytest.mark.golden
NAMES = ("cls", "rand")


def in_double(*arguments):
    """`trace_model`, its program in double precision."""
    program, _, slots = trace_model(*arguments)

    def wider(value):
        value = jnp.asarray(value)
        return value.astype(jnp.float64) if value.dtype == jnp.float32 else value

    equations = tuple(
        dataclasses.replace(
            equation,
            params={
                name: np.dtype(np.float64) if isinstance(value, np.dtype) and value == np.float32 else value
                for name, value in equation.params.items()
            },
        )
        for equation in program.equations
    )
    constants = {slot: wider(value) for slot, value in program.constants.items()}
    program = dataclasses.replace(program, equations=equations, constants=constants)
    return program, program.run(wider(arguments[2])), slots


@pytest.fixture
def double(monkeypatch):
    monkeypatch.setattr(chefer2021a, "trace_model", in_double)
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", NAMES)
def test_layerwise_relevance(golden, name, double):
    """In double precision, as quotients of nearly zero products of queries and keys amplify rounding.

    What is left comes from inputs in single precision, and from the reference's adding
    1e-9 to denominators of mere copies too.
    """
    model = golden(name)
    spec = model.model.attention_spec(model.images.shape[1:3])
    run = jax.jit(lambda v, x, t: chefer2021a.propagated(model.model, v, x, t))
    found = run(model.variables, model.images, model.targets)
    for start in (0, 1):
        actual = chefer2021a.attribution_map(found.gradients * found.attention, spec, start)
        close_to_maximum(actual, model.maps[f"ref:chefer2021a_transformer_attribution_start{start}"], 5e-4)
    close_to_maximum(
        chefer2021a.attribution_map(found.attention, spec), model.maps["ref:chefer2021a_lrp_rollout"], 5e-4
    )
    last = to_grid(class_row(jax.nn.relu(found.attention[-1]).mean(axis=1), spec), spec)
    close_to_maximum(last, model.maps["ref:chefer2021a_lrp_last_layer"], 5e-4)
    close_to_maximum(found.images.sum(-1), model.maps["ref:chefer2021a_full"], 2e-3)


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
