"""Exact likelihoods of real rows under a model, of whole splits: nats a token or a frame of sequences, nats a row of tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, columns, levels
from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import Measure

VALID = "validation"  # the split
LogProb = Callable[[Rows], np.ndarray]  # raw rows -> [N] nats, in model space


def joined(spec: Spec, rows: Rows) -> Rows:
    """Rows that are consecutive pieces of sequences as the sequences they are, one a row; other rows as they are."""
    if not spec.pieces:
        return rows
    frames, first = np.concatenate([x[:n] for x, n in zip(rows["x"], rows["length"])]), np.flatnonzero(rows["reset"])
    length = np.add.reduceat(rows["length"], first, dtype=np.int32)
    x = np.zeros((len(length), length.max(), *frames.shape[1:]), frames.dtype)
    x[np.arange(x.shape[1]) < length[:, None]] = frames
    return {"x": x, "length": length, **({"y": rows["y"][first]} if "y" in rows else {})}


def frames(spec: Spec, rows: Rows) -> int:
    """How many tokens or frames rows hold."""
    return int(rows["length"].sum()) if "length" in rows else len(rows["x"]) * spec.shape[0]


def units(spec: Spec) -> float:
    """Log of the volume of model space that one frame of the data fills: 0 where the data are discrete."""
    if levels(spec) or kind_of(spec).binary:
        return 0.0
    return float(np.log(np.broadcast_to(spec.scale, spec.shape[1:])).sum())


def nats(spec: Spec, log_prob: LogProb, splits: Mapping[str, Rows]) -> Mapping[str, Any]:
    """Mean negative log-likelihood of the splits together, in the units of the data, and of each.

    Returns:
      nats per token or frame, with the bits and the perplexity of tokens; `per_split` has the nats of each split.
    """
    totals = {split: -float(np.sum(log_prob(joined(spec, rows)), dtype=np.float64)) for split, rows in splits.items()}
    counts = {split: frames(spec, rows) for split, rows in splits.items()}
    value = sum(totals.values()) / sum(counts.values()) + units(spec)
    more = {"per_split": {split: totals[split] / counts[split] + units(spec) for split in splits}, "counted": counts}
    if not levels(spec):
        return {"nats_per_frame": value, **more}
    return {"nats_per_token": value, "bits_per_token": value / np.log(2), "perplexity": float(np.exp(value)), **more}


def held_out(spec: Spec, train: str, test: str | None) -> Sequence[str]:
    """The splits that a model of sequences is scored on: of text validation and test together, of the others test."""
    wanted = (*kind_of(spec).scored_with_test, test)
    return [split for split in wanted if split and split != train and spec.sizes.get(split)]


def per_token(real: Real) -> Measure | None:
    """Exact log-likelihood of the held-out sequences of tokens."""
    return _likelihood(real, held_out(real.spec, real.train, real.test)) if levels(real.spec) else None


def per_frame(real: Real) -> Measure | None:
    """Exact log-likelihood, or density, of the held-out sequences of frames."""
    return None if levels(real.spec) else _likelihood(real, held_out(real.spec, real.train, real.test))


def valid_per_token(real: Real) -> Measure | None:
    """As `per_token`, of the validation split alone, which may choose a checkpoint."""
    return _likelihood(real, [VALID], "valid/") if levels(real.spec) else None


def valid_per_frame(real: Real) -> Measure | None:
    """As `per_frame`, of the validation split alone, which may choose a checkpoint."""
    return None if levels(real.spec) else _likelihood(real, [VALID], "valid/")


def _likelihood(real: Real, splits: Sequence[str], prefix: str = "") -> Measure | None:
    spec = real.spec
    splits = [split for split in splits if spec.sizes.get(split)]
    if not kind_of(spec).time or not splits:
        return None

    def values(log_prob: LogProb) -> Mapping[str, Any]:
        found = nats(spec, log_prob, {split: real.whole(split) for split in splits})
        return {f"{prefix}{name}" if name.startswith("nats") else name: value for name, value in found.items()}

    protocol = {"splits": splits, "state": "from the start of each sequence, its first token or frame included"}
    return Measure(values, lambda: protocol, of="log_prob")


DENSITY = "nats a row, of what is observed of it; a density in the numbers, in the units of the data"


def in_units(spec: Spec, nats: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Log-probabilities [N] of raw rows [N, D] in the units of the data, from those in model space."""
    real = np.array(["levels" not in column for column in columns(spec)])
    scale = np.log(np.broadcast_to(spec.scale, spec.shape))
    return nats.astype(np.float64) - np.where(real & ~np.isnan(x), scale, 0).sum(1)


def _of_columns(spec: Spec) -> bool:
    """Returns whether a row is one number or level for each column, and is scored by itself."""
    return kind_of(spec).columns and not kind_of(spec).time


def per_row(real: Real) -> Measure | None:
    """Exact log-likelihood, or density, of the test rows."""
    spec, test = real.spec, real.test
    if not _of_columns(spec) or test is None:
        return None

    def values(log_prob: LogProb) -> Mapping[str, Any]:
        rows = real.whole(test)
        each = in_units(spec, log_prob(rows), rows["x"])
        return {"log_likelihood": float(each.mean()), "standard_error": float(each.std() / np.sqrt(len(each)))}

    return Measure(values, lambda: {"split": test, "unit": DENSITY}, of="log_prob")


def bic(real: Real) -> Measure | None:
    """Bayesian information criterion of the rows learnt from: k log N - 2 log p(rows), less is better (Schwarz 1978)."""
    spec, train = real.spec, real.train
    if not _of_columns(spec):
        return None

    def values(fit: Callable[[Rows], tuple[np.ndarray, int]]) -> Mapping[str, Any]:
        rows = real.whole(train)
        nats, parameters = fit(rows)
        total = float(in_units(spec, nats, rows["x"]).sum())
        return {"bic": parameters * float(np.log(len(nats))) - 2 * total, "parameters": parameters, "nats": total}

    return Measure(values, lambda: {"split": train, "unit": DENSITY}, of="fit")
