"""Explanation methods, by name in `METHODS`."""

from spermjax.interpret.methods import (
    attention,
    baselines,
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
    "baselines",
    "grad_cam",
    "gradient_attention",
    "integrated_gradients",
    "part_shapley",
]
