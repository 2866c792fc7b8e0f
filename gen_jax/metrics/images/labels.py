"""Measures by classifiers of the labels of the data: of samples, and of what a classifier learns from samples."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.metrics.features import Real, Rows, subset
from gen_jax.metrics.images.classifier import RECIPE, accuracy, fit
from gen_jax.metrics.images.distances import inception_score
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.sequences.sounds import spoken

TESTED = 10_000  # test rows, at most


def classes(real: Real) -> Computation | None:
    """Prepares the inception score, and the number of classes with a tenth of their share of the train rows."""
    classifier = real.classifier
    if classifier is None:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        _, log_prob = classifier().describe(samples["x"])  # [N, K]
        counts = np.bincount(log_prob.argmax(1), minlength=log_prob.shape[1])
        wanted = np.bincount(real.rows(real.train)["y"], minlength=log_prob.shape[1])
        present = (counts > 0) & (counts / counts.sum() >= wanted / wanted.sum() / 10)
        names = dict(zip(real.spec.classes, counts.tolist()))
        return {"inception": inception_score(log_prob), "classes": int(present.sum()), "counts": names}

    return Computation(values, lambda: classifier().protocol)


def label_accuracy(real: Real) -> Computation | None:
    """Prepares the share of samples whose label the classifier predicts."""
    classifier = real.classifier
    if kind_of(real.spec).sound and not kind_of(real.spec).pixels:
        return spoken(real)
    if classifier is None:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        _, log_prob = classifier().describe(samples["x"])  # [N, K]
        right = log_prob.argmax(1) == samples["y"]
        return {"label_accuracy": float(right.mean())}

    return Computation(values, lambda: classifier().protocol)


def classification_accuracy(real: Real) -> Computation | None:
    """Prepares the accuracy on test rows of a classifier that is trained on samples and their labels alone."""
    spec = real.spec
    if real.classifier is None or real.test is None:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        test = real.held_out(TESTED)
        params = fit(spec, samples["x"], samples["y"], "classifier of samples")
        return {"classification_accuracy": accuracy(spec, params, test["x"], test["y"])}

    def oracle(num: int) -> tuple[str, Rows]:
        return real.train, subset(real.rows(real.train), num)

    tested = min(TESTED, spec.sizes[real.test])
    protocol = {"recipe": RECIPE.version, "tested_on": real.test, "tested_rows": tested}
    return Computation(values, lambda: protocol, oracle)


CLASSES = Measure(
    (
        Metric(
            "inception",
            "inception score by the classifier of the labels, from 1 to the number of classes",
            better=1,
            selects=True,
        ),
        Metric(
            "classes",
            "number of classes with at least a tenth of their share of the train rows",
            better=1,
            selects=True,
        ),
    ),
    classes,
    data="labels of two classes or more",
    reference="Salimans et al. 2016 (arXiv 1606.03498), section 4",
)
LABEL_ACCURACY = Measure(
    (
        Metric(
            "label_accuracy",
            "share of samples whose label the classifier predicts; of recordings by spectrograms",
            better=1,
            selects=True,
        ),
    ),
    label_accuracy,
    data="labels of two classes or more",
    fields=("x", "y"),
)
CLASSIFICATION_ACCURACY = Measure(
    (
        Metric(
            "classification_accuracy",
            "accuracy on test rows of a classifier that is trained on samples and their labels",
            better=1,
        ),
    ),
    classification_accuracy,
    data="labels and a test split",
    fields=("x", "y"),
    oracle="a classifier that is trained on as many train rows",
    reference="Ravuri & Vinyals 2019 (arXiv 1905.10887), section 3",
)
