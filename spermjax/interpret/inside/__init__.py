"""What happens inside a model: readings by layer, heads taken away, activations put in place of others."""

from spermjax.interpret.inside.heads import head_ablation, head_importance
from spermjax.interpret.inside.layers import activation_patching, logit_lens
from spermjax.interpret.inside.specialisation import Specialisation, specialisation

__all__ = [
    "Specialisation",
    "activation_patching",
    "head_ablation",
    "head_importance",
    "logit_lens",
    "specialisation",
]
