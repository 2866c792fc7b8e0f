"""Measures of samples as plain functions. They see arrays and the spec, never a model or its family."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.spec import Spec
from gen_jax.metrics.modes import Judge, classifier_judge, gaussian_judge, mode_statistics

Reals = Callable[[str, int | None], dict[str, np.ndarray] | None]  # (split, num) -> raw rows, or None


JUDGED = 5000  # rows the classifier of labelled images is trained on, at most


class Measure(NamedTuple):
    """Figures of samples, all from one computation."""

    values: Callable[[dict[str, np.ndarray]], Mapping[str, float | None]]  # raw samples -> name -> value
    protocol: dict[str, Any]


def modes(spec: Spec, reals: Reals, train: str) -> Measure | None:
    """Mode coverage, where the modes are known: a mixture of Gaussians, or labelled images of two classes or more."""
    if "means" in spec.info:
        judge, num = gaussian_judge(spec.info["means"], spec.info["deviation"]), len(spec.info["means"])
        protocol = {"judge": "nearest mean, high quality within 3 standard deviations"}
        return Measure(lambda samples: mode_statistics(*judge(samples["x"]), num), protocol)
    if spec.kind != "image" or len(spec.classes or ()) < 2:
        return None

    @cache
    def trained() -> tuple[Judge, int]:  # at the first score, not before the first step
        rows = reals(train, None)
        some = np.random.default_rng(0).permutation(len(rows["x"]))[:JUDGED]
        x, y = rows["x"][some], rows["y"][some]
        return classifier_judge(x, y, np.min(spec.low), np.max(spec.high)), len(np.unique(y))

    def values(samples: dict[str, np.ndarray]) -> Mapping[str, float | None]:
        judge, num = trained()
        return mode_statistics(*judge(samples["x"]), num)

    num = min(JUDGED, spec.sizes[train])
    return Measure(values, {"judge": f"SVC on {num} rows of {train}, high quality from probability 0.9"})


METRICS = {"modes": modes, "high_quality": modes, "reverse_kl": modes}  # name -> (spec, reals, split) -> Measure
