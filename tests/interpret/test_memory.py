"""What explanations need in memory grows with `chunk`, not with the perturbations. Witness: XLA's own count."""

import jax
import jax.numpy as jnp
import pytest

from spermjax.interpret import METHODS, METRICS
from tests.interpret.support import Foreign

MODEL = Foreign(width=64)
SMALL = jnp.zeros((1, 32, 32, 3))
COUNTED = {
    "rise": "masks",
    "kernel_shap": "coalitions",
    "smooth_grad": "samples",
    "integrated_gradients": "steps",
}


def temporary_bytes(function, *arguments):
    """Of the compiled program, before it runs."""
    return jax.jit(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes


def of_method(name, chunk, count):
    options = {"chunk": chunk, COUNTED[name]: count}
    if "index" in METHODS[name].needs:
        options["index"] = jnp.zeros(1, int)
    variables = MODEL.init(jax.random.key(0), SMALL)
    return temporary_bytes(
        lambda v, x: METHODS[name].native(MODEL, v, x, jnp.zeros(1, int), **options), variables, SMALL
    )


@pytest.mark.parametrize("name", COUNTED)
def test_of_a_method(name):
    few, many, wide = of_method(name, 8, 64), of_method(name, 8, 512), of_method(name, 64, 512)
    assert many < 1.5 * few + 200_000  # 512 random masks themselves are small
    assert wide > 3 * many


def test_of_deletion():
    """A larger image has more steps on its curve; of one size, the chunk decides."""
    variables = MODEL.init(jax.random.key(0), SMALL)
    given = {"targets": jnp.zeros(1, int), "index": jnp.zeros(1, int), "patch_scores": jnp.zeros((1, 8, 8))}

    def of(chunk):
        options = given | {"model": MODEL, "kind": "single_label", "chunk": chunk}
        metric = METRICS["deletion_zero"]

        def run(variables, images):
            known = options | {"variables": variables, "images": images}
            return metric.function(**{name: known[name] for name in metric.needs})

        return temporary_bytes(run, variables, SMALL)

    assert of(64) > 3 * of(4)
