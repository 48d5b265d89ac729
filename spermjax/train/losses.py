"""What a classifier is trained on, as sums over examples and their normalisers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

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
) -> tuple[Float[Array, "batch"], Float[Array, "batch"]]:
    """Weighted cross-entropy of each example, and its normaliser.

    Softmax cross-entropy for classes; the sum over known attributes of the binary
    cross-entropy otherwise. The loss of a batch is the ratio of the two sums.

    Args:
        task: what the logits mean.
        logits: scores.
        soft: probability wanted of each output.
        known: which of them count.
        weights: `[classes, 1]`, or `[attributes, 2]` for normal and abnormal.

    Returns:
        Loss and normaliser of each example.
    """
    if task.kind == "single_label":
        log_probability = jax.nn.log_softmax(logits)
        weighted = soft * weights[:, 0]
        return -(weighted * log_probability).sum(-1), weighted.sum(-1)
    weighted_normal = (1.0 - soft) * weights[:, 0] * known
    weighted_abnormal = soft * weights[:, 1] * known
    loss = -(weighted_normal * jax.nn.log_sigmoid(-logits) + weighted_abnormal * jax.nn.log_sigmoid(logits))
    return loss.sum(-1), (weighted_normal + weighted_abnormal).sum(-1)


def class_weights(task: Task, label: Int[np.ndarray, "n *attributes"], balanced: bool) -> np.ndarray:
    """Weights that give every class, or both sides of every attribute, an equal say.

    Args:
        task: what the labels mean.
        label: labels of the training split; -1 is missing.
        balanced: whether to weigh by inverse frequency; otherwise all weights are one.

    Returns:
        `float32[classes, 1]`, or `float32[attributes, 2]`; the mean weight of an
        example is one, and a side without examples weighs nothing.
    """
    if task.kind == "single_label":
        counts = np.bincount(label, minlength=task.num_outputs)[:, None]
        total = counts.sum(keepdims=True)
    else:
        counts = np.stack([(label == side).sum(axis=0) for side in (0, 1)], axis=1)
        total = counts.sum(axis=1, keepdims=True)
    if not balanced:
        return np.ones(counts.shape, np.float32)
    present = (counts > 0).sum() if task.kind == "single_label" else (counts > 0).sum(axis=1, keepdims=True)
    return np.divide(total, counts * present, out=np.zeros(counts.shape), where=counts > 0).astype(np.float32)
