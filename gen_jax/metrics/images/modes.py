"""Mode coverage by the protocol of PacGAN (Lin et al. 2018, arXiv 1712.04086, section 4.1).

A judge assigns each sample to a mode and decides if it is of high quality. The judge of a mixture of Gaussians takes
the nearest mean, within three standard deviations. The judge of labelled images is a classifier that is sure of its
class.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.metrics.features import Real, Rows, subset
from gen_jax.metrics.images.classifier import Classifier, trained
from gen_jax.metrics.measure import Computation, Measure, Metric

JUDGED = 5000  # rows that the SVC of labelled images is trained on, at most
Judge = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # x [N, ...] -> mode [N] int, high quality [N] bool


def gaussian_judge(means: np.ndarray, deviation: float) -> Judge:
    """Returns the judge of a mixture of Gaussians: the nearest mean, of high quality within 3 standard deviations.

    Args:
      means: of the modes [K, D].
      deviation: standard deviation of all modes, which the Euclidean distance is divided by.
    """
    means = np.asarray(means, np.float64)

    def judge(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        squared = np.square(x[:, None].astype(np.float64) - means[None]).sum(-1)  # [N, K]
        return squared.argmin(1), squared.min(1) < np.square(3 * deviation)

    return judge


def classifier_judge(x: np.ndarray, y: np.ndarray, low: float, high: float) -> Judge:
    """Returns the judge of labelled images: the class by an SVC, of high quality from a probability of 0.9.

    The SVC has an RBF kernel, C 10, pixels scaled to 0..16, gamma 0.064 / D (0.001 at 8x8), Platt probabilities and a
    fixed seed. Modes are numbered by the classes that occur in `y`, in order.

    Args:
      x: real images [N, *shape].
      y: their labels [N].
      low: smallest value of the domain.
      high: largest value of the domain.
    """
    from sklearn.svm import SVC

    def features(x: np.ndarray) -> np.ndarray:
        return (x.reshape(len(x), -1).astype(np.float64) - low) / (high - low) * 16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # scikit-learn will drop its own Platt scaling
        classifier = SVC(gamma=0.064 / x[0].size, C=10, probability=True, random_state=0).fit(features(x), y)

    def judge(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probability = classifier.predict_proba(features(x))  # [N, K]
        return probability.argmax(1), probability.max(1) >= 0.9

    return judge


def mode_statistics(mode: np.ndarray, good: np.ndarray, num_modes: int) -> dict[str, float | None]:
    """Returns the number of modes, the share of high quality, and KL(modes of the good samples || uniform) in nats.

    Args:
      mode: of each sample [N].
      good: whether the sample is of high quality [N].
      num_modes: number of modes of the data.

    Returns:
      `modes` counts modes with a good sample; `reverse_kl` is None if no sample is good.
    """
    counts = np.bincount(mode[good], minlength=num_modes)
    share = counts[counts > 0] / max(int(counts.sum()), 1)
    divergence = float(np.sum(share * np.log(share * num_modes))) if counts.any() else None
    return {"modes": int((counts > 0).sum()), "high_quality": float(good.mean()), "reverse_kl": divergence}


def modes(real: Real) -> Computation | None:
    """Prepares mode coverage of a mixture of Gaussians, or of labelled images of two classes or more."""
    spec = real.spec
    if "means" in spec.info:
        return _gaussian_modes(spec.info["means"], spec.info["deviation"])
    if spec.stacked and spec.classes:
        return _stacked_modes(real)
    if not kind_of(spec).pixels or real.classifier is None:
        return None
    return _labelled_modes(real)


def _gaussian_modes(means: np.ndarray, deviation: float) -> Computation:
    judge = gaussian_judge(means, deviation)

    def values(samples: Rows) -> Mapping[str, Any]:
        return mode_statistics(*judge(samples["x"]), len(means))

    return Computation(values, lambda: {"judge": "nearest mean, high quality within 3 standard deviations"})


def _labelled_modes(real: Real) -> Computation:
    spec = real.spec

    @cache
    def fitted() -> tuple[Judge, int]:  # at the first score and not before the first step, because it takes seconds
        rows = subset(real.rows(real.train), JUDGED)
        judge = classifier_judge(rows["x"], rows["y"], np.min(spec.low), np.max(spec.high))
        return judge, len(np.unique(rows["y"]))

    def values(samples: Rows) -> Mapping[str, Any]:
        judge, num_modes = fitted()
        return mode_statistics(*judge(samples["x"]), num_modes)

    num_rows = min(JUDGED, spec.sizes[real.train])
    protocol = {"judge": f"SVC on {num_rows} rows of {real.train}, high quality from probability 0.9"}
    return Computation(values, lambda: protocol)


def _stacked_modes(real: Real) -> Computation:
    """Prepares modes by the most likely class of each channel, whatever its probability; section 4.2 of PacGAN."""
    spec, classifier = real.spec, cache(lambda: channel_classifier(real))

    def values(samples: Rows) -> Mapping[str, Any]:
        channels = np.split(samples["x"], spec.shape[-1], axis=-1)
        log_probs = [classifier().describe(channel)[1] for channel in channels]  # [N, K] each
        mode = sum(
            log_prob.argmax(1) * log_prob.shape[1] ** place for place, log_prob in enumerate(reversed(log_probs))
        )
        statistics = mode_statistics(mode, np.ones(len(mode), bool), len(spec.classes))
        return {**statistics, "high_quality": None}

    return Computation(values, lambda: {"judge": "most likely class of each channel", **classifier().protocol})


def channel_classifier(real: Real) -> Classifier:
    """Returns the classifier of the grey images that stacked images consist of, trained on their first channels."""
    spec, channels = real.spec, real.spec.stacked
    num_classes = round(len(spec.classes) ** (1 / channels))
    grey = spec._replace(shape=(*spec.shape[:2], 1), classes=spec.classes[:num_classes])

    def first(split: str) -> Rows:
        rows = real.rows(split)
        return {"x": rows["x"][..., :1], "y": rows["y"] // num_classes ** (channels - 1)}

    return trained(grey, first, real.train, real.test)


MODES = Measure(
    (
        Metric("modes", "number of modes with a sample of high quality", better=1, selects=True, default=True),
        Metric("high_quality", "share of samples of high quality", better=1, selects=True, default=True),
        Metric(
            "reverse_kl",
            "KL(modes of the samples || uniform), in nats",
            expected="0",
            better=-1,
            selects=True,
            default=True,
        ),
    ),
    modes,
    data="known modes, or labelled images",
    reference="Lin et al. 2018 (arXiv 1712.04086), section 4.1",
)
