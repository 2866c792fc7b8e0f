"""Train on synthetic, test on real: what classifiers learn from samples of a table for real rows.

The classifiers are those of CTGAN's benchmark (Xu et al. 2019, arXiv 1907.00503, section 5.1, as in SDGym of 2020).
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.data.spec import Spec, columns
from gen_jax.metrics.features import Real, Rows, some
from gen_jax.metrics.measure import Measure
from gen_jax.metrics.tables.encoding import ENCODING, encoded, target_of

JUDGES = {  # of two classes; of more of them the first, deeper, and the last, wider
    2: ("decision tree", "AdaBoost", "logistic regression", "MLP"),
    3: ("decision tree", "MLP"),
}


def judges(classes: int) -> dict[str, Any]:
    """The classifiers by name."""
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.tree import DecisionTreeClassifier

    two = classes == 2
    known = {
        "decision tree": DecisionTreeClassifier(max_depth=15 if two else 30, class_weight="balanced", random_state=0),
        "AdaBoost": AdaBoostClassifier(random_state=0),
        "logistic regression": LogisticRegression(max_iter=50, class_weight="balanced"),
        "MLP": MLPClassifier((50 if two else 100,), max_iter=50, random_state=0),
    }
    return {name: known[name] for name in JUDGES[min(classes, 3)]}


def told(name: str, classes: int, x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    """What a classifier that learnt from x [N, F] and y [N] says of the rows `test` [M, F]; one class that is all: always that."""
    if len(np.unique(y)) < 2:
        return np.full(len(test), y[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged: so it is in the benchmark
        return judges(classes)[name].fit(x, y).predict(test)


def f1(y: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) of each class [K], 0 where it is neither there nor said."""
    right = np.bincount(y[y == said], minlength=classes)
    both = np.bincount(y, minlength=classes) + np.bincount(said, minlength=classes)
    return 2 * right / np.maximum(both, 1)


def scores(spec: Spec, train: np.ndarray, test: np.ndarray, target: int) -> dict[str, dict[str, Any]]:
    """F1 of each class and accuracy on raw rows `test` of each classifier that learnt from raw rows `train`."""
    names = columns(spec)[target]["levels"]
    (x, y), (test_x, test_y) = (
        (encoded(spec, rows, without=target), rows[:, target].astype(int))
        for rows in (each[~np.isnan(each[:, target])] for each in (train, test))
    )
    found = {}
    for name in judges(len(names)):
        said = told(name, len(names), x, y, test_x)
        each = dict(zip(names, f1(test_y, said, len(names)).tolist()))
        found[name] = {"f1": each, "accuracy": float((said == test_y).mean())}
    return found


def summary(found: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, float], float]:
    """The mean over classifiers of the F1 of each class, and of the accuracy."""
    each = [*found.values()]
    mean = {name: float(np.mean([one["f1"][name] for one in each])) for name in each[0]["f1"]}
    return mean, float(np.mean([one["accuracy"] for one in each]))


def efficacy(real: Real) -> Measure | None:
    """Macro F1 on the test rows, the mean over classifiers that learnt from samples; in the details that of each class.

    The oracle learnt from as many training rows.
    """
    spec = real.spec
    if not spec.tabular or real.test is None or target_of(spec, real.target) is None:
        return None
    target = target_of(spec, real.target)
    names = columns(spec)[target]["levels"]
    if len(names) < 2:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        test = real.rows(real.test)["x"]
        if np.isnan(test[:, target]).all():
            return {}  # no row to be tested on
        found = scores(spec, samples["x"], test, target)
        mean, accuracy = summary(found)
        macro = float(np.mean([*mean.values()]))
        return {"tstr_f1": macro, "f1": mean, "accuracy": accuracy, "classifiers": found}

    def oracle(num: int) -> tuple[str, Rows]:
        return real.train, some(real.rows(real.train), num)

    facts = {"target": columns(spec)[target]["name"], "classifiers": list(JUDGES[min(len(names), 3)])}
    return Measure(values, lambda: {**facts, "tested_on": real.test, "encoding": ENCODING}, oracle)
