"""The linear probe reads what is linear in the features, and no more."""

import numpy as np
import pytest

from spermjax.data.task import Task
from spermjax.errors import DataError
from spermjax.evaluate.probe import UNSEEN, linear_probe


def test_classes_that_a_linear_map_separates_are_told_apart_and_others_are_not():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 6))
    linear = features[:, 0] > 0
    exclusive = (features[:, 1] > 0) ^ (features[:, 2] > 0)
    task = Task("single_label", ("a", "b", "c"), {})
    for label, low, high in ((linear, 0.95, 1.0), (exclusive, 0.35, 0.65)):
        logits = linear_probe(task, features[:200], label[:200].astype(int) * 2, features[200:])
        assert low <= ((logits.argmax(1) == 2) == label[200:]).mean() <= high
        assert (logits[:, 1] == UNSEEN).all()
        np.testing.assert_allclose(np.exp(logits).sum(1), 1.0, atol=1e-6)


def test_missing_attributes_are_left_out_and_one_sided_ones_refused():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 3))
    label = np.stack([features[:, 0] > 0, features[:, 1] > 0], axis=1).astype(int)
    label[::2, 0] = -1
    task = Task("multi_attribute", ("x", "y"), {})
    logits = linear_probe(task, features[:100], label[:100], features[100:])
    assert ((logits[:, 1] > 0) == (features[100:, 1] > 0)).mean() > 0.9
    assert ((logits[:, 0] > 0) == (features[100:, 0] > 0)).mean() > 0.9
    with pytest.raises(DataError, match="one answer only for x"):
        linear_probe(task, features, np.where(label == 1, 0, label), features)
