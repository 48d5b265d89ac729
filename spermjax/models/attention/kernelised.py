"""Attention through a kernel: weights are products of positive features, so sums over keys can be shared."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from spermjax.models.attention.base import Given, SelfAttention
from spermjax.models.attention.contract import ATTENTION, asked_for

Features = Float[Array, "batch heads tokens features"]


def kernel_weights(query: Features, key: Features) -> Float[Array, "batch heads tokens tokens"]:
    """Effective weights: products of features over their sum along each row."""
    products = jnp.einsum("bhqf,bhkf->bhqk", query, key, preferred_element_type=jnp.float32)
    return products / jnp.maximum(products.sum(-1, keepdims=True), 1e-30)


def kernel_mix(
    query: Features, key: Features, value: Float[Array, "batch heads tokens channels"]
) -> Float[Array, "batch heads tokens channels"]:
    """`kernel_weights @ value`, linear in the number of tokens (Katharopoulos et al. 2020, eq. 5)."""
    memory = jnp.einsum("bhkf,bhkc->bhfc", key, value, preferred_element_type=jnp.float32)
    total = jnp.einsum("bhqf,bhf->bhq", query, key.sum(2), preferred_element_type=jnp.float32)
    mixed = jnp.einsum("bhqf,bhfc->bhqc", query, memory, preferred_element_type=jnp.float32)
    return (mixed / jnp.maximum(total, 1e-30)[..., None]).astype(value.dtype)


class KernelisedAttention(SelfAttention):
    """Attention by positive features of queries and keys.

    Where somebody looks at the weights they are computed, `[tokens, tokens]`, and used;
    otherwise they never exist.
    """

    def feature_maps(
        self, query: Features, key: Features, mask: Bool[Array, "batch tokens"] | None
    ) -> tuple[Features, Features]:
        """Positive features, in float32; those of masked keys are set to zero afterwards."""
        raise NotImplementedError

    def _features(self, given: Given) -> tuple[Features, Features]:
        query, key = self.feature_maps(given.query.astype(jnp.float32), given.key.astype(jnp.float32), given.mask)
        return query, key if given.mask is None else jnp.where(given.mask[:, None, :, None], key, 0.0)

    def weights(self, given: Given) -> Float[Array, "batch heads tokens tokens"]:
        """Effective weights."""
        return kernel_weights(*self._features(given))

    def mix(
        self, given: Given, value: Float[Array, "batch heads tokens channels"]
    ) -> Float[Array, "batch heads tokens channels"]:
        """The weighted sums of values, in linear time where nobody looks at the weights."""
        if asked_for(self, ATTENTION, "weights"):
            return super().mix(given, value)
        return kernel_mix(*self._features(given), value)
