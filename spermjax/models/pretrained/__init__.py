"""Published weights, read without pickle, nothing missing or left over in silence."""

from spermjax.models.pretrained.load import load_weights

__all__ = ["load_weights"]
