"""From a model's configuration to the module."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from spermjax.config import Model
from spermjax.models.attention import VARIANTS
from spermjax.models.attention.class_attention import ClassAttention
from spermjax.models.attention.options import parse_options
from spermjax.models.cnn.efficientnet import EfficientNet
from spermjax.models.cnn.resnet import ResNet50
from spermjax.models.cnn.simple import SimpleCnn
from spermjax.models.named import SizedModel, sized
from spermjax.models.readout import READERS
from spermjax.models.vit import ViT
from spermjax.registry import Registry

Factory = Callable[[SizedModel, int, str | None], nn.Module]

MODELS: Registry[Factory] = Registry("model")


@MODELS.register("vit")
def vit(config: SizedModel, num_outputs: int, axis_name: str | None) -> ViT:
    """A vision transformer of the configured size."""
    return ViT(
        num_outputs=num_outputs,
        patch_size=config.patch_size,
        width=config.width,
        depth=config.depth,
        heads=config.heads,
        mlp_dim=config.mlp_dim,
        stem=config.stem,
        pool=config.pool,
        positions=config.positions,
        registers=config.registers,
        attention=config.attention,
        attention_options=FrozenDict(parse_options(config.attention, config.attention_options)[0]),
        fused=config.fused == "always" or (config.fused == "auto" and jax.default_backend() != "cpu"),
        scan=config.scan,
        remat=config.remat,
        layer_scale=config.layer_scale,
        stochastic_depth=config.stochastic_depth,
        dropout=config.dropout,
        mean=config.mean,
        std=config.std,
        per_image=config.normalise == "image",
        axis_name=axis_name,
        dtype=jnp.dtype(config.dtype),
    )


def _named_vit(size: str, patch: int) -> Factory:
    def factory(config: SizedModel, num_outputs: int, axis_name: str | None) -> nn.Module:
        return vit(config, num_outputs, axis_name)

    factory.__doc__ = f"ViT-{size} with patches of {patch} px (Dosovitskiy et al. 2021; Touvron et al. 2021)."
    return factory


for _size in ("Ti", "S", "B"):
    for _patch in (16, 8, 4):
        MODELS.register(f"vit_{_size.lower()}_{_patch}")(_named_vit(_size, _patch))


@MODELS.register("dinov2_vits14")
def dinov2_vits14(config: SizedModel, num_outputs: int, axis_name: str | None) -> nn.Module:
    """ViT-S/14 as DINOv2 trained it without labels (Oquab et al. 2024); weights by `--model.weights`."""
    return vit(config, num_outputs, axis_name)


@MODELS.register("simple_cnn")
def simple_cnn(config: SizedModel, num_outputs: int, axis_name: str | None) -> nn.Module:
    """Four convolutions with maxima between them."""
    return SimpleCnn(**_convolutional(config, num_outputs, axis_name))


@MODELS.register("efficientnet_b0")
def efficientnet_b0(config: SizedModel, num_outputs: int, axis_name: str | None) -> nn.Module:
    """EfficientNet-B0 (Tan & Le 2019), with CBAM by `--model.cbam`."""
    options = _convolutional(config, num_outputs, axis_name)
    return EfficientNet(stochastic_depth=config.stochastic_depth, **options)


@MODELS.register("efficientnet_lite0")
def efficientnet_lite0(config: SizedModel, num_outputs: int, axis_name: str | None) -> nn.Module:
    """EfficientNet-B0 without squeeze-and-excitation and with ReLU6, padded as TensorFlow does."""
    options = _convolutional(config, num_outputs, axis_name)
    return EfficientNet(lite=True, stochastic_depth=config.stochastic_depth, **options)


@MODELS.register("resnet50")
def resnet50(config: SizedModel, num_outputs: int, axis_name: str | None) -> nn.Module:
    """ResNet-50 (He et al. 2016), with CBAM by `--model.cbam`."""
    options = _convolutional(config, num_outputs, axis_name)
    return ResNet50(stochastic_depth=config.stochastic_depth, **options)


def _convolutional(config: SizedModel, num_outputs: int, axis_name: str | None) -> dict[str, Any]:
    return {
        "num_outputs": num_outputs,
        "cbam": config.cbam,
        "dropout": config.dropout,
        "mean": config.mean,
        "std": config.std,
        "per_image": config.normalise == "image",
        "axis_name": axis_name,
        "dtype": jnp.dtype(config.dtype),
    }


def attention_layers(config: Model) -> int:
    """Layers of a transformer whose attention is captured: its blocks, and those that read the logits."""
    depth, readout = sized(config).depth, VARIANTS[config.attention].readout or config.pool
    if readout == "class_attention":
        options, _ = parse_options(config.attention, config.attention_options)
        return depth + options.get("layers", ClassAttention.layers)
    return depth + (readout in READERS)


def build_model(config: Model, num_outputs: int, axis_name: str | None = None) -> nn.Module:
    """The module that a configuration names.

    Args:
        config: architecture and its sizes.
        num_outputs: logits.
        axis_name: mapped axis of the batch in training.

    Raises:
        ConfigError: if no model has that name.
    """
    return MODELS[config.name](sized(config), num_outputs, axis_name)


def init_variables(model: nn.Module, key: jax.Array, image_size: int) -> dict[str, Any]:
    """Fresh parameters and batch statistics, without the collections that capture intermediate values."""
    variables = _initial(model, key, jnp.zeros((1, image_size, image_size, 3)))
    return {name: variables[name] for name in ("params", "batch_stats") if name in variables}


@functools.partial(jax.jit, static_argnums=0)
def _initial(model: nn.Module, key: jax.Array, images: jax.Array) -> dict[str, Any]:
    """Compiled once for all equal models, as those of a sweep's seeds."""
    return dict(model.init(key, images))
