"""Train on synthetic, test on real: the accuracy on real rows of classifiers that are trained on samples of a table.

The classifiers are those of the benchmark of CTGAN (Xu et al. 2019, arXiv 1907.00503, section 5.1, as in SDGym of
2020).
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from gen_jax.data.spec import Spec, columns
from gen_jax.metrics.features import Real, Rows, subset
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.progress import progress
from gen_jax.metrics.tables.encoding import ENCODING, encoded, target_of

TWO_CLASSES = ("decision tree", "AdaBoost", "logistic regression", "MLP")
MORE_CLASSES = ("decision tree", "MLP")  # the tree is deeper, and the MLP is wider


def judge_names(classes: int) -> tuple[str, ...]:
    """Returns the names of the classifiers for a number of classes."""
    return TWO_CLASSES if classes == 2 else MORE_CLASSES


def judges(classes: int) -> dict[str, Any]:
    """Returns the classifiers by name."""
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.tree import DecisionTreeClassifier

    depth, width = (15, 50) if classes == 2 else (30, 100)
    classifiers = {
        "decision tree": DecisionTreeClassifier(max_depth=depth, class_weight="balanced", random_state=0),
        "AdaBoost": AdaBoostClassifier(random_state=0),
        "logistic regression": LogisticRegression(max_iter=50, class_weight="balanced"),
        "MLP": MLPClassifier((width,), max_iter=50, random_state=0),
    }
    return {name: classifiers[name] for name in judge_names(classes)}


def predicted(name: str, classes: int, x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Trains a classifier and returns the classes [M] that it predicts.

    Args:
      name: of the classifier.
      classes: number of classes.
      x: encoded rows [N, F] to train on.
      y: their classes [N]; if there is only one class, it is predicted for all rows.
      test: encoded rows [M, F].
    """
    if len(np.unique(y)) < 2:
        return np.full(len(test), y[0])
    judge = judges(classes)[name]
    with warnings.catch_warnings(), threadpool_limits(1):  # as in `detection`
        warnings.simplefilter("ignore")  # the benchmark stops before convergence, too
        return judge.fit(x, y).predict(test)


def f1(y: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Returns 2 TP / (2 TP + FP + FN) of each class [K]; 0 for a class that neither occurs nor is predicted.

    Args:
      y: true classes [N].
      predictions: predicted classes [N].
      classes: number of classes.
    """
    right = np.bincount(y[y == predictions], minlength=classes)
    both = np.bincount(y, minlength=classes) + np.bincount(predictions, minlength=classes)
    return 2 * right / np.maximum(both, 1)


def scores(spec: Spec, train: np.ndarray, test: np.ndarray, target: int) -> dict[str, dict[str, Any]]:
    """Returns the F1 of each class and the accuracy on test rows of each classifier.

    Args:
      spec: facts of the table.
      train: raw rows [N, D] to train on.
      test: raw rows [M, D].
      target: place of the column that is predicted; rows without it are left out.
    """
    names = columns(spec)[target]["levels"]
    x, y = _examples(spec, train, target)
    test_x, test_y = _examples(spec, test, target)
    figures = {}
    for name in progress(iter(judges(len(names))), "classifiers", "classifier"):
        predictions = predicted(name, len(names), x, y, test_x)
        class_f1 = dict(zip(names, f1(test_y, predictions, len(names)).tolist()))
        figures[name] = {"f1": class_f1, "accuracy": float((predictions == test_y).mean())}
    return figures


def _examples(spec: Spec, rows: np.ndarray, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the encoded rows [N, F] and the classes [N] of the rows that have the target."""
    rows = rows[~np.isnan(rows[:, target])]
    return encoded(spec, rows, without=target), rows[:, target].astype(int)


def summary(figures: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, float], float]:
    """Returns the mean over classifiers of the F1 of each class, and of the accuracy."""
    judged = [*figures.values()]
    mean = {name: float(np.mean([judge["f1"][name] for judge in judged])) for name in judged[0]["f1"]}
    return mean, float(np.mean([judge["accuracy"] for judge in judged]))


def efficacy(real: Real) -> Computation | None:
    """Prepares the macro F1 on the test rows, the mean over classifiers that are trained on samples."""
    spec = real.spec
    tested_on = real.test
    if not spec.tabular or tested_on is None:
        return None
    target = target_of(spec, real.target)
    if target is None:
        return None
    names = columns(spec)[target]["levels"]
    if len(names) < 2:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        test = real.rows(tested_on)["x"]
        if np.isnan(test[:, target]).all():
            return {}  # because no test row has the target
        figures = scores(spec, samples["x"], test, target)
        mean, accuracy = summary(figures)
        macro = float(np.mean([*mean.values()]))
        return {"tstr_f1": macro, "f1": mean, "accuracy": accuracy, "classifiers": figures}

    def oracle(num: int) -> tuple[str, Rows]:
        return real.train, subset(real.rows(real.train), num)

    facts = {"target": columns(spec)[target]["name"], "classifiers": list(judge_names(len(names)))}
    return Computation(values, lambda: {**facts, "tested_on": tested_on, "encoding": ENCODING}, oracle)


EFFICACY = Measure(
    (
        Metric(
            "tstr_f1",
            "macro F1 on test rows, mean over classifiers that predict `evaluate.target` and are trained on samples",
            better=1,
        ),
    ),
    efficacy,
    data="a table with a column of two levels or more, and a test split (of a table of your own: data.test_path)",
    oracle="classifiers that are trained on as many train rows",
    reference="Xu et al. 2019 (arXiv 1907.00503), section 5.1",
)
