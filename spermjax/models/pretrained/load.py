"""Published weights into the parameters of a model."""

from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp

from spermjax.errors import DataError
from spermjax.models.pretrained.names import from_flax, from_timm
from spermjax.models.pretrained.read import read_weights
from spermjax.models.vit import ViT


def load_vit(path: Path, model: ViT, image_size: int):
    """Reads a vision transformer's weights into the variables of `model`.

    Args:
        path: a `.safetensors` file with timm's names, or an `.npz` file with those
            of AugReg or big_vision.
        model: the transformer that the weights belong to.
        image_size: side of its images in pixels, which fixes the number of positions.

    Returns:
        `{"params": ...}`, ready for `model.apply`.

    Raises:
        DataError: a parameter is missing, left over or of another shape; all are named.
    """
    weights = read_weights(path)
    own = from_timm(weights, model.heads) if Path(path).suffix == ".safetensors" else from_flax(weights)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, image_size, image_size, 3)))["params"]
    wanted: dict[str, Any] = flax.traverse_util.flatten_dict(shapes, sep="/")
    problems = [f"missing: {name} {wanted[name].shape}" for name in sorted(wanted.keys() - own.keys())]
    problems += [f"left over: {name} {own[name].shape}" for name in sorted(own.keys() - wanted.keys())]
    problems += [
        f"shape: {name} is {own[name].shape}, the model has {wanted[name].shape}"
        for name in sorted(own.keys() & wanted.keys())
        if own[name].shape != wanted[name].shape
    ]
    if problems:
        raise DataError(f"{path} does not fit the model:\n  " + "\n  ".join(problems))
    params = flax.traverse_util.unflatten_dict({name: jnp.asarray(value) for name, value in own.items()}, sep="/")
    return {"params": params}
