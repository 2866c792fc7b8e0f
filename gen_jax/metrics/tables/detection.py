"""Whether a classifier tells samples of a table from real rows (Lopez-Paz & Oquab 2017, arXiv 1610.06545)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import Measure
from gen_jax.metrics.tables.encoding import ENCODING, emptied, encoded, reference

FOLDS = 5
JUDGES = ("gradient boosting", "logistic regression")


def aucs(real: np.ndarray, samples: np.ndarray) -> dict[str, float]:
    """Area under the ROC curve of each judge of encoded rows [N, F] and [M, F], by what is left out in each of the folds.

    0.5: it cannot tell; 1: it always can.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    judges = HistGradientBoostingClassifier(random_state=0), LogisticRegression(max_iter=1000)
    x, y = np.concatenate([real, samples]), np.repeat([0, 1], [len(real), len(samples)])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    told = (cross_val_predict(judge, x, y, cv=folds, method="predict_proba")[:, 1] for judge in judges)
    return {name: float(roc_auc_score(y, each)) for name, each in zip(JUDGES, told)}


def detection(real: Real) -> Measure | None:
    """Area under the ROC curve of gradient boosting, cross-validated, on as many samples as real rows; 0.5 is best."""
    spec = real.spec
    if not spec.tabular or spec.sizes[real.train] < 2 * FOLDS:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        rows = reference(real, len(samples["x"]))
        x = emptied(samples, rows)[: len(rows)]
        found = aucs(encoded(spec, rows), encoded(spec, x))
        return {"detection": found[JUDGES[0]], "auc": found}

    protocol = {"judge": JUDGES[0], "folds": FOLDS, "encoding": ENCODING, "reference": real.train}
    return Measure(values, lambda: protocol, least=2 * FOLDS)
