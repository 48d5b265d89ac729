"""Attention variants by name; each fills the contract of `contract.py`."""

from spermjax.models.attention import softmax
from spermjax.registry import Registry

VARIANTS: Registry = Registry("attention variant")
VARIANTS.register("softmax")(softmax.SoftmaxAttention)
