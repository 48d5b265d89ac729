"""An exported model gives the logits of the run, wherever it is loaded."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from spermjax.config import Model
from spermjax.errors import ConfigError
from spermjax.models.attention.contract import ATTENTION
from spermjax.models.build import build_model, init_variables
from spermjax.models.pretrained import load_weights
from spermjax.run import Run
from spermjax.workflow.export import export
from spermjax.workflow.trained import Trained
from tests.train import tiny

SIZE = 16


@pytest.fixture(params=["vit", "simple_cnn"])
def trained(request, tmp_path):
    """A model as if it came from a run."""
    cbam = "last" if request.param == "simple_cnn" else "none"
    config = Model(name=request.param, patch_size=4, width=16, depth=2, heads=2, cbam=cbam)
    task = tiny.dataset().task
    model = build_model(config, task.num_outputs)
    return Trained(
        run=Run(tmp_path / "run"),
        experiment=dataclasses.replace(tiny.experiment(), model=config),
        task=task,
        fingerprint="0" * 64,
        model=model,
        variables=init_variables(model, jax.random.key(0), SIZE),
        step=7,
        devices=jax.devices()[:1],
    )


def images(n):
    return np.random.default_rng(0).uniform(size=(n, SIZE, SIZE, 3)).astype(np.float32)


def test_parameters_are_read_back_as_weights(trained):
    path = export(trained, "safetensors")
    shapes = jax.eval_shape(lambda: init_variables(trained.model, jax.random.key(0), SIZE))
    jax.tree.map(np.testing.assert_array_equal, load_weights(str(path), trained.model, shapes, SIZE), trained.variables)
    described = json.loads(path.with_suffix(".json").read_text())
    assert described["task"]["names"] == list(trained.task.names)
    assert described["checkpoint_step"] == 7


@pytest.mark.parametrize("attention", [False, True])
def test_the_function_runs_without_the_model_for_any_batch(trained, attention):
    pytest.importorskip("flatbuffers", reason="pip install 'spermjax[export]'")
    path = export(trained, "stablehlo", attention=attention)
    function = jax.export.deserialize(bytearray(path.read_bytes()))
    for n in (1, 3):
        expected, captured = trained.model.apply(trained.variables, images(n), mutable=[ATTENTION])
        actual = function.call(images(n))
        if attention:
            actual, maps = actual
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), maps, dict(captured[ATTENTION]))
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_attention_of_a_parameter_file_is_refused(trained):
    with pytest.raises(ConfigError, match="belongs to --format stablehlo"):
        export(trained, "safetensors", attention=True)
