"""Memorisation: passages that samples share with the training text, and distances of samples to train rows."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import levels, sequences
from gen_jax.metrics.features import UNIT, Real, Rows, comparable, remembered, subset, unit
from gen_jax.metrics.images.neighbours import nearest
from gen_jax.metrics.likelihood import joined
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.progress import progress

PIECE = 200  # tokens of a piece of a text; shorter samples are one piece
NGRAM = 12  # tokens of an n-gram of the overlap
PIECES = 200  # pieces, at most
COPIES = 2000  # samples, and test rows, whose nearest train row is searched for, at most
QUANTILE = 0.01  # of the distances between train rows, below which two samples are duplicates
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd factor of a polynomial hash modulo 2^64


def copies(train: np.ndarray, pieces: np.ndarray, n: int = NGRAM) -> tuple[np.ndarray, float]:
    """Returns the longest run of each piece that the training text holds too, and the share of n-grams that it holds.

    Args:
      train: the training text [M].
      pieces: pieces of samples [N, T].
      n: tokens of an n-gram.

    Returns:
      Tokens of the longest runs [N], and the share; nan if the pieces are shorter than n.
    """
    longest = np.zeros(len(pieces), int)
    share = 0.0 if pieces.shape[1] >= n else np.nan
    train_hash = np.zeros(len(train) + 1, np.uint64)
    piece_hash = np.zeros((len(pieces), pieces.shape[1] + 1), np.uint64)
    for size in progress(iter(range(1, pieces.shape[1] + 1)), "lengths of copies", "length"):  # may end early
        # The hashes of all runs of this length, from the hashes of the runs that are one shorter.
        train_token = train[size - 1 :][: len(train_hash) - 1].astype(np.uint64)
        piece_token = pieces[:, size - 1 :][:, : piece_hash.shape[1] - 1].astype(np.uint64)
        train_hash = train_hash[:-1] * FACTOR + train_token + np.uint64(1)
        piece_hash = piece_hash[:, :-1] * FACTOR + piece_token + np.uint64(1)
        copied = np.isin(piece_hash, train_hash)
        share = copied.mean() if size == n else share
        if not copied.any():
            break
        longest[copied.any(1)] = size
    return longest, float(share)


def cut(rows: Rows, num: int, size: int) -> np.ndarray:
    """Returns pieces [N, size] of rows of tokens.

    Args:
      rows: the rows.
      num: number of pieces, at most.
      size: tokens of a piece.
    """
    return np.concatenate([text[: len(text) // size * size].reshape(-1, size) for text in sequences(rows)])[:num]


def memorised_text(real: Real) -> Computation | None:
    """Prepares the longest copied run, the mean over pieces of samples, and the share of copied n-grams."""
    spec = real.spec
    if kind_of(spec).stream is None or not levels(spec):
        return None

    @cache
    def train() -> np.ndarray:
        return np.concatenate(sequences(real.whole(real.train)))

    def values(samples: Rows) -> Mapping[str, Any]:
        pieces = cut(samples, PIECES, min(PIECE, samples["x"].shape[1]))
        longest, share = copies(train(), pieces)
        return {
            "longest_copy": float(longest.mean()),
            "overlap": share,
            "most": int(longest.max(initial=0)),
            "pieces": len(pieces),
            "piece": pieces.shape[1],
        }

    def oracle(num: int) -> tuple[str | None, Rows]:
        return real.test, joined(spec, real.whole(real.test)) if real.test else {}

    return Computation(values, lambda: {"reference": real.train, "piece": PIECE, "ngram": NGRAM}, oracle)


def memorisation(real: Real) -> Computation | None:
    """Prepares the median distance to the nearest train row, divided by the same distance of test rows."""
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

    return Computation(values, protocol)


def duplicates(real: Real) -> Computation | None:
    """Prepares the share of samples with another sample closer than almost all train rows are to each other."""
    spec = real.spec
    if not comparable(spec):
        return None

    @cache
    def close(num: int) -> float:
        x = unit(spec, subset(real.rows(real.train), num)["x"])
        return float(np.quantile(nearest(x, x, others=True), QUANTILE))

    def values(samples: Rows) -> Mapping[str, Any]:
        x = unit(spec, samples["x"][: spec.sizes[real.train]])
        return {"duplicates": float((nearest(x, x, others=True) <= close(len(x))).mean())}

    protocol = {"features": UNIT, "reference": real.train, "quantile": QUANTILE}
    return Computation(values, lambda: protocol)


MEMORISED_TEXT = Measure(
    (
        Metric(
            "longest_copy", "longest run of tokens that the training text holds too, mean over pieces of the samples"
        ),
        Metric("overlap", f"share of the {NGRAM}-grams of the samples that the training text holds too"),
    ),
    memorised_text,
    data="text",
    oracle="the test text",
)
MEMORISATION = Measure(
    (
        Metric(
            "memorisation",
            "median distance of samples to the nearest train row, divided by that of test rows; 0 for copies",
            expected="1",
        ),
    ),
    memorisation,
    data="a test split, and rows of numbers of one length",
)
DUPLICATES = Measure(
    (
        Metric(
            "duplicates",
            f"share of samples with another sample within the {QUANTILE} quantile of the distances between train rows",
            expected=str(QUANTILE),
        ),
    ),
    duplicates,
    data="rows of numbers of one length",
    least=2,
)
