"""The measure of a classifier that tells samples from real rows (Lopez-Paz & Oquab 2017, arXiv 1610.06545)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.progress import progress
from gen_jax.metrics.tables.encoding import ENCODING, emptied, encoded, reference

FOLDS = 5
JUDGES = ("gradient boosting", "logistic regression")


def aucs(real: np.ndarray, samples: np.ndarray) -> dict[str, float]:
    """Returns the cross-validated area under the ROC curve of each judge: 0.5 is chance, 1 is perfect detection.

    Args:
      real: encoded rows [N, F].
      samples: encoded rows [M, F].
    """
    from sklearn.base import clone
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    judges = HistGradientBoostingClassifier(random_state=0), LogisticRegression(max_iter=1000)
    x, y = np.concatenate([real, samples]), np.repeat([0, 1], [len(real), len(samples)])
    folds = [*StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(x, y)]
    auc = {}
    for name, judge in zip(JUDGES, judges, strict=True):
        share = np.empty(len(x))
        with threadpool_limits(1):  # because threads of small loops wait for one another, and starve other programs
            for train, test in progress(folds, name, "fold"):
                share[test] = clone(judge).fit(x[train], y[train]).predict_proba(x[test])[:, 1]
        auc[name] = float(roc_auc_score(y, share))
    return auc


def detection(real: Real) -> Computation | None:
    """Prepares the area under the ROC curve of gradient boosting, on at most as many samples as train rows."""
    spec = real.spec
    if not spec.tabular or spec.sizes[real.train] < 2 * FOLDS:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        rows = reference(real, len(samples["x"]))
        x = emptied(samples, rows)[: len(rows)]
        auc = aucs(encoded(spec, rows), encoded(spec, x))
        return {"detection": auc[JUDGES[0]], "auc": auc}

    protocol = {"judge": JUDGES[0], "folds": FOLDS, "encoding": ENCODING, "reference": real.train}
    return Computation(values, lambda: protocol)


DETECTION = Measure(
    (
        Metric(
            "detection",
            "cross-validated area under the ROC curve of gradient boosting that tells samples from train rows",
            expected="0.5",
            better=-1,
        ),
    ),
    detection,
    data="a table of ten rows or more",
    least=2 * FOLDS,
    reference="Lopez-Paz & Oquab 2017 (arXiv 1610.06545)",
)
