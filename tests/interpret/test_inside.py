"""What is read, taken away and put in inside a model."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from spermjax.interpret import inside
from spermjax.interpret.program import trace
from spermjax.interpret.relevance.backward import GRADIENT, pass_back
from spermjax.models.attention.contract import AttentionSpec
from tests.interpret.support import close_to_maximum
from tests.models.golden import NAMES


@pytest.mark.golden
@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_an_independent_implementation(golden, golden_data, name):
    """Witness: hooks in PyTorch, through the numbers in `golden/`."""
    model = golden(name)
    labels = jnp.asarray(golden_data("batch.npz")["label"], jnp.int32)

    @jax.jit
    def run(variables, images):
        def loss(logits):
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels)

        donors = jnp.roll(images, -1, axis=0)
        arguments = (model.model, variables, images)
        signed = inside.head_importance(*arguments, loss)
        return {
            "logit_lens": inside.logit_lens(*arguments),
            "head_ablation_logits": inside.head_ablation(*arguments, chunk=12),
            "patching_all_logits": inside.activation_patching(*arguments, donors),
            "patching_prefix_logits": inside.activation_patching(*arguments, donors, "prefix"),
            "michel_signed_per_example": signed,
            "michel_importance": jnp.abs(signed).mean(axis=1),
        }

    compared = 0
    for key, actual in run(model.variables, model.images).items():
        if f"own:{key}" in model.forward:
            expected = model.forward[f"own:{key}"]
            if key == "michel_signed_per_example":
                actual = actual if actual.shape == expected.shape else np.moveaxis(actual, 1, 2)
            close_to_maximum(actual, expected, 3e-5)
            compared += 1
    assert compared >= 3


def test_messages_by_the_rule_of_differentiation_are_gradients():
    """Witness: JAX's own gradient, through a call, a custom derivative and a reduction."""

    def function(x):
        return jax.jit(lambda y: jnp.tanh(y) @ y.T)(jax.nn.relu(x) / x.sum()).sum(axis=1)

    x = jax.random.uniform(jax.random.key(0), (3, 4)) - 0.2
    program = trace(function, x)
    values = program.run(x)
    messages = pass_back(program, values, {program.outputs: jnp.ones(3)}, GRADIENT)
    np.testing.assert_allclose(messages[program.inputs[0]], jax.grad(lambda y: function(y).sum())(x), rtol=1e-5)


def test_replay_follows_a_changed_value_and_nothing_else():
    program = trace(lambda x: {"twice": 2 * x, "end": 2 * x + jnp.sin(x)}, jnp.array(1.0))
    values = program.run(jnp.array(1.0))
    changed = {program.outputs["twice"]: jnp.array(10.0)}
    [twice] = program.replay(values, changed, [program.outputs["twice"]])
    assert twice == 10.0
    np.testing.assert_allclose(values[program.outputs["end"]], 2 + np.sin(1.0), rtol=1e-6)


def test_a_head_that_looks_at_one_part_is_named_with_it():
    """Head 0 spends all on the patch of part 1, head 1 spreads evenly: enrichment 4 and 1 by construction."""
    spec = AttentionSpec(1, (2, 2))
    coverage = np.zeros((2, 2, 2, 2), np.float32)
    coverage[:, 0, 0, 0] = coverage[:, 1, 1, 1] = 1.0
    attention = np.full((1, 2, 2, 5, 5), 0.2, np.float32)
    attention[:, :, 0, 0] = [0.2, 0, 0, 0, 0.8]
    found = inside.specialisation(jnp.asarray(attention), spec, jnp.asarray(coverage), jnp.array([True, True]))
    np.testing.assert_allclose(found.enrichment[0], [[0.0, 4.0], [1.0, 1.0]], atol=1e-6)
    assert (int(found.favourite[0, 0]), float(found.consistency[0, 0])) == (1, 1.0)
