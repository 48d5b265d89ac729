"""Published weights into the variables of a model."""

import re
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax.numpy as jnp

from spermjax.errors import DataError
from spermjax.models.pretrained.adapt import adapt
from spermjax.models.pretrained.fetch import local_file
from spermjax.models.pretrained.layouts import layout_of
from spermjax.models.pretrained.read import Weights, read_weights
from spermjax.models.vit import ViT

UNUSED = ("mask_token",)
"""Parameters that published files carry for their own training, and no classifier has."""
LISTED = 20
"""Problems of one kind that an error lists by name; a file of another architecture has hundreds."""


def load_weights(
    source: str, model: nn.Module, variables: dict[str, Any], image_size: int, fresh: Sequence[str] = ()
) -> dict[str, Any]:
    """Reads pretrained weights into the variables of a model.

    Positions are resized, patches resampled and gray stems widened (see `adapt`).

    Args:
        source: a `.safetensors` or `.npz` file, or its address with a checksum. A vision
            transformer's are known by timm's names (also DeiT, DINO, DINOv2), AugReg's
            and big_vision's; EfficientNet's and ResNet's by timm's; every model's by its own,
            as `spermjax export` writes them.
        model: that the weights belong to.
        variables: its own; shapes alone are enough where nothing is fresh.
        image_size: side of its images in pixels, which fixes the number of positions.
        fresh: regular expressions of whole paths of parameters that keep the values in
            `variables`, and whose counterparts in the file go unused.

    Returns:
        Variables of the same structure, ready for `model.apply`.

    Raises:
        DataError: the file can't be read or is of another architecture; a parameter is
            missing, left over or of another shape, all of which are named.
    """
    flat: dict[str, Any] = {kind: flax.traverse_util.flatten_dict(tree, sep="/") for kind, tree in variables.items()}
    wanted: dict[str, Any] = {name: value for tree in flat.values() for name, value in tree.items()}
    try:
        own = _translated(read_weights(local_file(source)), model, wanted, image_size)
    except ValueError as error:
        raise DataError(f"{source} does not fit the model: {error}") from error

    def is_fresh(name: str) -> bool:
        return any(re.fullmatch(pattern, name) for pattern in fresh)

    for name in [name for name in own if is_fresh(name) or name in UNUSED]:
        del own[name]
    expected = {name for name in wanted if not is_fresh(name)}
    problems = [
        *_listed("missing", [f"{name} {wanted[name].shape}" for name in sorted(expected - own.keys())]),
        *_listed("left over", [f"{name} {own[name].shape}" for name in sorted(own.keys() - expected)]),
        *_listed(
            "shape",
            [
                f"{name} is {own[name].shape}, the model has {wanted[name].shape}"
                for name in sorted(own.keys() & expected)
                if own[name].shape != wanted[name].shape
            ],
        ),
    ]
    if problems:
        raise DataError(
            f"{source} does not fit the model:\n  " + "\n  ".join(problems) + "\nThe sizes of --model must be those of "
            "the weights; parameters that the weights have not start afresh when --model.fresh names them."
        )
    return {
        kind: flax.traverse_util.unflatten_dict(
            {name: jnp.asarray(own.get(name, value)) for name, value in tree.items()}, sep="/"
        )
        for kind, tree in flat.items()
    }


def _translated(weights: Weights, model: nn.Module, wanted: dict[str, Any], image_size: int) -> Weights:
    """The arrays of a file under the model's own names and at its sizes.

    Raises:
        ValueError: the file is of another architecture.
    """
    if len(weights.keys() & wanted.keys()) > len(weights) // 2:
        return weights
    layout = layout_of(weights, model)
    if layout is None:
        raise ValueError(f"it holds no {type(model).__name__}; its parameters are {_some(weights)}")
    own = layout.translate(weights, model)
    if not isinstance(model, ViT):
        return own
    side = image_size // model.patch_size
    return adapt(own, wanted, model.prefix, model.patch_size, (side, side))


def _some(weights: Weights) -> str:
    names = sorted(weights)
    return f"{', '.join(names[:3])} and {len(names) - 3} more" if len(names) > 3 else ", ".join(names) or "none"


def _listed(kind: str, problems: list[str]) -> list[str]:
    more = [f"{kind}: {len(problems) - LISTED} more"] if len(problems) > LISTED else []
    return [f"{kind}: {problem}" for problem in problems[:LISTED]] + more
