"""Measures of images against the true images of the same conditions, beside what no learning reaches."""

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.metrics.features import Real, Rows, true_rows
from gen_jax.metrics.images.segmentation import painted_photos
from gen_jax.metrics.measure import Computation, Measure, Metric


def absolute_error(x: np.ndarray, truth: np.ndarray, span: float) -> float:
    """Returns the mean of |x - truth| over all rows and pixels, where the domain has the length 2.

    Args:
      x: images [N, H, W, C] in the domain of the data.
      truth: true images [N, H, W, C].
      span: length of the domain of the data.
    """
    return float(np.abs(x.astype(np.float64) - truth).mean() * 2 / span)


def retrieval(x: np.ndarray, truth: np.ndarray) -> float:
    """Returns the share of images that are nearer to their own true image than to any other, by the absolute error.

    Args:
      x: images [N, ...].
      truth: true images [N, ...].
    """
    queries, rows = (values.reshape(len(values), -1).astype(np.float32) for values in (x, truth))
    hits = [int(np.abs(rows - query).sum(1).argmin() == number) for number, query in enumerate(queries)]
    return float(np.mean(hits))


def reconstruction_error(real: Real) -> Computation | None:
    """Prepares the error of images against the true images, and the errors of images that no net drew.

    These are the mean image, a copy of the condition, and each class in its mean colour.
    """
    spec = real.spec
    if not kind_of(spec).pixels or spec.condition is None or real.test is None:
        return None
    span = float(np.max(spec.high) - np.min(spec.low))
    alike = spec.condition.shape == spec.shape and spec.condition.kind == spec.kind
    same = alike and np.array_equal(spec.condition.low, spec.low) and np.array_equal(spec.condition.high, spec.high)
    mapped = kind_of(spec.condition).class_map and spec.condition.shape[:2] == spec.shape[:2]

    @cache
    def floors(num: int) -> dict[str, float]:
        held_out = real.held_out(num)
        mean = np.broadcast_to(real.rows(real.train)["x"].mean(0, keepdims=True), held_out["x"].shape)
        scores = {"absolute_error_mean": absolute_error(mean, held_out["x"], span)}
        if same:
            scores["absolute_error_copy"] = absolute_error(held_out["c"], held_out["x"], span)
        if mapped:
            scores["absolute_error_painted"] = absolute_error(painted_photos(real, num), held_out["x"], span)
        return scores

    def values(samples: Rows) -> Mapping[str, Any]:
        x, truth = samples["x"], samples["truth"]
        scores = {"absolute_error": absolute_error(x, truth, span), "retrieval": retrieval(x, truth)}
        return {**scores, **floors(len(x))}

    return Computation(values, lambda: {"sides": list(spec.shape)}, partial(true_rows, real, real.test))


RECONSTRUCTION_ERROR = Measure(
    (
        Metric(
            "absolute_error", "mean absolute error to the true image, where the domain has the length 2", "0", better=-1
        ),
        Metric("retrieval", "share of images that are nearest to their own true image", "1", better=1),
        Metric("absolute_error_mean", "the same error of the mean train image: a floor", better=0),
        Metric("absolute_error_copy", "the same error of a copy of the condition: a floor", better=0),
        Metric("absolute_error_painted", "the same error of each class in its mean colour: a floor", better=0),
    ),
    reconstruction_error,
    data="images with a condition, and a test split",
    fields=("x", "truth"),
    oracle="the true images",
    reference="Isola et al. 2017 (arXiv 1611.07004), section 3",
)
