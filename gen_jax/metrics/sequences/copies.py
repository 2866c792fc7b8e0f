"""What a model has learnt by heart: passages that samples share with the training text; how near rows of numbers are to train rows."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import levels, sequences
from gen_jax.metrics.features import UNIT, Real, Rows, comparable, remembered, some, unit
from gen_jax.metrics.images.neighbours import nearest
from gen_jax.metrics.likelihood import joined
from gen_jax.metrics.measure import Measure

PIECE = 200  # tokens a passage is looked for in: samples, where they are as long, and real texts are cut to that
NGRAM = 12  # tokens, of the overlap
PIECES = 200  # at most
COPIES = 2000  # samples, and rows of the test split, whose nearest train row is looked for, at most
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, of a polynomial hash modulo 2^64


def copies(train: np.ndarray, pieces: np.ndarray, n: int = NGRAM) -> tuple[np.ndarray, float]:
    """The longest run of each piece [N, T] that the text `train` [M] holds too, and the share of n-grams that it holds.

    The share is nan where pieces are shorter than n.
    """
    longest, share = np.zeros(len(pieces), int), 0.0 if pieces.shape[1] >= n else np.nan
    known, mine = np.zeros(len(train) + 1, np.uint64), np.zeros((len(pieces), pieces.shape[1] + 1), np.uint64)
    for size in range(1, pieces.shape[1] + 1):  # hashes of the runs of that length, from those one shorter
        known = known[:-1] * FACTOR + train[size - 1 :][: len(known) - 1].astype(np.uint64) + np.uint64(1)
        mine = mine[:, :-1] * FACTOR + pieces[:, size - 1 :][:, : mine.shape[1] - 1].astype(np.uint64) + np.uint64(1)
        found = np.isin(mine, known)
        share = found.mean() if size == n else share
        if not found.any():
            break
        longest[found.any(1)] = size
    return longest, float(share)


def cut(rows: Rows, num: int, size: int) -> np.ndarray:
    """At most `num` pieces [N, size] of rows of tokens."""
    return np.concatenate([text[: len(text) // size * size].reshape(-1, size) for text in sequences(rows)])[:num]


def learnt_by_heart(real: Real) -> Measure | None:
    """`longest_copy`: tokens, the mean over pieces of samples; `overlap`: share of the n-grams."""
    spec = real.spec
    if kind_of(spec).stream is None or not levels(spec):
        return None

    @cache
    def train() -> np.ndarray:
        return np.concatenate(sequences(real.whole(real.train)))

    def values(samples: Rows) -> Mapping[str, Any]:
        pieces = cut(samples, PIECES, min(PIECE, samples["x"].shape[1]))
        longest, share = copies(train(), pieces)
        most = int(longest.max(initial=0))
        found = {"longest_copy": float(longest.mean()), "overlap": share, "most": most, "pieces": len(pieces)}
        return {**found, "piece": pieces.shape[1]}

    def oracle(num: int) -> tuple[str | None, Rows | None]:
        return real.test, joined(spec, real.whole(real.test)) if real.test else None

    return Measure(values, lambda: {"reference": real.train, "piece": PIECE, "ngram": NGRAM}, oracle)


def memorisation(real: Real) -> Measure | None:
    """Median distance to the nearest train row, over that of held-out rows: 0 for copies, 1 for new rows."""
    spec = real.spec
    if real.test is None or not comparable(spec):
        return None

    @cache
    def train() -> np.ndarray:
        return unit(spec, real.rows(real.train)["x"])

    @remembered
    def distance(x: np.ndarray) -> float:
        return float(np.median(nearest(unit(spec, x[:COPIES]), train())))

    def values(samples: Rows) -> Mapping[str, Any]:
        new = distance(real.held_out(COPIES)["x"])
        return {"memorisation": distance(samples["x"]) / new if new else None}

    def protocol() -> Mapping[str, Any]:
        rows = {"train_samples": len(train()), "held_out": real.test, "rows": f"the first {COPIES}"}
        return {"features": UNIT, **rows}

    return Measure(values, protocol)


def duplicates(real: Real) -> Measure | None:
    """Share of samples with another sample nearer than all but 1 % of as many train rows have one: 0.01 for real rows."""
    spec = real.spec

    if not comparable(spec):
        return None

    @cache
    def near(num: int) -> float:
        x = unit(spec, some(real.rows(real.train), num)["x"])
        return float(np.quantile(nearest(x, x, others=True), 0.01))

    def values(samples: Rows) -> Mapping[str, Any]:
        x = unit(spec, samples["x"][: spec.sizes[real.train]])
        return {"duplicates": float((nearest(x, x, others=True) <= near(len(x))).mean())}

    protocol = {"features": UNIT, "reference": real.train, "quantile": 0.01}
    return Measure(values, lambda: protocol, least=2)
