"""What takes LAPACK's place inside XLA's threads, beside NumPy; and nothing waits for ever."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spermjax.interpret.methods.cam import leading_component
from spermjax.interpret.methods.kernel_shap import solve

SIDES = st.integers(1, 20)


@settings(max_examples=30, deadline=None)
@given(SIDES, SIDES, st.integers(0, 10**6))
def test_leading_component_is_that_of_numpy(rows, columns, seed):
    matrices = np.random.default_rng(seed).normal(size=(3, rows, columns))
    left, values, _ = np.linalg.svd(matrices, full_matrices=False)
    with jax.enable_x64(True):
        found = np.asarray(leading_component(jnp.asarray(matrices)))
    wanted = left[:, :, 0] * values[:, :1]
    sign = np.sign((found * wanted).sum(axis=1, keepdims=True))
    # Of two nearly equal singular values the direction is ill-defined, by their relative distance.
    gap = 1 - (values[:, 1] / values[:, 0] if values.shape[1] > 1 else np.zeros(3))
    assert (np.abs(sign * found - wanted).max(axis=1) < 1e-12 * values[:, 0] / np.maximum(gap, 1e-6) + 1e-12).all()


def test_leading_component_of_nothing_is_nothing():
    np.testing.assert_array_equal(leading_component(jnp.zeros((2, 5, 3))), 0.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 10**6))
def test_solve_is_that_of_numpy(size, columns, seed):
    rng = np.random.default_rng(seed)
    factor, right = rng.normal(size=(size, size)), rng.normal(size=(size, columns))
    matrix = factor @ factor.T + np.eye(size)
    with jax.enable_x64(True):
        found = solve(jnp.asarray(matrix), jnp.asarray(right))
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right), atol=1e-9 * np.linalg.cond(matrix))


PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from spermjax.data.examples import Examples
from spermjax.data.task import Task
from spermjax.models.vit import ViT
from spermjax.parallel import replicate
from spermjax.workflow.measure import make_measure

model = ViT(num_outputs=4, patch_size=8, width=128, depth=2, heads=4)
variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
names = tuple(map(str, range(64)))
image = np.random.default_rng(0).integers(0, 256, (64, 64, 64, 3), np.uint8)
parts, none, label = np.zeros(image.shape[:3], np.uint8), np.zeros(64, bool), np.zeros(64, np.int32)
examples = Examples(image, parts, none, label, names, names)
task = Task("single_label", ("a", "b", "c", "d"), {})
devices = jax.local_devices()
assert len(devices) == 2
for methods, metrics in (({methods}, []), (["rollout"], ["effective_rank"])):
    measured = make_measure(
        model, task, devices, methods=methods, metrics=metrics, chunk=32, has_parts=False
    )(replicate(variables, devices), examples, np.zeros(64, np.int64))
    assert all(np.isfinite(array).all() for array in measured.maps.values()), measured
print("done")
"""


@pytest.mark.multidevice
@pytest.mark.parametrize("methods", [["eigen_cam", "eigen_grad_cam"], ["attention_flow"]])
def test_as_many_devices_as_threads_wait_for_none_of_them(methods):
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    program = [sys.executable, "-c", PROGRAM.replace("{methods}", repr(methods))]
    done = subprocess.run(
        program, env=kept | {"JAX_NUM_CPU_DEVICES": "2"}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.endswith("done\n"), done.stderr
