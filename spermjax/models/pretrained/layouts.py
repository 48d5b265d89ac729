"""Whose weight files each kind of model reads."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn

from spermjax.models.cnn.efficientnet import EfficientNet
from spermjax.models.cnn.resnet import ResNet50
from spermjax.models.pretrained.cnn_names import from_timm_efficientnet, from_timm_resnet
from spermjax.models.pretrained.names import from_flax, from_timm
from spermjax.models.pretrained.read import Weights
from spermjax.models.vit import ViT


@dataclasses.dataclass(frozen=True)
class Layout:
    """One way in which files name a model's parameters.

    Attributes:
        publishers: whose files are laid out so.
        mark: a part of a name by which such a file is known.
        translate: `(weights, model) -> weights` under the model's own names.
    """

    publishers: tuple[str, ...]
    mark: str
    translate: Callable[[Weights, nn.Module], Weights]


LAYOUTS: dict[type[nn.Module], tuple[Layout, ...]] = {
    ViT: (
        Layout(
            ("timm", "DeiT", "DINO", "DINOv2"),
            "patch_embed.proj.weight",
            lambda weights, model: from_timm(weights, model.heads),
        ),
        Layout(
            ("AugReg", "big_vision"),
            "Transformer/encoderblock_0/",
            lambda weights, model: from_flax(weights),
        ),
    ),
    EfficientNet: (Layout(("timm",), "conv_stem.weight", lambda weights, model: from_timm_efficientnet(weights)),),
    ResNet50: (Layout(("timm",), "layer1.0.conv1.weight", lambda weights, model: from_timm_resnet(weights)),),
}


def layout_of(weights: Weights, model: nn.Module) -> Layout | None:
    """How a file names the parameters of this kind of model, or None where it holds no such model."""
    for layout in LAYOUTS.get(type(model), ()):
        if any(layout.mark in name for name in weights):
            return layout
    return None


def publishers(model: nn.Module) -> tuple[str, ...]:
    """Whose weights a model reads, besides those that spermjax exported."""
    return tuple(name for layout in LAYOUTS.get(type(model), ()) for name in layout.publishers)
