"""Translations of published parameter names and layouts into the ViT's own.

Each translation consumes a flat table of arrays and returns a flat table whose
names are the ViT's parameter paths (`block_0/attention/qkv/kernel`). What it does
not know stays under its own name, so that the loader can list it as left over.
"""

import re

import numpy as np

from spermjax.models.pretrained.read import Weights

_BLOCK = {
    "norm1": "attention_norm",
    "norm2": "mlp_norm",
    "mlp.fc1": "mlp/hidden",
    "mlp.fc2": "mlp/out",
    "attn.qkv": "attention/qkv",
    "attn.proj": "attention/out",
    "ls1": "attention_scale",
    "ls2": "mlp_scale",
}
_LEAF = {"weight": "kernel", "bias": "bias", "gamma": "gain"}


PREFIX = ("cls_token", "reg_token", "register_tokens")
"""Tokens before the patches, in order; the last as DINOv2's own code calls registers."""


def from_timm(weights: Weights, heads: int) -> Weights:
    """Timm's names (also DeiT, DINO and DINOv2), where linear maps are `[out, in]`.

    Args:
        weights: names like `blocks.0.attn.qkv.weight`.
        heads: attention heads, over which the fused projections are split.

    Returns:
        Arrays by the ViT's own names; the patch projection as `[side, side, channels, width]`.

    Raises:
        ValueError: the heads don't divide the width.
    """
    out: Weights = {}
    prefix = [weights[name][0] for name in PREFIX if name in weights]
    if prefix:
        out["prefix"] = np.concatenate(prefix)
    for name, value in weights.items():
        if name in PREFIX:
            continue
        if name == "pos_embed":
            out["positions"] = value[0]
        elif name == "patch_embed.proj.weight":
            out["stem/projection/kernel"] = value.transpose(2, 3, 1, 0)
        elif name == "patch_embed.proj.bias":
            out["stem/projection/bias"] = value
        elif match := re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias|gamma)", name):
            layer, part, leaf = match.groups()
            out[f"block_{layer}/{_BLOCK.get(part, part)}/{_own_leaf(part, leaf)}"] = _linear(part, leaf, value, heads)
        elif match := re.fullmatch(r"(norm|head)\.(weight|bias)", name):
            part, leaf = match.groups()
            out[f"{part}/{_own_leaf(part, leaf)}"] = _linear(part, leaf, value, heads)
        else:
            out[name] = value
    return out


def _own_leaf(part: str, leaf: str) -> str:
    return "scale" if part.startswith("norm") and leaf == "weight" else _LEAF[leaf]


def _linear(part: str, leaf: str, value: np.ndarray, heads: int) -> np.ndarray:
    if part == "attn.qkv":
        return value.reshape(3, heads, -1) if leaf == "bias" else value.T.reshape(value.shape[1], 3, heads, -1)
    if part == "attn.proj" and leaf == "weight":
        return value.T.reshape(heads, -1, len(value))
    return value.T if value.ndim == 2 else value


def from_flax(weights: Weights) -> Weights:
    """The names of the ViT authors' own checkpoints: AugReg and big_vision `.npz`.

    Args:
        weights: names like `Transformer/encoderblock_0/LayerNorm_0/scale`, with or
            without a leading `params/`.

    Returns:
        Arrays by the ViT's own names; the patch projection as `[side, side, channels, width]`.
    """
    weights = {name.removeprefix("params/"): value for name, value in weights.items()}
    out: Weights = {}
    projections: dict[str, dict[str, np.ndarray]] = {}
    for name, value in weights.items():
        if match := re.fullmatch(r"Transformer/encoderblock_(\d+)/(\w+)/(.+)", name):
            layer, module, leaf = match.groups()
            block = f"block_{layer}"
            if module.startswith("MultiHeadDotProductAttention"):
                projection, leaf = leaf.split("/")
                if projection == "out":
                    out[f"{block}/attention/out/{leaf}"] = value
                else:
                    projections.setdefault(f"{block}/attention/qkv/{leaf}", {})[projection] = value
            elif module.startswith("MlpBlock"):
                dense, leaf = leaf.split("/")
                out[f"{block}/mlp/{'hidden' if dense == 'Dense_0' else 'out'}/{leaf}"] = value
            else:
                out[f"{block}/{'attention_norm' if module == 'LayerNorm_0' else 'mlp_norm'}/{leaf}"] = value
        elif name in ("Transformer/posembed_input/pos_embedding", "pos_embedding"):
            out["positions"] = value[0]
        elif name == "cls":
            out["prefix"] = value[0]
        elif name == "embedding/kernel":
            out["stem/projection/kernel"] = value
        elif name == "embedding/bias":
            out["stem/projection/bias"] = value
        else:
            out[name.replace("Transformer/encoder_norm", "norm")] = value
    for name, of in projections.items():
        axis = 0 if name.endswith("bias") else 1
        out[name] = np.stack([of[projection] for projection in ("query", "key", "value")], axis=axis)
    return out
