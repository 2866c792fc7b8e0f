"""Measures of clips: how much they move, whether a clip keeps to one scene, and whether its frames are in order."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.images.classifier import Classifier, scaled, trained
from gen_jax.metrics.measure import Computation, Measure, Metric

LARGEST = 10_000  # training frames that tell videos apart, at most
ORDERS = ("shuffled", "true")


def motion_of(spec: Spec, x: np.ndarray) -> np.ndarray:
    """Returns the mean absolute difference of consecutive frames of each clip [N], with the domain of the data at [-1, 1].

    Args:
      spec: facts of the data.
      x: raw clips [N, frames, H, W, C].
    """
    return np.array([np.abs(np.diff(scaled(spec, clip[None])[0], axis=0)).mean() * 2 for clip in x])


def by_label(values: np.ndarray, rows: Rows, classes: tuple[str, ...]) -> dict[str, float]:
    """Returns the mean of a value of rows for each label that occurs; the mean of all rows without labels.

    Args:
      values: value of each row [N].
      rows: the rows, with `y` [N] if there are labels.
      classes: names of the labels.
    """
    if "y" not in rows:
        return {"all": float(values.mean())}
    codes = np.unique(rows["y"])
    return {classes[code]: float(values[rows["y"] == code].mean()) for code in codes}


def motion(real: Real) -> Computation | None:
    """Prepares the largest relative difference of the motion of a label from that of the training clips."""
    spec = real.spec
    if not kind_of(spec).film or spec.shape[0] < 2:
        return None

    @cache
    def train_motion() -> np.ndarray:
        return motion_of(spec, real.rows(real.train)["x"])

    def expected(labelled: bool) -> dict[str, float]:
        rows = real.rows(real.train)
        return by_label(train_motion(), rows if labelled else {"x": rows["x"]}, spec.classes)

    def values(samples: Rows) -> Mapping[str, Any]:
        labelled = "y" in samples and "y" in real.rows(real.train)
        rows = samples if labelled else {"x": samples["x"]}
        means, truth = by_label(motion_of(spec, samples["x"]), rows, spec.classes), expected(labelled)
        ratios = {label: mean / max(truth[label], 1e-12) for label, mean in means.items() if label in truth}
        return {
            "motion_error": max(abs(ratio - 1) for ratio in ratios.values()),
            "motion": means,
            "motion_ratio": ratios,
        }

    return Computation(values, lambda: {"train_motion": expected("y" in real.rows(real.train))})


def spread(features: np.ndarray) -> float:
    """Returns the mean distance of the features of a frame from the mean of its clip.

    Args:
      features: features [N, frames, F].
    """
    return float(np.linalg.norm(features - features.mean(1, keepdims=True), axis=-1).mean())


def frames_by_video(spec: Spec, rows: Rows, counts: list[int]) -> Rows:
    """Returns frames of training clips as `x` [M, H, W, C], with the number of their video as `y` [M].

    Args:
      spec: facts of the data.
      rows: the first clips of the training split, in order.
      counts: number of clips of each video of the split, in order.
    """
    video = np.repeat(np.arange(len(counts)), counts)[: len(rows["x"])]
    x = rows["x"].reshape(-1, *spec.shape[1:])
    step = -(-len(x) // LARGEST)
    return {"x": x[::step], "y": np.repeat(video, spec.shape[0])[::step]}


def drift(real: Real) -> Computation | None:
    """Prepares the distance of the frames of a clip from one another, beside that of training clips and of mixed clips."""
    spec = real.spec
    counts = spec.info.get("clips", {}).get(real.train, [])
    if not kind_of(spec).film or spec.shape[0] < 2 or np.count_nonzero(counts) < 2:
        return None
    names = tuple(str(number) for number in range(len(counts)))
    frame_spec = spec._replace(
        kind="image",
        shape=spec.shape[1:],
        classes=names,
        content=content_hash(spec.content, "frames by video", LARGEST),
        info={},
        condition=None,
    )

    @cache
    def judge() -> Classifier:
        return trained(frame_spec, lambda split: frames_by_video(spec, real.rows(split), counts), real.train, None)

    def features_of(x: np.ndarray) -> np.ndarray:
        features = judge().describe(x.reshape(-1, *spec.shape[1:]))[0]
        return features.reshape(*x.shape[:2], -1)

    def reference(num: int) -> np.ndarray:
        rows = real.rows(real.train)["x"]
        return rows[np.linspace(0, len(rows) - 1, min(num, len(rows))).astype(int)]

    def values(samples: Rows) -> Mapping[str, Any]:
        truth = features_of(reference(len(samples["x"])))
        random = np.random.default_rng(0)
        mixed = np.stack([random.permutation(truth[:, frame]) for frame in range(truth.shape[1])], 1)
        unit = max(spread(truth), 1e-12)
        return {"drift": spread(features_of(samples["x"])) / unit, "drift_mixed": spread(mixed) / unit}

    return Computation(values, lambda: {"videos": len(counts), **judge().protocol})


def shuffled(x: np.ndarray, seed: int) -> np.ndarray:
    """Returns clips whose frames are in random order, never in the true one.

    Args:
      x: clips [N, frames, ...].
      seed: of the orders.
    """
    random, true = np.random.default_rng(seed), np.arange(x.shape[1])
    orders = np.stack([random.permutation(x.shape[1]) for _ in x])
    while (same := (orders == true).all(1)).any():
        orders[same] = [random.permutation(x.shape[1]) for _ in range(same.sum())]
    return x[np.arange(len(x))[:, None], orders]


def order(real: Real) -> Computation | None:
    """Prepares the share of clips that a classifier of true and shuffled frames takes for true."""
    spec = real.spec
    if not kind_of(spec).film or spec.shape[0] < 3:
        return None
    order_spec = spec._replace(classes=ORDERS, content=content_hash(spec.content, "orders"), info={}, condition=None)

    def both(split: str) -> Rows:
        x = real.rows(split)["x"]
        return {"x": np.concatenate([shuffled(x, 0), x]), "y": np.repeat(np.arange(2, dtype=np.int32), len(x))}

    @cache
    def judge() -> Classifier:
        return trained(order_spec, both, real.train, real.test)

    def values(samples: Rows) -> Mapping[str, Any]:
        true, mixed = (judge().describe(x)[1].argmax(1) == 1 for x in (samples["x"], shuffled(samples["x"], 1)))
        return {"order": float(true.mean()), "order_shuffled": float(mixed.mean())}

    return Computation(values, lambda: judge().protocol)


MOTION = Measure(
    (
        Metric(
            "motion_error",
            "largest relative difference of the mean motion of a label from that of the training clips",
            "0",
            better=-1,
        ),
    ),
    motion,
    data="clips of two frames or more",
    oracle="the test clips",
)
DRIFT = Measure(
    (
        Metric(
            "drift", "distance of the frames of a clip from their mean, over that of training clips", "1", better=-1
        ),
        Metric("drift_mixed", "the same of clips whose frames come from different clips: a ceiling", better=0),
    ),
    drift,
    data="clips of two videos or more",
    oracle="the test clips",
)
ORDER = Measure(
    (
        Metric("order", "share of clips that a classifier of true and shuffled frames takes for true", "1", better=1),
        Metric("order_shuffled", "the same of the samples with shuffled frames: a floor", better=0),
    ),
    order,
    data="clips of three frames or more",
    oracle="the test clips",
)
