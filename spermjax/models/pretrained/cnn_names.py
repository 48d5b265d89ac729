"""Translations of timm's names for convolutional networks into the networks' own."""

import re

import numpy as np

from spermjax.models.pretrained.adapt import in_colour
from spermjax.models.pretrained.read import Weights

_NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
_SQUEEZE = {"conv_reduce": "reduce", "conv_expand": "expand"}
# A stage's first block has no expansion where its factor is 1, and timm counts on from there.
_EFFICIENT = {"conv_pw": "expand", "bn1": "expand", "conv_dw": "depthwise", "bn2": "depthwise"}
_EFFICIENT |= {"conv_pwl": "project", "bn3": "project"}
_FIRST = {"conv_dw": "depthwise", "bn1": "depthwise", "conv_pw": "project", "bn2": "project"}
_RESNET = {"conv1": "reduce", "bn1": "reduce", "conv2": "convolve", "bn2": "convolve", "conv3": "expand"}
_RESNET |= {"bn3": "expand", "downsample.0": "shortcut", "downsample.1": "shortcut"}


def from_timm_efficientnet(weights: Weights) -> Weights:
    """Timm's names of EfficientNet and its Lite form, such as `blocks.1.0.conv_pw.weight`."""
    out: Weights = {}
    whole = {"conv_stem": "stem", "bn1": "stem", "conv_head": "top", "bn2": "top"}
    for name, value in weights.items():
        part, _, leaf = name.rpartition(".")
        if match := re.fullmatch(r"blocks\.(\d+)\.(\d+)\.(.+)", part):
            stage, block, inner = match.groups()
            scope = f"block_{stage}_{block}"
            if inner.startswith("se."):
                of = _SQUEEZE.get(inner.removeprefix("se."), inner)
                out[f"{scope}/squeeze/{of}/{_dense_leaf(leaf)}"] = _squeezed(value)
            else:
                of = (_FIRST if stage == "0" else _EFFICIENT).get(inner, inner)
                out |= _unit(f"{scope}/{of}", leaf, value)
        elif part == "classifier":
            out[f"head/{_dense_leaf(leaf)}"] = value.T
        elif part in whole:
            out |= _unit(whole[part], leaf, value)
        else:
            out[name] = value
    return _in_colour(out)


def from_timm_resnet(weights: Weights) -> Weights:
    """Timm's (and torchvision's) names of ResNet, such as `layer1.0.conv1.weight`."""
    out: Weights = {}
    for name, value in weights.items():
        part, _, leaf = name.rpartition(".")
        if match := re.fullmatch(r"layer(\d+)\.(\d+)\.(.+)", part):
            stage, block, inner = match.groups()
            out |= _unit(f"block_{int(stage) - 1}_{block}/{_RESNET.get(inner, inner)}", leaf, value)
        elif part == "fc":
            out[f"head/{_dense_leaf(leaf)}"] = value.T
        elif part in ("conv1", "bn1"):
            out |= _unit("stem", leaf, value)
        else:
            out[name] = value
    return _in_colour(out)


def _unit(scope: str, leaf: str, value: np.ndarray) -> Weights:
    """One array of a `ConvNorm`: a kernel from `[out, in, rows, columns]`, or one of the normalisation's."""
    if value.ndim == 4:
        return {f"{scope}/conv/kernel": value.transpose(2, 3, 1, 0)}
    # A counter of PyTorch's, which nothing reads.
    return {} if leaf == "num_batches_tracked" else {f"{scope}/norm/{_NORM.get(leaf, leaf)}": value}


def _dense_leaf(leaf: str) -> str:
    return "kernel" if leaf == "weight" else leaf


def _squeezed(value: np.ndarray) -> np.ndarray:
    """A convolution of 1x1 as a linear map."""
    return value[:, :, 0, 0].T if value.ndim == 4 else value


def _in_colour(own: Weights) -> Weights:
    kernel = own.get("stem/conv/kernel")
    return own if kernel is None else own | {"stem/conv/kernel": in_colour(kernel)}
