"""Architectures by name: the sizes, and the intensities, that belong to each."""

import dataclasses
from typing import Any

from spermjax.config import Model, Positions, Stem

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
"""Fields of `Model` that belong to an architecture, by its name."""

for _size, (_width, _heads) in {"ti": (192, 3), "s": (384, 6), "b": (768, 12)}.items():
    for _patch in (16, 8, 4):
        SIZES[f"vit_{_size}_{_patch}"] = {"patch_size": _patch, "width": _width, "depth": 12, "heads": _heads}

CONVOLUTIONAL = ("simple_cnn", "efficientnet_b0", "efficientnet_lite0", "resnet50")
"""Architectures that have no patches, tokens or attention between them."""

INTENSITIES = ("mean", "std")
"""Fields that belong to the images as much as to the architecture, so that an experiment may have its own."""


@dataclasses.dataclass(frozen=True)
class SizedModel(Model):
    """A model's configuration with every size set."""

    patch_size: int = 8
    width: int = 128
    depth: int = 6
    heads: int = 4
    stem: Stem = "patch"
    positions: Positions = "learned"
    registers: int = 0
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)


def sized(config: Model) -> SizedModel:
    """The configuration with every size set: as it says, else as its name has it, else the default."""
    given = {field.name: getattr(config, field.name) for field in dataclasses.fields(Model)}
    said = {name: value for name, value in given.items() if value is not None}
    return SizedModel(**{**SIZES.get(config.name, {}), **said})


def contradictions(config: Model) -> dict[str, Any]:
    """Sizes of the named architecture that the configuration has otherwise."""
    fixed = {name: value for name, value in SIZES.get(config.name, {}).items() if name not in INTENSITIES}
    return {name: value for name, value in fixed.items() if getattr(config, name) not in (None, value)}
