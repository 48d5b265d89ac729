"""Witnesses: scikit-learn's log loss and balanced class weights, torchvision's focal loss, and the papers' formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from spermjax.config import Loss
from spermjax.data.task import Task
from spermjax.train.losses import class_weights, classification_loss, targets_of

CLASSES = Task("single_label", ("a", "b", "c"))
ATTRIBUTES = Task("multi_attribute", ("x", "y"))


BALANCED = Loss(class_weights="balanced")


def loss(task, logits, label, weights, smoothing=0.0, focal=0.0):
    soft, known = targets_of(task, jnp.asarray(label), smoothing)
    logits = jnp.asarray(logits, jnp.float32)
    value, normaliser = classification_loss(task, logits, soft, known, jnp.asarray(weights), focal)
    return float(value.sum() / normaliser.sum())


@pytest.mark.parametrize("balanced", [False, True])
def test_classes(balanced):
    rng = np.random.default_rng(0)
    logits, label = rng.normal(size=(50, 3)), rng.choice(3, 50, p=[0.7, 0.2, 0.1])
    weights = class_weights(CLASSES, label, BALANCED if balanced else Loss())
    if balanced:
        expected = compute_class_weight("balanced", classes=np.arange(3), y=label)
        np.testing.assert_allclose(weights[:, 0], expected, rtol=1e-6)
    witness = log_loss(label, softmax(logits, axis=1), sample_weight=weights[label, 0])
    np.testing.assert_allclose(loss(CLASSES, logits, label, weights), witness, rtol=1e-5)


def test_attributes_leave_missing_labels_out():
    rng = np.random.default_rng(1)
    logits, label = rng.normal(size=(40, 2)), rng.integers(-1, 2, (40, 2))
    weights = class_weights(ATTRIBUTES, label, BALANCED)
    known = label >= 0
    sides = np.take_along_axis(np.broadcast_to(weights, (40, 2, 2)), np.maximum(label, 0)[..., None], axis=2)[..., 0]
    witness = log_loss(label[known], expit(logits[known]), sample_weight=sides[known])
    np.testing.assert_allclose(loss(ATTRIBUTES, logits, label, weights), witness, rtol=1e-5)
    changed = logits.copy()
    changed[~known] += 5.0
    assert loss(ATTRIBUTES, changed, label, weights) == loss(ATTRIBUTES, logits, label, weights)


def test_absent_class_weighs_nothing_and_others_stay_balanced():
    weights = class_weights(CLASSES, np.array([0, 0, 0, 2]), BALANCED)[:, 0]
    assert weights[1] == 0
    np.testing.assert_allclose(weights[0] * 3, weights[2] * 1)


def test_label_smoothing_spreads_its_share():
    soft, _ = targets_of(CLASSES, jnp.array([1]), 0.3)
    np.testing.assert_allclose(soft, [[0.1, 0.8, 0.1]], rtol=1e-6)
    soft, _ = targets_of(ATTRIBUTES, jnp.array([[1, 0]]), 0.2)
    np.testing.assert_allclose(soft, [[0.9, 0.1]], rtol=1e-6)


def test_effective_number_weights_are_the_paper_s():
    """Cui et al. 2019, equation 3, up to the scale: 1 / E_n with E_n the sum of beta^i for i < n."""
    label = np.repeat([0, 1, 2], [100, 10, 1])
    beta = 0.98
    weights = class_weights(CLASSES, label, Loss(class_weights="effective", effective_beta=beta))[:, 0]
    expected = np.array([1.0 / sum(beta**i for i in range(count)) for count in (100, 10, 1)])
    np.testing.assert_allclose(weights / weights[2], expected / expected[2], rtol=1e-5)
    np.testing.assert_allclose(weights[label].mean(), 1.0, rtol=1e-6)


@pytest.mark.parametrize(("task", "shape"), [(CLASSES, (60,)), (ATTRIBUTES, (60, 2))])
def test_effective_numbers_lie_between_no_and_balanced_weights(task, shape):
    label = np.random.default_rng(0).choice([-1, 0, 1] if len(shape) > 1 else [0, 1, 2], shape, p=[0.1, 0.7, 0.2])
    near = class_weights(task, label, Loss(class_weights="effective", effective_beta=1 - 1e-9))
    np.testing.assert_allclose(near, class_weights(task, label, BALANCED), rtol=1e-4)
    np.testing.assert_allclose(class_weights(task, label, Loss(class_weights="effective", effective_beta=0.0)), 1.0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([0.5, 2.0]))
def test_focal_loss_is_the_paper_s(seed, gamma):
    """Lin et al. 2017, equation 4, in double precision."""
    rng = np.random.default_rng(seed)
    logits, label = rng.normal(scale=3, size=(20, 3)), rng.integers(0, 3, 20)
    log_p = log_softmax(logits, axis=1)[np.arange(20), label]
    expected = np.mean(-((1 - np.exp(log_p)) ** gamma) * log_p)
    np.testing.assert_allclose(loss(CLASSES, logits, label, np.ones((3, 1)), focal=gamma), expected, rtol=1e-4)
    logits, label = rng.normal(scale=3, size=(20, 2)), rng.integers(0, 2, (20, 2))
    p = expit(np.where(label == 1, logits, -logits))
    expected = np.mean(-((1 - p) ** gamma) * np.log(p))
    np.testing.assert_allclose(loss(ATTRIBUTES, logits, label, np.ones((2, 2)), focal=gamma), expected, rtol=1e-4)


def test_focal_loss_is_torchvision_s():
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    rng = np.random.default_rng(0)
    logits, label = rng.normal(scale=3, size=(30, 2)), rng.integers(0, 2, (30, 2))
    expected = ops.sigmoid_focal_loss(
        torch.tensor(logits), torch.tensor(label * 1.0), alpha=-1, gamma=2, reduction="mean"
    )
    np.testing.assert_allclose(loss(ATTRIBUTES, logits, label, np.ones((2, 2)), focal=2.0), float(expected), rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("task", [CLASSES, ATTRIBUTES])
def test_gradients_of_the_focal_loss_are_finite_where_probabilities_round_to_nothing_and_to_one(task, gamma):
    if task is CLASSES:
        label, sides = jnp.arange(3).repeat(3), jnp.ones((3, 1))
        logits = jnp.tile(2 * jnp.eye(3) - 1, (3, 1))
    else:
        label, sides = jnp.array([[0, 1], [1, 0], [1, 1]]), jnp.ones((2, 2))
        logits = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]])
    soft, known = targets_of(task, label, 0.1)

    @jax.jit
    @jax.value_and_grad
    def total(logits):
        return classification_loss(task, logits, soft, known, sides, gamma)[0].sum()

    for scale in (1.0, 1e2, 1e4):
        value, gradient = total(scale * logits)
        assert np.isfinite(value) and np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0.1  # What is surely wrong is still corrected.
