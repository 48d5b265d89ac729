"""Performer attention: softmax attention by positive random features (FAVOR+)."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from spermjax.models.attention.kernelised import KernelisedAttention


def orthogonal_directions(features: int, channels: int, seed: int) -> Float[np.ndarray, "features channels"]:
    """Gaussian directions, orthogonal within each block of `channels` (Choromanski et al. 2021, section 2.4)."""
    rng = np.random.default_rng(seed)
    blocks, triangles = np.linalg.qr(rng.normal(size=(-(-features // channels), channels, channels)))
    # Without the signs, the orthogonal matrices are not uniform and the features are biased (Mezzadri 2007).
    blocks = blocks * np.sign(np.diagonal(triangles, axis1=1, axis2=2))[:, None]
    lengths = np.linalg.norm(rng.normal(size=(features, channels)), axis=1, keepdims=True)
    return (blocks.reshape(-1, channels)[:features] * lengths).astype(np.float32)


def positive_features(
    x: Float[Array, "batch heads tokens channels"], directions: Float[np.ndarray, "features channels"], axes
) -> Float[Array, "batch heads tokens features"]:
    """exp(w x - |x|^2 / 2), up to a factor that is the same over `axes` (Choromanski et al. 2021, lemma 1).

    With x = q / c^(1/4), products of such features have the mean exp(q k / sqrt(c)).
    """
    exponents = x @ directions.T - jnp.square(x).sum(-1, keepdims=True) / 2
    return jnp.exp(exponents - exponents.max(axes, keepdims=True))


class PerformerAttention(KernelisedAttention):
    """FAVOR+, softmax attention approximated by positive orthogonal random features (Choromanski et al. 2021).

    The directions are drawn once from the seed and are the same in every layer and
    run, so that logits are a function of the parameters alone. The captured weights
    are those that the features give, not those of the softmax that they approximate.

    Attributes:
        features: random features of a head.
        seed: of the directions.
    """

    features: int = 64
    seed: int = 0

    def feature_maps(self, query, key, mask):
        """Features of queries and keys scaled by c^(-1/4)."""
        scale = query.shape[-1] ** -0.25
        directions = orthogonal_directions(self.features, query.shape[-1], self.seed)
        # A query's factor cancels in its row; a key's only where all keys share it.
        query = positive_features(query * scale, directions, (3,))
        key = key if mask is None else jnp.where(mask[:, None, :, None], key, 0.0)
        return query, positive_features(key * scale, directions, (2, 3))

    @classmethod
    def problems(cls, channels: int, options: Mapping[str, Any]) -> Iterable[str]:
        """There is at least one feature."""
        if options.get("features", 1) < 1:
            yield f"features is {options['features']}; it must be 1 or more"
