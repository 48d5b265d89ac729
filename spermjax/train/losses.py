"""What a classifier is trained on, as sums over examples and their normalisers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from spermjax.config import Loss
from spermjax.data.task import Task


def targets_of(
    task: Task, label: Int[Array, "batch *attributes"], smoothing: float
) -> tuple[Float[Array, "batch outputs"], Bool[Array, "batch outputs"]]:
    """Labels as probabilities, one per logit, with label smoothing (Szegedy et al. 2016).

    Args:
        task: what the logits mean.
        label: the class, or 0, 1 or -1 (missing) for each attribute.
        smoothing: share of the probability that is spread evenly over the answers.

    Returns:
        The probabilities, and which of them are known.
    """
    if task.kind == "single_label":
        soft = optax.smooth_labels(jax.nn.one_hot(label, task.num_outputs), smoothing)
        return soft, jnp.ones_like(soft, bool)
    soft = jnp.where(label == 1, 1.0, 0.0) * (1.0 - smoothing) + 0.5 * smoothing
    return soft, label >= 0


def classification_loss(
    task: Task,
    logits: Float[Array, "batch outputs"],
    soft: Float[Array, "batch outputs"],
    known: Bool[Array, "batch outputs"],
    weights: Float[Array, "outputs sides"],
    focal: float = 0.0,
) -> tuple[Float[Array, "batch"], Float[Array, "batch"]]:
    """Weighted cross-entropy of each example, and its normaliser.

    Softmax cross-entropy for classes; the sum over known attributes of the binary
    cross-entropy otherwise. The loss of a batch is the ratio of the two sums.

    The focal loss (Lin et al. 2017, equation 4) multiplies each term -log(p) by
    (1 - p)^gamma; for classes p is the softmax, and a soft target takes the sum over
    classes. The normaliser stays that of the cross-entropy.

    Args:
        task: what the logits mean.
        logits: scores.
        soft: probability wanted of each output.
        known: which of them count.
        weights: `[classes, 1]`, or `[attributes, 2]` for normal and abnormal.
        focal: gamma of the focal loss; 0 is the cross-entropy.

    Returns:
        Loss and normaliser of each example.
    """
    if task.kind == "single_label":
        log_probability = jax.nn.log_softmax(logits)
        weighted = soft * weights[:, 0]
        normaliser = weighted.sum(-1)
        if focal:
            weighted = weighted * jnp.exp(focal * _log_of_rest(logits))
        return -(weighted * log_probability).sum(-1), normaliser
    weighted_normal = (1.0 - soft) * weights[:, 0] * known
    weighted_abnormal = soft * weights[:, 1] * known
    normaliser = (weighted_normal + weighted_abnormal).sum(-1)
    log_normal, log_abnormal = jax.nn.log_sigmoid(-logits), jax.nn.log_sigmoid(logits)
    if focal:
        weighted_normal = weighted_normal * jnp.exp(focal * log_abnormal)
        weighted_abnormal = weighted_abnormal * jnp.exp(focal * log_normal)
    return -(weighted_normal * log_normal + weighted_abnormal * log_abnormal).sum(-1), normaliser


def _log_of_rest(logits: Float[Array, "batch classes"]) -> Float[Array, "batch classes"]:
    """log(1 - p) of each class, from the other classes' logits, so that it is finite where p rounds to 1."""
    others = ~jnp.eye(logits.shape[-1], dtype=bool)
    rest = jax.nn.logsumexp(jnp.broadcast_to(logits[:, None], (len(logits), *others.shape)), axis=-1, where=others)
    return rest - jax.nn.logsumexp(logits, axis=-1, keepdims=True)


def classification_normaliser(
    task: Task,
    soft: Float[Array, "batch outputs"],
    known: Bool[Array, "batch outputs"],
    weights: Float[Array, "outputs sides"],
) -> Float[Array, "batch"]:
    """The normaliser of `classification_loss`, known before there are any logits."""
    return classification_loss(task, jnp.zeros_like(soft), soft, known, weights)[1]


def class_weights(task: Task, label: Int[np.ndarray, "n *attributes"], config: Loss) -> np.ndarray:
    """Weights that give rare classes, or the rarer side of an attribute, a larger say.

    `balanced` takes 1 / n for a class of n examples, `effective` the inverse of the
    effective number of examples, (1 - beta) / (1 - beta^n) (Cui et al. 2019, equation 3).

    Args:
        task: what the labels mean.
        label: labels of the training split; -1 is missing.
        config: which weights.

    Returns:
        `float32[classes, 1]`, or `float32[attributes, 2]`; the mean weight of an
        example is one, and a side without examples weighs nothing.
    """
    if task.kind == "single_label":
        counts = np.bincount(label, minlength=task.num_outputs)[:, None]
    else:
        counts = np.stack([(label == side).sum(axis=0) for side in (0, 1)], axis=1)
    if config.class_weights == "none":
        return np.ones(counts.shape, np.float32)
    number = counts.astype(float)
    if config.class_weights == "effective":
        number = (1.0 - config.effective_beta**number) / (1.0 - config.effective_beta)
    inverse = np.divide(1.0, number, out=np.zeros(counts.shape), where=counts > 0)
    axis = 0 if task.kind == "single_label" else 1
    mean = (counts * inverse).sum(axis, keepdims=True) / counts.sum(axis, keepdims=True).clip(1)
    return np.divide(inverse, mean, out=np.zeros(counts.shape), where=mean > 0).astype(np.float32)
