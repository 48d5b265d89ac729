"""Layers that transformers and convolutional networks share."""

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

dense_init = nn.initializers.lecun_normal()
"""Kernels keep the scale of what they read (LeCun et al. 1998). The 0.02 that large models share is a third of that at
a width of 128, and sine positions of size one then drown what a patch shows."""
embedding_init = nn.initializers.truncated_normal(0.02)
"""Learned tokens, learned positions and the head, which starts close to no opinion."""


FEW_ROWS = 256
"""Up to so many, XLA on a CPU takes longer for a product with a transposed kernel than for laying it out anew."""


@jax.custom_vjp
def affine(
    inputs: Float[Array, "*lead inner"], kernel: Float[Array, "inner out"], bias: Float[Array, "out"]
) -> Float[Array, "*lead out"]:
    """`inputs @ kernel + bias`, whose gradients are three products of matrices.

    What JAX derives by itself is equal, but costs XLA on a CPU up to twice the time: it sums the
    bias's gradient in slices, and the kernel's over rows in several axes or from its wider side.
    """
    return inputs @ kernel + bias


def _affine(inputs: Array, kernel: Array, bias: Array) -> tuple[Array, tuple[Array, Array]]:
    return affine(inputs, kernel, bias), (inputs, kernel)


def _affine_gradients(kept: tuple[Array, Array], message: Array) -> tuple[Array, Array, Array]:
    inputs, kernel = kept
    rows, messages = inputs.reshape(-1, inputs.shape[-1]), message.reshape(-1, message.shape[-1])
    if rows.shape[1] <= messages.shape[1]:
        of_kernel = rows.T @ messages
    else:  # The barrier keeps XLA from turning the product round again.
        of_kernel = jax.lax.optimization_barrier(messages.T @ rows).T
    turned = kernel.T
    if len(messages) <= FEW_ROWS:  # The barrier has XLA lay the kernel out anew instead of reading it across.
        turned = jax.lax.optimization_barrier(turned)
    return message @ turned, of_kernel, column_sums(message)


affine.defvjp(_affine, _affine_gradients)


def column_sums(x: Float[Array, "*lead columns"]) -> Float[Array, "columns"]:
    """Sums over all axes but the last, as a product of matrices: XLA on a CPU is slower at summing."""
    rows = x.reshape(-1, x.shape[-1])
    return jnp.ones(len(rows), rows.dtype) @ rows


class Dense(nn.Module):
    """A linear map with bias over the last axes: `flax.linen.DenseGeneral` through `affine`.

    Attributes:
        features: axes that the map gives.
        axes: how many of the last axes it takes.
        dtype: type of the computation.
    """

    features: int | tuple[int, ...]
    axes: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        lead, inner = x.shape[: -self.axes], x.shape[-self.axes :]
        out = (self.features,) if isinstance(self.features, int) else self.features
        flat = math.prod(inner), math.prod(out)
        kernel = self.param("kernel", lambda key: dense_init(key, flat).reshape(*inner, *out))
        bias = self.param("bias", nn.initializers.zeros, out)
        operands = x.reshape(*lead, flat[0]), kernel.reshape(flat), bias.reshape(flat[1])
        return affine(*(operand.astype(self.dtype) for operand in operands)).reshape(*lead, *out)


@jax.custom_vjp
def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`x` times the normal distribution function at `x` (Hendrycks & Gimpel 2016, section 2).

    Through erf, as PyTorch has it: `jax.nn.gelu` takes erfc, which costs XLA on a CPU three times as much.
    """
    return x * _below(x)


def _below(x: Array) -> Array:
    """The normal distribution function."""
    return 0.5 * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


def _gelu_gradient(x: Array, message: Array) -> tuple[Array]:
    # The barrier keeps XLA from keeping erf for here: to compute it again takes less time than to read it.
    x = jax.lax.optimization_barrier(x)
    return ((_below(x) + x * jnp.exp(-0.5 * x * x) * (2.0 * math.pi) ** -0.5) * message,)


gelu.defvjp(lambda x: (gelu(x), x), _gelu_gradient)


@jax.custom_jvp
def softmax(scores: Float[Array, "*lead keys"]) -> Float[Array, "*lead keys"]:
    """`jax.nn.softmax` over the last axis, whose gradient needs the weights alone, not what they were divided from.

    The gradient's sum is a product: YNNPACK, to which XLA on a CPU gives sums, returns wrong
    numbers for it where many gradients of the same weights are taken at once (JAX 0.10.2).
    """
    if scores.shape[0] == 1:  # An exported model's batch has no number: it is no 1.
        weights = jnp.exp(scores - _greatest(scores))
        return weights / weights.sum(axis=-1, keepdims=True)
    return jax.nn.softmax(scores, axis=-1)


LANES = 16
"""Numbers of single precision in the widest vector of a CPU."""


def _greatest(scores: Float[Array, "*lead keys"]) -> Float[Array, "*lead 1"]:
    """The maximum over the last axis, where YNNPACK is not to find it (`OF_ONE_IMAGE` in `spermjax.kernels`).

    XLA on a CPU compares one number after another. Here the axis is laid on itself, half on half, which
    it does a vector at a time, until that is no longer filled.
    """
    top = jax.lax.stop_gradient(scores)
    while (keys := top.shape[-1]) > LANES:
        half = (keys + 1) // 2
        top = jnp.maximum(top[..., :half], top[..., keys - half :])
    return top.max(axis=-1, keepdims=True)


@softmax.defjvp
def _softmax_slope(at: tuple[Array], change: tuple[Array]) -> tuple[Array, Array]:
    weights = softmax(*at)
    return weights, weights * (change[0] - jnp.einsum("...k,...k->...", weights, change[0])[..., None])


FLAT = 0.01
"""Standard deviation, of intensities in [0, 1], below which an image counts as flat and is not spread further."""


def normalised(
    images: Float[Array, "batch height width 3"],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    per_image: bool,
) -> Float[Array, "batch height width 3"]:
    """Intensities as a network wants them: near zero, of size one.

    Args:
        images: intensities in [0, 1].
        mean: of each colour over a data set.
        std: of each colour over a data set.
        per_image: take each image's own mean and standard deviation over pixels and
            colours instead, which light and focus then no longer move.
    """
    if not per_image:
        return (images - jnp.asarray(mean, images.dtype)) / jnp.asarray(std, images.dtype)
    axes = (1, 2, 3)
    return (images - images.mean(axes, keepdims=True)) / (images.std(axes, keepdims=True) + FLAT)


_FIRST_SLOT: ContextVar[Int[Array, ""] | None] = ContextVar("first_slot", default=None)


@contextlib.contextmanager
def first_slot(slot: Int[Array, ""]) -> Iterator[None]:
    """Says, while a model is applied, where in the global batch its first example stands.

    Without it a model holds what it is given for its device's whole share.
    """
    token = _FIRST_SLOT.set(slot)
    try:
        yield
    finally:
        _FIRST_SLOT.reset(token)


class PerExampleDropout(nn.Module):
    """Dropout whose mask depends on the example's place in the global batch alone.

    An example loses the same values whether the batch lies on one device or is
    spread over eight, so a run does not depend on the number of devices.

    Attributes:
        rate: probability of being set to zero.
        per_channel: drop single values; otherwise drop the example's whole branch
            (stochastic depth, Huang et al. 2016).
        axis_name: the mapped axis that splits the global batch, if there is one.
    """

    rate: float
    per_channel: bool = True
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch ..."], *, train: bool, share: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "batch ..."]:
        """Drops with the probability `share * rate`; `share` may be traced."""
        rate = self.rate * share
        if not train or self.rate == 0.0 or (isinstance(rate, float) and rate == 0.0):
            return x
        first = _FIRST_SLOT.get()
        if first is None:
            first = 0 if self.axis_name is None else jax.lax.axis_index(self.axis_name) * x.shape[0]
        key = self.make_rng("dropout")
        keys = jax.vmap(lambda slot: jax.random.fold_in(key, slot))(first + jnp.arange(x.shape[0]))
        shape = x.shape[1:] if self.per_channel else (1,) * (x.ndim - 1)
        keep = jax.vmap(lambda k: jax.random.bernoulli(k, 1.0 - rate, shape))(keys)
        return jnp.where(keep, x / (1.0 - rate), jnp.zeros_like(x))


class LayerScale(nn.Module):
    """A learned gain per channel on a residual branch (Touvron et al. 2021, eq. 5).

    Attributes:
        init: the gain at the start.
    """

    init: float

    @nn.compact
    def __call__(self, x: Float[Array, "... width"]) -> Float[Array, "... width"]:
        gain = self.param("gain", nn.initializers.constant(self.init), (x.shape[-1],))
        return x * gain.astype(x.dtype)


class Mlp(nn.Module):
    """Two linear maps with an exact GELU between them.

    Attributes:
        hidden: channels between the maps.
        dtype: type of the computation.
    """

    hidden: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "... width"]) -> Float[Array, "... width"]:
        hidden = gelu(Dense(self.hidden, dtype=self.dtype, name="hidden")(x))
        return Dense(x.shape[-1], dtype=self.dtype, name="out")(hidden)
