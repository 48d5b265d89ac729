"""Witnesses: scikit-learn's log loss and balanced class weights."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from spermjax.data.task import Task
from spermjax.train.losses import class_weights, classification_loss, targets_of

CLASSES = Task("single_label", ("a", "b", "c"))
ATTRIBUTES = Task("multi_attribute", ("x", "y"))


def loss(task, logits, label, weights, smoothing=0.0):
    soft, known = targets_of(task, jnp.asarray(label), smoothing)
    value, normaliser = classification_loss(task, jnp.asarray(logits, jnp.float32), soft, known, jnp.asarray(weights))
    return float(value.sum() / normaliser.sum())


@pytest.mark.parametrize("balanced", [False, True])
def test_classes(balanced):
    rng = np.random.default_rng(0)
    logits, label = rng.normal(size=(50, 3)), rng.choice(3, 50, p=[0.7, 0.2, 0.1])
    weights = class_weights(CLASSES, label, balanced)
    if balanced:
        expected = compute_class_weight("balanced", classes=np.arange(3), y=label)
        np.testing.assert_allclose(weights[:, 0], expected, rtol=1e-6)
    witness = log_loss(label, softmax(logits, axis=1), sample_weight=weights[label, 0])
    np.testing.assert_allclose(loss(CLASSES, logits, label, weights), witness, rtol=1e-5)


def test_attributes_leave_missing_labels_out():
    rng = np.random.default_rng(1)
    logits, label = rng.normal(size=(40, 2)), rng.integers(-1, 2, (40, 2))
    weights = class_weights(ATTRIBUTES, label, balanced=True)
    known = label >= 0
    sides = np.take_along_axis(np.broadcast_to(weights, (40, 2, 2)), np.maximum(label, 0)[..., None], axis=2)[..., 0]
    witness = log_loss(label[known], expit(logits[known]), sample_weight=sides[known])
    np.testing.assert_allclose(loss(ATTRIBUTES, logits, label, weights), witness, rtol=1e-5)
    changed = logits.copy()
    changed[~known] += 5.0
    assert loss(ATTRIBUTES, changed, label, weights) == loss(ATTRIBUTES, logits, label, weights)


def test_absent_class_weighs_nothing_and_others_stay_balanced():
    weights = class_weights(CLASSES, np.array([0, 0, 0, 2]), balanced=True)[:, 0]
    assert weights[1] == 0
    np.testing.assert_allclose(weights[0] * 3, weights[2] * 1)


def test_label_smoothing_spreads_its_share():
    soft, _ = targets_of(CLASSES, jnp.array([1]), 0.3)
    np.testing.assert_allclose(soft, [[0.1, 0.8, 0.1]], rtol=1e-6)
    soft, _ = targets_of(ATTRIBUTES, jnp.array([[1, 0]]), 0.2)
    np.testing.assert_allclose(soft, [[0.9, 0.1]], rtol=1e-6)
