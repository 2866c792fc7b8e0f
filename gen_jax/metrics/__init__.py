"""Measures of samples as plain functions. They see arrays and the spec, never a model or its family."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.spec import Spec
from gen_jax.metrics.modes import classifier_judge, gaussian_judge, mode_statistics

Reals = Callable[[str, int | None], dict[str, np.ndarray] | None]  # (split, num) -> raw rows, or None


class Measure(NamedTuple):
    """Figures of samples, all from one computation."""

    values: Callable[[dict[str, np.ndarray]], Mapping[str, float | None]]  # raw samples -> name -> value
    protocol: dict[str, Any]


def modes(spec: Spec, reals: Reals, train: str) -> Measure | None:
    """Mode coverage, where the modes are known: a mixture of Gaussians, or labelled images."""
    if "means" in spec.info:
        judge, num = gaussian_judge(spec.info["means"], spec.info["deviation"]), len(spec.info["means"])
        protocol = {"judge": "nearest mean, high quality within 3 standard deviations"}
    elif spec.classes and spec.kind == "image":
        rows = reals(train, 5000)
        judge, num = classifier_judge(rows["x"], rows["y"], np.min(spec.low), np.max(spec.high)), len(spec.classes)
        protocol = {"judge": f"SVC on {len(rows['x'])} rows of {train}, high quality from probability 0.9"}
    else:
        return None
    return Measure(lambda samples: mode_statistics(*judge(samples["x"]), num), protocol)


METRICS = {"modes": modes, "high_quality": modes, "reverse_kl": modes}  # name -> (spec, reals, split) -> Measure
