"""Witness: the numbers in `golden/` that were computed in double precision, to ten decimal places.

Single precision hides a wrong epsilon or a missing factor of nearly one; here whole
models run in double precision, through the same public functions.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spermjax.interpret.capture import capture_with_gradients
from spermjax.interpret.methods import METHODS, cam
from spermjax.interpret.methods.attention import rollout_map
from spermjax.interpret.methods.attn_lrp import token_relevance
from spermjax.interpret.methods.legrad import legrad_layers
from spermjax.interpret.model import attention_spec
from tests.interpret.support import close_to_maximum
from tests.interpret.test_golden_cam import REFERENCES
from tests.models.golden import NAMES

pytestmark = pytest.mark.golden
TOLERANCE = 1e-10
OF_SECANTS = 1e-7
"""The reference divides a GELU's output by its input plus 1e-10, which tells where the input is nearly zero."""


@pytest.mark.parametrize("name", NAMES)
def test_forward_pass_attention_and_class_activation_maps(golden_in_double, name):
    model = golden_in_double(name)
    arguments = model.model, model.variables, model.images, model.targets
    captured, gradients = jax.jit(lambda v, x, t: capture_with_gradients(model.model, v, x, t))(*arguments[1:])
    close_to_maximum(captured.logits, model.forward["logits"], TOLERANCE)
    close_to_maximum(captured.attention, model.forward["attn"], TOLERANCE)
    close_to_maximum(gradients.attention, model.forward["attn_grad"], TOLERANCE)
    close_to_maximum(captured.features("output"), model.forward["block_out"], TOLERANCE)

    def of_places(found):
        return cam.on_grid(model.model, model.images, found.features("norm1")[-1])

    for method, reference in REFERENCES.items():
        expected = model.maps[f"ref:{reference}_norm1_last_raw4"]
        actual = getattr(cam, f"{method}_map")(of_places(captured), of_places(gradients))
        if method.startswith("eigen"):
            # The sign of a component is arbitrary in the reference, which rounds these maps to single precision.
            actual = actual * np.sign((actual * expected).sum(axis=(1, 2), keepdims=True))
        close_to_maximum(actual, expected, 1e-7 if expected.dtype == np.float32 else TOLERANCE)

    spec = attention_spec(model.model, model.images)
    of_keys = {"own:rollout_rownorm_mean_dr0.0": {}, "own:rollout_rownorm_max_dr0.9": {"fusion": "max"}}
    for key, options in of_keys.items():
        if key in model.maps:
            ratio = float(key.rsplit("_dr", 1)[1])
            actual = rollout_map(captured.attention, spec, discard_ratio=ratio, **options)
            close_to_maximum(actual, model.maps[key], TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_and_relevance(golden_in_double, name):
    model = golden_in_double(name)
    names = {
        "chefer2021b": "own:chefer2021b",
        "gradient_rollout": "own:gradrollout_fixed_dr0.0",
        "attn_lrp": "ref:attnlrp_input",
        "cp_lrp": "ref:cp_lrp_input",
    }
    names = {method: key for method, key in names.items() if key in model.maps}

    @jax.jit
    def run(variables, images, targets):
        given = model.model, variables, images, targets
        return (
            {method: METHODS[method].native(*given) for method in names},
            legrad_layers(*given),
            [token_relevance(*given, attention_held=held) for held in (False, True) if "attn_lrp" in names],
        )

    maps, by_layer, tokens = run(model.variables, model.images, model.targets)
    for method, key in names.items():
        close_to_maximum(maps[method], model.maps[key], OF_SECANTS if "lrp" in method else TOLERANCE)
    close_to_maximum(by_layer.mean(axis=0), model.maps["own:legrad_all"], TOLERANCE)
    for actual, key in zip(tokens, ("attnlrp", "cp_lrp"), strict=False):
        close_to_maximum(actual, model.maps[f"ref:{key}_tokens"], OF_SECANTS)
    assert maps["chefer2021b"].dtype == jnp.float64
