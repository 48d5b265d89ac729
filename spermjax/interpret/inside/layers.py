"""Tokens between blocks: read early, or replaced by another image's."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from spermjax.interpret.model import Variables, attention_spec
from spermjax.interpret.program import trace_model
from spermjax.models.attention.contract import FEATURES


def logit_lens(
    model: Any, variables: Variables, images: Float[Array, "batch height width 3"]
) -> Float[Array, "layers batch outputs"]:
    """Logits if each block's tokens were the last (nostalgebraist 2020).

    The model's own final norm, pooling and head read them; the last layer's are the
    model's logits.

    Args:
        model: fills the contract of `spermjax.models.attention.contract`.
        variables: its parameters and state.
        images: intensities in [0, 1].
    """
    program, values, slots = trace_model(model, variables, images, (FEATURES,))
    outputs = slots.layers(FEATURES, "output")

    def read(tokens: Float[Array, "batch tokens width"]) -> Float[Array, "batch outputs"]:
        return program.replay(values, {outputs[-1]: tokens}, [slots.logits])[0]

    return jax.vmap(read)(jnp.stack([values[slot] for slot in outputs]))


def activation_patching(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    donors: Float[Array, "batch height width 3"],
    tokens: Literal["all", "prefix", "patches"] = "all",
) -> Float[Array, "layers batch outputs"]:
    """Logits of each image if, after one block, tokens were those of its donor (Meng et al. 2022, section 2).

    Args:
        model: fills the contract of `spermjax.models.attention.contract`.
        variables: its parameters and state.
        images: intensities in [0, 1], whose computation goes on.
        donors: images whose tokens are put in.
        tokens: which: all, those before the patches, or the patches.
    """
    prefix = attention_spec(model, images).prefix
    program, values, slots = trace_model(model, variables, images, (FEATURES,))
    given = program.run(donors)
    patched = []
    for slot in slots.layers(FEATURES, "output"):
        places = jnp.arange(values[slot].shape[1])
        chosen = {"all": places >= 0, "prefix": places < prefix, "patches": places >= prefix}[tokens]
        changed = jnp.where(chosen[:, None], given[slot], values[slot])
        patched.append(program.replay(values, {slot: changed}, [slots.logits])[0])
    return jnp.stack(patched)
