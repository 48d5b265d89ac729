"""Scores against scikit-learn, an independent implementation of the same definitions."""

import json
import math
import time

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics

from spermjax.data.task import Task
from spermjax.errors import DataError, DivergenceError
from spermjax.evaluate import quick, score, selection_metric, weighted

CLASSES = Task("single_label", ("normal", "tapered", "pyriform", "amorphous"))
ATTRIBUTES = Task("multi_attribute", ("acrosome", "head", "vacuole", "tail"))


@pytest.fixture(scope="module")
def classes():
    """Logits rounded to quarters, so that scores tie."""
    rng = np.random.default_rng(0)
    label = rng.choice(4, 230, p=[0.4, 0.3, 0.2, 0.1])
    logits = np.round(4 * (rng.normal(size=(230, 4)) + 1.5 * np.eye(4)[label])) / 4
    return logits, label, np.array([f"patient {i // 5}" for i in range(230)])


@pytest.fixture(scope="module")
def attributes():
    rng = np.random.default_rng(1)
    label = (rng.random((240, 4)) < [0.3, 0.27, 0.17, 0.05]).astype(int)
    logits = np.round(4 * (rng.normal(size=(240, 4)) + 1.5 * label - 1)) / 4
    label[rng.random((240, 4)) < 0.1] = -1
    return logits, label


def test_single_label_scores_are_scikit_learns(classes):
    logits, label, group = classes
    scores = score(CLASSES, logits, label, group)
    probability, predicted = softmax(logits, axis=1), logits.argmax(1)
    overall = {name: interval.value for name, interval in scores.overall.items()}
    expected = {
        "accuracy": metrics.accuracy_score(label, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(label, predicted),
        "macro_f1": metrics.f1_score(label, predicted, average="macro"),
        "auroc": metrics.roc_auc_score(label, probability, multi_class="ovr"),
        "log_loss": metrics.log_loss(label, probability),
    }
    calibration = overall.pop("calibration_error")
    assert overall == pytest.approx(expected)
    assert 0 < calibration < 1
    assert scores.confusion["label"] == metrics.confusion_matrix(label, predicted).tolist()
    precision, recall, f1, support = metrics.precision_recall_fscore_support(label, predicted)
    for k, name in enumerate(CLASSES.names):
        ours = {metric: interval.value for metric, interval in scores.per_name[name].items()}
        assert ours == pytest.approx(
            {
                "precision": precision[k],
                "recall": recall[k],
                "f1": f1[k],
                "auroc": metrics.roc_auc_score(label == k, probability[:, k]),
                "average_precision": metrics.average_precision_score(label == k, probability[:, k]),
            }
        )
        assert scores.counts[name] == {"support": support[k]}
        assert scores.per_name[name]["recall"].n == support[k]
    assert (scores.n, scores.groups) == (230, 46)


def test_multi_attribute_scores_are_scikit_learns(attributes):
    """F1 and F0.5 with normal as the positive side, average precision with abnormal; a missing label doesn't count."""
    logits, label = attributes
    scores = score(ATTRIBUTES, logits, label)
    areas = []
    for a, name in enumerate(ATTRIBUTES.names):
        known = label[:, a] >= 0
        side, logit = label[known, a], logits[known, a]
        called = logit > 0
        ours = {metric: interval.value for metric, interval in scores.per_name[name].items()}
        areas.append(metrics.roc_auc_score(side, logit))
        assert ours == pytest.approx(
            {
                "accuracy": metrics.accuracy_score(side, called),
                "auroc": areas[-1],
                "average_precision_abnormal": metrics.average_precision_score(side, logit),
                "balanced_accuracy": metrics.balanced_accuracy_score(side, called),
                "f1_normal": metrics.f1_score(side, called, pos_label=0),
                "f0.5_normal": metrics.fbeta_score(side, called, beta=0.5, pos_label=0),
            }
        )
        assert scores.counts[name] == {
            "normal": np.sum(side == 0),
            "abnormal": np.sum(side == 1),
            "missing": np.sum(~known),
        }
        assert {interval.n for interval in scores.per_name[name].values()} == {known.sum()}
    assert scores.overall["auroc"].value == pytest.approx(np.mean(areas))
    known = label >= 0
    assert scores.overall["log_loss"].value == pytest.approx(metrics.log_loss(label[known], expit(logits[known])))


@pytest.mark.parametrize("metric", ["auroc", "average_precision"])
def test_weighted_metrics_are_those_of_the_repeated_examples(metric):
    """What the bootstrap rests on: weights of a resample equal scikit-learn on the resampled examples."""
    rng = np.random.default_rng(2)
    positive, value = rng.random(80) < 0.3, np.round(rng.normal(size=80), 1)
    drawn = rng.integers(0, 80, (20, 80))
    weight = np.stack([np.bincount(row, minlength=80) for row in drawn]).astype(float)
    reference = {"auroc": metrics.roc_auc_score, "average_precision": metrics.average_precision_score}[metric]
    expected = [reference(positive[row], value[row]) for row in drawn]
    np.testing.assert_allclose(getattr(weighted, metric)(weight, positive, value), expected, rtol=1e-12)


def test_calibration_error_is_the_gap_where_it_is_known():
    """Confidence .9 with half of the examples right is off by .4; in equal shares with a perfect bin, by .2."""
    confidence = np.r_[np.full(10, 0.9), np.full(10, 0.5)]
    right = np.arange(20) % 2 == 0
    error = weighted.calibration_error(np.stack([np.r_[np.ones(10), np.zeros(10)], np.ones(20)]), confidence, right)
    np.testing.assert_allclose(error, [0.4, 0.2], atol=1e-12)


def test_every_defined_interval_holds_its_value(classes, attributes):
    for scores in (score(CLASSES, *classes), score(ATTRIBUTES, *attributes)):
        for intervals in (scores.overall, *scores.per_name.values()):
            for metric, interval in intervals.items():
                if metric != "calibration_error":  # biased upwards on resamples, as documented
                    assert interval.low <= interval.value <= interval.high, metric
                    assert interval.high - interval.low > 0.005, metric


@pytest.mark.parametrize("task", [CLASSES, ATTRIBUTES], ids=lambda task: task.kind)
def test_quick_gives_the_values_of_score(task, classes, attributes):
    logits, label = classes[:2] if task is CLASSES else attributes
    scores, values = score(task, logits, label), quick(task, logits, label)
    assert selection_metric(task) in values
    for name, value in values.items():
        metric, _, attribute = name.partition("/")
        interval = scores.per_name[attribute][metric] if attribute else scores.overall[metric]
        assert value == pytest.approx(interval.value), name


def test_one_sided_attribute_is_nan_with_its_count_and_null_in_json():
    label = np.zeros((30, 4), int)
    label[:15, :3] = 1
    label[:, 2] = -1
    logits = np.random.default_rng(3).normal(size=(30, 4))
    scores = score(ATTRIBUTES, logits, label)
    tail, vacuole = scores.per_name["tail"]["auroc"], scores.per_name["vacuole"]["accuracy"]
    assert math.isnan(tail.value) and tail.n == 30
    assert math.isnan(vacuole.value) and vacuole.n == 0
    two = [metrics.roc_auc_score(label[:, a], logits[:, a]) for a in (0, 1)]
    assert scores.overall["auroc"].value == pytest.approx(np.mean(two))
    stored = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert stored["per_name"]["tail"]["auroc"] == {"value": None, "low": None, "high": None, "n": 30}
    assert Task.from_dict(stored["task"]) == ATTRIBUTES


def test_absent_class_and_missing_labels():
    """A class without examples is left out of the means, an example without label out of everything."""
    label = np.array([0, 0, 1, 1, 2, -1])
    logits = np.eye(4)[[0, 1, 1, 1, 2, 3]]
    scores = score(CLASSES, logits, label)
    assert scores.n == 5
    assert scores.overall["balanced_accuracy"].value == pytest.approx((0.5 + 1 + 1) / 3)
    assert math.isnan(scores.per_name["amorphous"]["recall"].value)


def test_empty_split_is_all_nan():
    for task, label in ((CLASSES, np.zeros(0, int)), (ATTRIBUTES, np.zeros((0, 4), int))):
        assert all(math.isnan(value) for value in quick(task, np.zeros((0, 4)), label).values())
        assert score(task, np.zeros((0, 4)), label).n == 0


def test_wrong_input_is_named():
    logits, label = np.zeros((3, 4)), np.array([0, 1, 4])
    with pytest.raises(DataError, match=r"from 0 to 4; allowed are 0 to 3"):
        score(CLASSES, logits, label)
    with pytest.raises(DataError, match=r"\(3, 4\) with labels of shape \(3,\)"):
        quick(ATTRIBUTES, logits, label)
    logits[1, 2] = np.nan
    with pytest.raises(DivergenceError, match=r"1 of 3 examples .* position 1"):
        quick(CLASSES, logits, np.array([0, 1, 2]))


def test_intervals_of_a_large_split_take_seconds():
    rng = np.random.default_rng(4)
    label = rng.integers(0, 4, 3000)
    start = time.process_time()
    score(CLASSES, rng.normal(size=(3000, 4)) + np.eye(4)[label], label)
    assert time.process_time() - start < 20
