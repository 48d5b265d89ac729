"""Losses on an explanation instead of on attention: being right for the right reasons.

Pure functions of gradients, maps and masks, one value per example, for a loss of one's
own; `spermjax.train.attention_losses` has those that `--guidance.loss` names. An
example whose mask is empty has nothing to be guided to: leave it out.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from spermjax.interpret.model import Variables, select


def log_probability_gradient(
    model: Any, variables: Variables, images: Float[Array, "batch height width 3"]
) -> Float[Array, "batch height width 3"]:
    """Gradient of the sum of all classes' log-probabilities with respect to the image."""
    return jax.grad(lambda x: jax.nn.log_softmax(model.apply(variables, x)).sum())(images)


def squared_gradient_outside(
    gradient: Float[Array, "batch height width 3"], mask: Bool[Array, "batch height width"]
) -> Float[Array, "batch"]:
    """Right for the right reasons (Ross, Hughes & Doshi-Velez 2017, equation 1, second term).

    Args:
        gradient: of `log_probability_gradient`; its scale follows that of the images.
        mask: where the model may look.

    Returns:
        Sum of squared gradients outside the mask.
    """
    return jnp.where(mask[..., None], 0.0, jnp.square(gradient)).sum((1, 2, 3))


def absolute_gradient_outside(
    gradient: Float[Array, "batch height width 3"], mask: Bool[Array, "batch height width"]
) -> Float[Array, "batch"]:
    """Suppression of GALS (Petryk et al. 2022): mean absolute gradient, zero inside the mask.

    Args:
        gradient: of each example's classification loss with respect to its image.
        mask: where the model may look.
    """
    return jnp.where(mask[..., None], 0.0, jnp.abs(gradient)).mean((1, 2, 3))


def erase(
    images: Float[Array, "batch height width 3"],
    maps: Float[Array, "batch height width"],
    *,
    sharpness: float = 10.0,
    threshold: float = 0.5,
    fill: float = 0.5,
) -> Float[Array, "batch height width 3"]:
    """Fades out what a map points at (Li et al. 2018, equations 3 and 4).

    Args:
        images: intensities in [0, 1].
        maps: from 0 to 1.
        sharpness: slope of the soft threshold.
        threshold: value of the map at which a pixel is half gone.
        fill: what is there instead; mid-grey is zero after the usual normalisation.
    """
    gone = jax.nn.sigmoid(sharpness * (maps - threshold))[..., None]
    return images + gone * (fill - images)


def attention_mining(
    model: Any,
    variables: Variables,
    images: Float[Array, "batch height width 3"],
    targets: Int[Array, "batch"],
    maps: Float[Array, "batch height width"],
    **options: float,
) -> Float[Array, "batch"]:
    """GAIN's attention mining (Li et al. 2018, equation 5): probability that is left after `erase`."""
    return select(jax.nn.softmax(model.apply(variables, erase(images, maps, **options))), targets)


def pairwise_ranking(
    scores: Float[Array, "batch patches"], coverage: Float[Array, "batch patches"]
) -> Float[Array, "batch"]:
    """HINT (Selvaraju et al. 2019): by how much scores contradict the order of coverage.

    Returns:
        Sum over pairs of patches of `relu(s_j - s_i)` where `i` is covered more than `j`.
    """
    more = coverage[:, :, None] > coverage[:, None, :]
    return jnp.where(more, jax.nn.relu(scores[:, None, :] - scores[:, :, None]), 0.0).sum((1, 2))


@flax.struct.dataclass
class RobustViT:
    """Terms of `robust_vit`, one value per example."""

    background: Float[Array, "batch"]
    foreground: Float[Array, "batch"]
    confidence: Float[Array, "batch"]

    @property
    def localisation(self) -> Float[Array, "batch"]:
        """The terms of the relevance, with the published weights (2 and .3)."""
        return 2.0 * self.background + 0.3 * self.foreground

    @property
    def total(self) -> Float[Array, "batch"]:
        """The sum with the published weights (.8 and .2)."""
        return 0.8 * self.localisation + 0.2 * self.confidence


def robust_vit(
    relevance: Float[Array, "batch height width"],
    mask: Bool[Array, "batch height width"],
    logits: Float[Array, "batch outputs"],
) -> RobustViT:
    """Relevance to the mask, none to the background, and no less confidence (Chefer, Schwartz & Wolf 2022).

    Args:
        relevance: scaled from 0 to 1 in each example; they take that of `chefer2021b`,
            and in training hold constant the gradient that weights attention there.
        mask: the object.
        logits: of the model; its own prediction is the label.
    """
    wanted = mask.astype(relevance.dtype)
    return RobustViT(
        background=jnp.square(relevance * (1.0 - wanted)).mean((1, 2)),
        foreground=jnp.square(relevance * wanted - wanted).mean((1, 2)),
        confidence=optax.softmax_cross_entropy_with_integer_labels(logits, logits.argmax(-1)),
    )
