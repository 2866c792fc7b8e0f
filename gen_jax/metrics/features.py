"""What the measures know of the real data, and the features in which they compare samples with them."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.spec import Spec, levels
from gen_jax.metrics.images.classifier import Classifier, scaled, trained
from gen_jax.metrics.images.external import embedding

Rows = dict[str, np.ndarray]  # raw rows: `x` [N, *shape], and `y` [N] where there are labels
Reals = Callable[[str, int | None], Rows | None]  # (split, num) -> the first `num` raw rows, or None

MOST_ROWS, MOST_NUMBERS = 100_000, 1 << 28  # of a split that are read: so many rows, and no more than fit in 1 GiB
REFERENCE = 10_000  # train rows whose features samples are compared with, at most
UNIT = "raw, each column scaled to [0, 1]"
RAW = 256  # unlabelled rows of at most so many numbers are compared as they are


class Features(NamedTuple):
    """An embedding of raw rows, the same for all measures."""

    of: Callable[[np.ndarray], np.ndarray]  # raw x [N, *shape] -> [N, F] float64
    log_prob: Callable[[np.ndarray], np.ndarray] | None  # raw x -> [N, K] of the classes; None without labels
    reference: Callable[[], np.ndarray]  # [R, F] of train rows, in random order
    protocol: Callable[[], dict[str, Any]]


class Real(NamedTuple):
    """The real data that samples are measured against."""

    spec: Spec
    train: str
    test: str | None  # None where the data have no such split
    rows: Callable[[str], Rows]  # all rows of a split, or the first `MOST_...` of them
    whole: Callable[[str], Rows]  # all rows of a split, however many
    held_out: Callable[[int], Rows | None]  # as many rows of the test split as there are, up to so many
    classifier: Callable[[], Classifier] | None  # trained on first use; None without two classes, or of stacked images
    features: Features | None  # None where rows are large and have no labels
    target: str | None = None  # the column of a table that classifiers tell, where it is named


def real_data(
    spec: Spec, reals: Reals, splits: tuple[str, str], file: str | None = None, target: str | None = None
) -> Real:
    """What measures may know of the data; rows are read, and the classifier is trained, when they are first needed.

    Args:
      file: a network whose features take the place of the classifier's (see `external.embedding`).
      target: see `Real`.
    """
    train, test = splits[0], splits[1] if spec.sizes.get(splits[1]) else None
    most = min(MOST_ROWS, MOST_NUMBERS // int(np.prod(spec.shape)))

    @cache
    def rows(split: str) -> Rows:
        return reals(split, most)

    @cache
    def held_out(num: int) -> Rows | None:
        return reals(test, min(num, most)) if test else None

    @cache
    def classifier() -> Classifier:
        return trained(spec, rows, train, test)

    judge = classifier if len(spec.classes or ()) > 1 and comparable(spec) and not spec.stacked else None
    features = _features(spec, rows, train, judge, embedding(file, spec) if file else None)
    return Real(spec, train, test, rows, lambda split: reals(split, None), held_out, judge, features, target)


def comparable(spec: Spec) -> bool:
    """Whether rows are numbers of one shape, so that their differences mean something: not tokens or levels, nothing ragged."""
    return not (levels(spec) or spec.ragged or spec.tabular)


def channel_classifier(real: Real) -> Classifier:
    """The classifier of the grey images that stacked ones are drawn from, learnt from the first channels."""
    spec, channels = real.spec, real.spec.stacked
    num_classes = round(len(spec.classes) ** (1 / channels))
    grey = spec._replace(shape=(*spec.shape[:2], 1), classes=spec.classes[:num_classes])

    def first(split: str) -> Rows:
        rows = real.rows(split)
        return {"x": rows["x"][..., :1], "y": rows["y"] // num_classes ** (channels - 1)}

    return trained(grey, first, real.train, real.test)


def _features(
    spec: Spec, rows: Callable, train: str, classifier: Callable | None, given: tuple[Callable, dict] | None
) -> Features | None:
    if not comparable(spec) or (classifier is None and given is None and np.prod(spec.shape) > RAW):
        return None
    reference_rows = min(REFERENCE, spec.sizes[train])

    @remembered
    def described(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return classifier().describe(x)

    if given:
        of, kind = remembered(given[0]), lambda: given[1]
    elif classifier:
        of, kind = lambda x: described(x)[0], lambda: {"features": "classifier", **classifier().protocol}
    else:
        of, kind = lambda x: unit(spec, x).astype(np.float64), lambda: {"features": UNIT}

    @cache
    def reference() -> np.ndarray:
        return of(some(rows(train), REFERENCE)["x"])

    def protocol() -> dict[str, Any]:
        return {**kind(), "reference": train, "reference_samples": reference_rows}

    return Features(of, (lambda x: described(x)[1]) if classifier else None, reference, protocol)


def remembered(function: Callable[[np.ndarray], Any], size: int = 4) -> Callable[[np.ndarray], Any]:
    """`function` with its last results kept: for the very same array it is not computed again."""
    kept: list[tuple[np.ndarray, Any]] = []

    def recall(x: np.ndarray) -> Any:
        for known, value in kept:
            if known is x:
                return value
        kept.append((x, function(x)))
        del kept[:-size]
        return kept[-1][1]

    return recall


def some(rows: Rows, num: int, seed: int = 0) -> Rows:
    """`num` of the rows, or all where there are fewer, drawn without replacement: a split may be in order of its classes."""
    order = np.random.default_rng(seed).permutation(len(rows["x"]))[:num]
    return {name: value[order] for name, value in rows.items()}


def unit(spec: Spec, x: np.ndarray) -> np.ndarray:
    """Raw rows [N, *shape] as [N, D] float32 whose domain is [0, 1]."""
    return scaled(spec, x).reshape(len(x), -1)
