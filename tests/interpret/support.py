"""What the tests of explanations share: a tolerance, and a transformer that is not ours."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from spermjax.models.attention.contract import ATTENTION, FEATURES, AttentionSpec, tap


def close_to_maximum(actual, expected, tolerance=1e-5):
    """Equal within a share of the largest expected value of each map."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=tolerance * np.nanmax(np.abs(expected)))


def stored(archive, start):
    """The array whose key starts so; keys end in the reference's settings, or in the shape of their arrays."""
    [key] = [key for key in archive if key.startswith(start)]
    return archive[key]


class ForeignBlock(nn.Module):
    """Single-purpose attention block that only fills the contract."""

    heads: int

    @nn.compact
    def __call__(self, x, mask):
        y = tap(self, FEATURES, "norm1", nn.LayerNorm()(x))
        width = x.shape[-1]
        query, key, value = (nn.DenseGeneral((self.heads, width // self.heads))(y) for _ in range(3))
        scores = jnp.einsum("bqhc,bkhc->bhqk", query, key)
        weights = tap(self, ATTENTION, "weights", jax.nn.softmax(jnp.where(mask[:, None, None], scores, -1e30)))
        x = x + nn.DenseGeneral(width, axis=(-2, -1))(jnp.einsum("bhqk,bkhc->bqhc", weights, value))
        return tap(self, FEATURES, "output", x + nn.Dense(width)(nn.tanh(nn.Dense(width)(x))))


class Foreign(nn.Module):
    """A transformer that shares no code with `spermjax.models` but the contract."""

    prefix: int = 1
    reads: str = "class_token"
    positions: bool = True
    width: int = 16
    patch: int = 4
    depth: int = 2

    def attention_spec(self, size):
        return AttentionSpec(self.prefix, (size[0] // self.patch, size[1] // self.patch), reads=self.reads)

    @nn.compact
    def __call__(self, images, token_mask=None):
        batch, height, width, _ = images.shape
        p = self.patch
        x = images.reshape(batch, height // p, p, width // p, p, 3).swapaxes(2, 3).reshape(batch, -1, p * p * 3)
        x = nn.Dense(self.width)(x)
        if token_mask is None:
            token_mask = jnp.ones(x.shape[:2], bool)
        if self.positions:
            x = x + self.param("positions", nn.initializers.normal(0.5), x.shape[1:])
        first = self.param("prefix", nn.initializers.normal(1.0), (self.prefix, self.width))
        x = jnp.concatenate([jnp.broadcast_to(first, (batch, *first.shape)), x], axis=1)
        mask = jnp.concatenate([jnp.ones((batch, self.prefix), bool), token_mask], axis=1)
        for layer in range(self.depth):
            x = ForeignBlock(heads=2, name=f"layer{layer}")(x, mask)
        x = nn.LayerNorm()(x)
        pooled = x[:, 0] if self.reads == "class_token" else x[:, self.prefix :].mean(1, where=token_mask[..., None])
        return nn.Dense(3)(pooled)
