"""Explanation methods, by name in `METHODS`."""

from spermjax.interpret.methods import (
    attention,
    attn_lrp,
    baselines,
    chefer2021a,
    grad_cam,
    gradient_attention,
    integrated_gradients,
    part_shapley,
)
from spermjax.interpret.methods.method import METHODS, Method

__all__ = [
    "METHODS",
    "Method",
    "attention",
    "attn_lrp",
    "baselines",
    "chefer2021a",
    "grad_cam",
    "gradient_attention",
    "integrated_gradients",
    "part_shapley",
]
