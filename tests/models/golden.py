"""The reference transformers of `golden/`, as spermjax models."""

from pathlib import Path

import jax
import numpy as np

from spermjax.models.build import init_variables
from spermjax.models.pretrained import load_weights
from spermjax.models.pretrained.read import read_weights
from spermjax.models.vit import ViT

NAMES = ("cls", "rand", "reg", "gap")


def model_and_variables(golden: Path, name: str, suffix: str = "timm.safetensors") -> tuple[ViT, dict]:
    """The named reference model; its sizes are read from its weights and forward pass."""
    weights = read_weights(golden / "weights" / f"{name}.timm.safetensors")
    forward = np.load(golden / "data" / f"forward_{name}.npz")
    registers = weights["reg_token"].shape[1] if "reg_token" in weights else 0
    model = ViT(
        num_outputs=len(weights["head.bias"]),
        patch_size=weights["patch_embed.proj.weight"].shape[-1],
        width=len(weights["norm.bias"]),
        depth=forward["attn"].shape[0],
        heads=forward["attn"].shape[2],
        mlp_dim=len(weights["blocks.0.mlp.fc1.bias"]),
        pool="class_token" if "cls_token" in weights else "mean",
        registers=registers,
    )
    size = images(golden).shape[1]
    return model, load_weights(str(golden / "weights" / f"{name}.{suffix}"), model, shapes(model, size), size)


def shapes(model: ViT, image_size: int) -> dict:
    """Shapes of a model's variables."""
    return jax.eval_shape(lambda: init_variables(model, jax.random.key(0), image_size))


def images(golden: Path) -> jax.Array:
    """The reference batch, in [0, 1]."""
    return jax.numpy.asarray(np.load(golden / "data" / "batch.npz")["image01_nhwc"])
