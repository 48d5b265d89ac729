"""Linear probe: how far a linear map reads the answer from features that were not trained for it."""

import numpy as np
from jaxtyping import Float, Int

from spermjax.data.task import Task
from spermjax.errors import DataError

UNSEEN = -30.0
"""Log-probability of a class that no training example has."""


def linear_probe(
    task: Task,
    features: Float[np.ndarray, "n width"],
    label: Int[np.ndarray, "n *attributes"],
    asked: Float[np.ndarray, "m width"],
) -> Float[np.ndarray, "m outputs"]:
    """Logits of a logistic regression on standardised features (Alain & Bengio 2017).

    The penalty is scikit-learn's default, half the squared norm; nothing is tuned.

    Args:
        task: what the labels mean. Each attribute gets a regression of its own, on the
            examples where it is known.
        features: of the training examples.
        label: of the training examples; -1 is missing.
        asked: features of the examples to classify.

    Raises:
        DataError: the training examples show one answer only.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import StandardScaler

    def regression(of: str, chosen: np.ndarray, answer: np.ndarray) -> Pipeline:
        if len(np.unique(answer)) < 2:
            raise DataError(f"The training examples show one answer only for {of}; a probe needs two.")
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(chosen, answer)

    if task.kind == "single_label":
        fitted = regression("the label", features, label)
        logits = np.full((len(asked), task.num_outputs), UNSEEN)
        logits[:, fitted.classes_] = np.maximum(fitted.predict_log_proba(asked), UNSEEN)
        return logits
    columns = []
    for place, name in enumerate(task.names):
        known = label[:, place] >= 0
        columns.append(regression(name, features[known], label[known, place]).decision_function(asked))
    return np.stack(columns, axis=1)
