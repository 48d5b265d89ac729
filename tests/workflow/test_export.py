"""An exported model gives the logits of the run, wherever it is loaded."""

import json

import jax
import numpy as np
import pytest

from spermjax.cli import main
from spermjax.models.attention.contract import ATTENTION
from spermjax.models.build import init_variables
from spermjax.models.pretrained import load_weights
from spermjax.workflow.trained import load_trained

SIZE = 32


def images(n):
    return np.random.default_rng(0).uniform(size=(n, SIZE, SIZE, 3)).astype(np.float32)


def test_parameters_are_read_back_as_weights(small_run, tmp_path):
    path = tmp_path / "model.safetensors"
    assert main(["export", str(small_run), "--out", str(path)]) == 0
    trained = load_trained(small_run)
    shapes = jax.eval_shape(lambda: init_variables(trained.model, jax.random.key(0), SIZE))
    variables = load_weights(str(path), trained.model, shapes, SIZE)
    jax.tree.map(np.testing.assert_array_equal, variables, dict(trained.variables))
    described = json.loads(path.with_suffix(".json").read_text())
    assert described["task"]["names"] == list(trained.task.names)


@pytest.mark.parametrize("attention", [False, True])
def test_the_function_runs_without_spermjax_for_any_batch(small_run, tmp_path, attention):
    path = tmp_path / "model.stablehlo"
    flags = ["--attention"] if attention else []
    assert main(["export", str(small_run), "--format", "stablehlo", "--out", str(path), *flags]) == 0
    function = jax.export.deserialize(bytearray(path.read_bytes()))
    trained = load_trained(small_run)
    for n in (1, 3):
        expected, captured = trained.model.apply(trained.variables, images(n), mutable=[ATTENTION])
        if attention:
            actual, maps = function.call(images(n))
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), maps, dict(captured[ATTENTION]))
        else:
            actual = function.call(images(n))
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_attention_of_a_parameter_file_is_refused(small_run, capsys):
    assert main(["export", str(small_run), "--attention"]) == 2
    assert "belongs to --format stablehlo" in capsys.readouterr().err
