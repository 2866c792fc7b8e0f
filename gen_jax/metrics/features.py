"""The real data that samples are measured against, and the features in which measures compare the two."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.spec import Spec, levels
from gen_jax.metrics.images import segmenter as segmenters
from gen_jax.metrics.images.classifier import Classifier, scaled, trained
from gen_jax.metrics.images.external import embedding
from gen_jax.metrics.images.segmenter import Segmenter

Rows = dict[str, np.ndarray]  # raw rows: `x` [N, *shape], and `y` [N] if the data have labels
Reals = Callable[[str, int | None], Rows]  # (split, num) -> the first `num` raw rows; none without such a split
Embedding = Callable[[np.ndarray], np.ndarray]  # raw x [N, *shape] -> features [N, F] float64

MOST_ROWS, MOST_NUMBERS = 100_000, 1 << 28  # of a split that are read; so many numbers take at most 1 GiB
REFERENCE = 10_000  # train rows whose features samples are compared with, at most
UNIT = "raw, each column scaled to [0, 1]"
RAW = 256  # numbers of an unlabelled row that is compared without a classifier, at most


class Features(NamedTuple):
    """An embedding of raw rows, the same for all measures."""

    embed: Embedding
    reference: Callable[[], np.ndarray]  # features [R, F] of train rows, in random order
    protocol: Callable[[], dict[str, Any]]


class Real(NamedTuple):
    """The real data that samples are measured against.

    Attributes:
      spec: facts of the data.
      train: name of the training split.
      test: name of the test split; None if the data have none.
      rows: function (split) -> raw rows `x` [N, *shape], and `y` [N] if the data have labels; at most `MOST_ROWS`
        rows.
      whole: function (split) -> all raw rows of a split.
      held_out: function (num) -> the first rows of the test split, at most `num`; empty without a test split.
      classifier: function () -> classifier of the labels, which the first call trains; None without two classes, or
        for stacked images.
      features: embedding of raw rows; None for long rows without labels.
      segmenter: function () -> segmenter of photos, which the first call trains; None unless the data are photos with
        a class map as their condition.
      target: name of the column that classifiers of a table predict; by default None, the last column with levels.
    """

    spec: Spec
    train: str
    test: str | None
    rows: Callable[[str], Rows]
    whole: Callable[[str], Rows]
    held_out: Callable[[int], Rows]
    classifier: Callable[[], Classifier] | None
    features: Features | None
    segmenter: Callable[[], Segmenter] | None = None
    target: str | None = None


def true_rows(real: Real, split: str, num: int) -> tuple[str, Rows]:
    """Returns the name of a split, and its first rows in the place of samples and of their `truth`.

    Args:
      real: the real data.
      split: name of the test split.
      num: largest number of rows.
    """
    rows = real.held_out(num)
    lengths = {"length": rows["length"], "truth_length": rows["length"]} if "length" in rows else {}
    return split, {"x": rows["x"], "truth": rows["x"], **lengths}


def real_data(
    spec: Spec, reals: Reals, splits: tuple[str, str], file: str | None = None, target: str | None = None
) -> Real:
    """Returns the real data for measures. Rows are read, and the classifier is trained, at the first use.

    Args:
      spec: facts of the data.
      reals: reader of the splits.
      splits: names of the training and of the test split.
      file: TorchScript network whose features replace the features of the classifier; see `images.external`.
      target: name of the column that classifiers of a table predict; None: the last column with levels.

    Raises:
      UserError: for a file that holds no network, or data that a network of images cannot read.
    """
    train = splits[0]
    test = splits[1] if spec.sizes.get(splits[1]) else None
    max_rows = min(MOST_ROWS, MOST_NUMBERS // int(np.prod(spec.shape)))

    @cache
    def rows(split: str) -> Rows:
        return reals(split, max_rows)

    @cache
    def held_out(num: int) -> Rows:
        return reals(test, min(num, max_rows)) if test else {}

    @cache
    def classifier() -> Classifier:
        judge = trained(spec, rows, train, test)
        return judge._replace(describe=remembered(judge.describe))

    @cache
    def segmenter() -> Segmenter:
        judge = segmenters.trained(spec, rows, train, test)
        return judge._replace(describe=remembered(judge.describe))

    judged = len(spec.classes) > 1 and comparable(spec) and not spec.stacked
    judge = classifier if judged else None
    reader = segmenter if segmenters.judged_by_segmenter(spec) else None
    network = embedding(file, spec) if file else None
    features = _features(spec, rows, train, judge, reader, network)
    return Real(spec, train, test, rows, lambda split: reals(split, None), held_out, judge, features, reader, target)


def comparable(spec: Spec) -> bool:
    """Returns whether rows are numbers of one shape, so that their differences have a meaning.

    Tokens, levels, tables and sequences of different lengths are not comparable.
    """
    return not (levels(spec) or spec.ragged or spec.tabular)


def _features(
    spec: Spec,
    rows: Callable[[str], Rows],
    train: str,
    classifier: Callable[[], Classifier] | None,
    segmenter: Callable[[], Segmenter] | None,
    network: tuple[Embedding, dict[str, str]] | None,
) -> Features | None:
    """Returns the features of the network, or else of the classifier or the segmenter, or else short rows themselves."""
    if not comparable(spec):
        return None
    if classifier is None and segmenter is None and network is None and np.prod(spec.shape) > RAW:
        return None

    if network is not None:
        embed, facts = remembered(network[0]), lambda: network[1]
    elif classifier is not None:
        embed, facts = (
            lambda x: classifier().describe(x)[0],
            lambda: {"features": "classifier", **classifier().protocol},
        )
    elif segmenter is not None:
        embed, facts = lambda x: segmenter().describe(x)[0], lambda: {"features": "segmenter", **segmenter().protocol}
    else:
        embed, facts = lambda x: unit(spec, x).astype(np.float64), lambda: {"features": UNIT}
    reference_rows = min(REFERENCE, spec.sizes[train])

    @cache
    def reference() -> np.ndarray:
        return embed(subset(rows(train), REFERENCE)["x"])

    def protocol() -> dict[str, Any]:
        return {**facts(), "reference": train, "reference_samples": reference_rows}

    return Features(embed, reference, protocol)


def remembered(function: Callable[[np.ndarray], Any], size: int = 4) -> Callable[[np.ndarray], Any]:
    """Returns a function with its last results kept: the very same array is not computed again.

    Args:
      function: a function of one array.
      size: number of results that are kept.
    """
    results: list[tuple[np.ndarray, Any]] = []

    def recall(x: np.ndarray) -> Any:
        for argument, value in results:
            if argument is x:
                return value
        value = function(x)
        results.append((x, value))
        del results[:-size]
        return value

    return recall


def subset(rows: Rows, num: int, seed: int = 0) -> Rows:
    """Returns rows drawn without replacement, because a split may be sorted by its classes.

    Args:
      rows: the rows.
      num: number of rows that are drawn; all rows, in random order, if there are fewer.
      seed: of the draw.
    """
    order = np.random.default_rng(seed).permutation(len(rows["x"]))[:num]
    return {name: value[order] for name, value in rows.items()}


def unit(spec: Spec, x: np.ndarray) -> np.ndarray:
    """Returns raw rows [N, *shape] as [N, D] float32, with the domain of the data at [0, 1]."""
    return scaled(spec, x).reshape(len(x), -1)
