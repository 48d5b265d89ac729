"""Published weights, read without pickle, nothing missing or left over in silence."""

from spermjax.models.pretrained.load import load_vit

__all__ = ["load_vit"]
