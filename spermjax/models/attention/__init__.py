"""Attention variants by name; each fills the contract of `contract.py`."""

from spermjax.models.attention.alibi import AlibiAttention
from spermjax.models.attention.axial import AxialAttention
from spermjax.models.attention.base import SelfAttention
from spermjax.models.attention.class_attention import ClassAttention
from spermjax.models.attention.cosine import CosineAttention
from spermjax.models.attention.differential import DifferentialAttention
from spermjax.models.attention.entmax15 import Entmax15Attention
from spermjax.models.attention.gated import GatedAttention
from spermjax.models.attention.linear import LinearAttention
from spermjax.models.attention.locality import LocalityAttention
from spermjax.models.attention.part_query import PartQueryAttention
from spermjax.models.attention.performer import PerformerAttention
from spermjax.models.attention.rotary import RotaryAttention
from spermjax.models.attention.sigmoid import SigmoidAttention
from spermjax.models.attention.softmax import SoftmaxAttention
from spermjax.models.attention.sparsemax import SparsemaxAttention
from spermjax.models.attention.talking_heads import TalkingHeadsAttention
from spermjax.models.attention.window import WindowAttention
from spermjax.registry import Registry

VARIANTS: Registry[type[SelfAttention]] = Registry("attention variant")
VARIANTS.register("softmax")(SoftmaxAttention)
VARIANTS.register("cosine")(CosineAttention)
VARIANTS.register("talking_heads")(TalkingHeadsAttention)
VARIANTS.register("gated")(GatedAttention)
VARIANTS.register("differential")(DifferentialAttention)
VARIANTS.register("sigmoid")(SigmoidAttention)
VARIANTS.register("sparsemax")(SparsemaxAttention)
VARIANTS.register("entmax15")(Entmax15Attention)
VARIANTS.register("linear")(LinearAttention)
VARIANTS.register("performer")(PerformerAttention)
VARIANTS.register("window")(WindowAttention)
VARIANTS.register("axial")(AxialAttention)
VARIANTS.register("rotary")(RotaryAttention)
VARIANTS.register("alibi")(AlibiAttention)
VARIANTS.register("locality")(LocalityAttention)
VARIANTS.register("class_attention")(ClassAttention)
VARIANTS.register("part_query")(PartQueryAttention)
