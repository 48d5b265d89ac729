"""Gradients of the target logit with respect to pixels."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from spermjax.interpret.chunks import in_one_batch, steps_at_once, sum_in_chunks
from spermjax.interpret.methods.method import Method, register
from spermjax.interpret.model import Variables, score

Pixels = Float[Array, "batch height width 3"]


def pixel_gradient(model: Any, variables: Variables, images: Pixels, targets: Int[Array, "batch"]) -> Pixels:
    """Signed gradient by each colour of each pixel, per unit of intensity."""
    gradient = jax.grad(lambda variables, images, targets: score(model, variables, images, targets).sum(), argnums=1)
    return in_one_batch(gradient)(variables, images, targets)


def saliency(
    model: Any, variables: Variables, images: Pixels, targets: Int[Array, "batch"]
) -> Float[Array, "batch height width"]:
    """The largest magnitude of the gradient over colours (Simonyan et al. 2014, section 3.1)."""
    return jnp.abs(pixel_gradient(model, variables, images, targets)).max(axis=-1)


def input_x_gradient(
    model: Any, variables: Variables, images: Pixels, targets: Int[Array, "batch"], *, baseline: float = 0.5
) -> Float[Array, "batch height width"]:
    """Distance from the baseline times gradient, summed over colours, signed (Shrikumar et al. 2016).

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        baseline: intensity that counts as zero; the default is mid-grey.
    """
    return ((images - baseline) * pixel_gradient(model, variables, images, targets)).sum(axis=-1)


def mean_gradient(
    model: Any,
    variables: Variables,
    images: Pixels,
    targets: Int[Array, "batch"],
    noise: Callable[[Int[Array, ""]], Pixels],
    samples: int,
    chunk: int,
) -> Pixels:
    """The mean of `pixel_gradient` at `images + noise(sample)`, signed."""

    def of_sample(sample: Int[Array, ""]) -> Pixels:
        return pixel_gradient(model, variables, images + noise(sample), targets)

    return sum_in_chunks(of_sample, samples, steps_at_once(len(images), chunk)) / samples


def smooth_grad(
    model: Any,
    variables: Variables,
    images: Pixels,
    targets: Int[Array, "batch"],
    *,
    index: Int[Array, "batch"],
    samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
    chunk: int = 64,
) -> Float[Array, "batch height width"]:
    """SmoothGrad (Smilkov et al. 2017, eq. 3): the mean gradient of noisy copies, its largest magnitude over colours.

    Args:
        model: what is explained.
        variables: its parameters and state.
        images: intensities in [0, 1].
        targets: index of the logit to explain, per example.
        index: the example's number in its data set, which its noise depends on.
        samples: noisy copies.
        noise: standard deviation as a share of the range of the image's intensities.
        seed: of all examples' noise.
        chunk: images in one backward pass (at least the batch): bounds the memory.
    """
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), index)
    axes = (1, 2, 3)
    sigma = noise * (images.max(axis=axes, keepdims=True) - images.min(axis=axes, keepdims=True))

    def draw(sample: Int[Array, ""]) -> Pixels:
        return sigma * jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, sample), images.shape[1:]))(keys)

    return jnp.abs(mean_gradient(model, variables, images, targets, draw, samples, chunk)).max(axis=-1)


_GRADIENTS = frozenset({"gradients"})
register(Method("saliency", saliency, "Simonyan et al. 2014", forward=1, backward=1, needs=_GRADIENTS))
register(Method("input_x_gradient", input_x_gradient, "Shrikumar et al. 2016", forward=1, backward=1, needs=_GRADIENTS))
register(
    Method(
        "smooth_grad",
        smooth_grad,
        "Smilkov et al. 2017",
        forward=50,
        backward=50,
        needs=_GRADIENTS | {"index", "chunk"},
    )
)
