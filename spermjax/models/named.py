"""Architectures whose sizes are fixed by their names."""

import dataclasses
from typing import Any

from spermjax.config import Model

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

SIZES: dict[str, dict[str, Any]] = {
    "dinov2_vits14": {
        "patch_size": 14,
        "width": 384,
        "depth": 12,
        "heads": 6,
        "mlp_dim": 1536,
        "stem": "patch",
        "positions": "learned",
        "registers": 0,
        "layer_scale": 1e-5,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
    },
    "efficientnet_b0": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    "efficientnet_lite0": {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3},
    "resnet50": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD},
}
"""Fields of `Model` by the name of the architecture."""

for _size, (_width, _heads) in {"ti": (192, 3), "s": (384, 6), "b": (768, 12)}.items():
    for _patch in (16, 8, 4):
        SIZES[f"vit_{_size}_{_patch}"] = {"patch_size": _patch, "width": _width, "depth": 12, "heads": _heads}


CONVOLUTIONAL = ("simple_cnn", "efficientnet_b0", "efficientnet_lite0", "resnet50")
"""Architectures that have no patches, tokens or attention between them."""


def sized(config: Model) -> Model:
    """The configuration with the sizes that its name fixes, whatever its fields say."""
    return dataclasses.replace(config, **SIZES.get(config.name, {}))
