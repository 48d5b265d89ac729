"""How explanations are spread over devices: one image is shared, and a program is compiled once."""

import jax
import numpy as np
import pytest

from spermjax.data.task import Task
from spermjax.models.vit import ViT
from spermjax.workflow.measure import make_measure, over_devices
from tests.train import tiny

METHODS = ("rollout", "score_cam", "smooth_grad")
METRICS = ("deletion", "max_sensitivity")
WITHOUT_STEPS = ("rollout", "saliency"), ("gini",)


@pytest.mark.multidevice
@pytest.mark.parametrize(("methods", "metrics"), [(METHODS, METRICS), WITHOUT_STEPS], ids=["steps", "no steps"])
def test_one_image_is_explained_by_several_devices_as_by_one(methods, metrics):
    """Three devices do not divide the steps; what has none is left to the first."""
    examples = tiny.dataset().splits["validation"].take(np.array([1]))
    model = ViT(num_outputs=4, patch_size=8, width=8, depth=1, heads=2)
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 16, 16, 3), np.float32))
    variables = jax.tree.map(lambda leaf: 3 * leaf, variables)
    task = Task("single_label", ("a", "b", "c", "d"), {})

    def measured(devices):
        measure = make_measure(
            model, task, jax.devices()[:devices], methods=methods, metrics=metrics, chunk=4, has_parts=False
        )
        return measure(variables, examples, np.array([2]))

    alone, shared = measured(1), measured(3)
    assert alone.maps.keys() == shared.maps.keys() == set(methods)
    for name, map in alone.maps.items():
        np.testing.assert_allclose(shared.maps[name], map, rtol=1e-3, atol=1e-4 * np.abs(map).max(), err_msg=name)
    for name, value in alone.values.items():
        np.testing.assert_allclose(shared.values[name], value, rtol=1e-3, atol=1e-3, err_msg=name)


@pytest.mark.multidevice
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("in_steps", [False, True])
def test_a_program_is_traced_for_its_first_call_alone(count, in_steps):
    """An evaluation during training is the same call again and again."""
    traces = []

    def function(variables, images):
        traces.append(len(images))
        return images + variables

    run = over_devices(function, jax.devices()[:2], in_steps=in_steps)
    first = run(np.ones(()), np.zeros((count, 3)))
    traced = len(traces)
    np.testing.assert_array_equal(run(np.ones(()), np.zeros((count, 3))), first)
    assert first.shape == (count, 3) and traced and len(traces) == traced
