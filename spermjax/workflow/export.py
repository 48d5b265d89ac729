"""A run's model for use elsewhere: its parameters, or the whole function."""

import json
from pathlib import Path
from typing import Any, Literal

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export
from safetensors.numpy import save

from spermjax import __version__
from spermjax.errors import ConfigError
from spermjax.files import write_atomic
from spermjax.models.attention.contract import ATTENTION
from spermjax.workflow.trained import Trained

Format = Literal["safetensors", "stablehlo"]
PLATFORMS = ("cpu", "cuda", "tpu")


def export(trained: Trained, format: Format, out: Path | None = None, *, attention: bool = False) -> Path:
    """Writes the variables or the function of a run's best checkpoint.

    - `safetensors`: parameters and batch statistics by the model's own names, float32.
      `--model.weights` reads them back.
    - `stablehlo`: `jax.export`'s serialised function of `float32[batch, size, size, 3]` in
      [0, 1], the batch symbolic, the weights inside, for CPU, CUDA and TPU. It returns
      logits, or logits and the collection `attention`.

    What the outputs mean lies beside it as JSON, and in the metadata of safetensors.

    Args:
        trained: the run.
        format: what to write.
        out: the file; inside the run when not given.
        attention: whether the function returns attention as well.

    Returns:
        The file.

    Raises:
        ConfigError: attention is asked of a file of parameters, or flatbuffers is not installed.
        SpermjaxError: the file can't be written.
    """
    if attention and format == "safetensors":
        raise ConfigError("--attention belongs to --format stablehlo; a file of parameters returns nothing.")
    path = out or trained.run.path / "export" / f"model.{format}"
    size = trained.experiment.data.image_size
    description = {
        "spermjax": __version__,
        "experiment": trained.experiment.name,
        "checkpoint_step": trained.step,
        "task": trained.task.to_dict(),
        "image": {"size": size, "crop": trained.experiment.data.crop, "channels": "RGB", "range": [0.0, 1.0]},
        "model": trained.experiment.to_dict()["model"],
        "fingerprint": trained.fingerprint,
    }
    if format == "safetensors":
        content = save(flat(trained.variables), metadata={key: json.dumps(value) for key, value in description.items()})
    else:
        exported = jax_export.export(jax.jit(_function(trained, attention)), platforms=PLATFORMS)(_images(size))
        try:
            content = bytes(exported.serialize())
        except ImportError as error:
            raise ConfigError("--format stablehlo needs flatbuffers: pip install 'spermjax[export]'") from error
    write_atomic(path, content)
    write_atomic(path.with_suffix(".json"), json.dumps(description, indent=2) + "\n")
    return path


def flat(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """All variables in one table by their paths, such as `block_0/mlp/out/kernel`."""
    tables: list[dict[str, Any]] = [flax.traverse_util.flatten_dict(tree, sep="/") for tree in variables.values()]
    return {name: np.asarray(value) for table in tables for name, value in table.items()}


def _images(size: int) -> jax.ShapeDtypeStruct:
    (batch,) = jax_export.symbolic_shape("batch")
    return jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)


def _function(trained: Trained, attention: bool):
    def logits(images: jax.Array) -> Any:
        return trained.model.apply(trained.variables, images)

    def logits_and_attention(images: jax.Array) -> Any:
        values, captured = trained.model.apply(trained.variables, images, mutable=[ATTENTION])
        return values, dict(captured).get(ATTENTION, {})

    return logits_and_attention if attention else logits
