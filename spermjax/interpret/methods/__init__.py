"""Explanation methods, by name in `METHODS`."""

from spermjax.interpret.methods import (
    attention,
    attention_flow,
    attn_lrp,
    baselines,
    cam,
    chefer2021a,
    gradient_attention,
    gradients,
    integrated_gradients,
    kernel_shap,
    legrad,
    occlusion,
    own_attention,
    part_shapley,
    perturbed_cam,
    rise,
    token_rise,
)
from spermjax.interpret.methods.method import METHODS, Method

__all__ = [
    "METHODS",
    "Method",
    "attention",
    "attention_flow",
    "attn_lrp",
    "baselines",
    "cam",
    "chefer2021a",
    "gradient_attention",
    "gradients",
    "integrated_gradients",
    "kernel_shap",
    "legrad",
    "occlusion",
    "own_attention",
    "part_shapley",
    "perturbed_cam",
    "rise",
    "token_rise",
]
