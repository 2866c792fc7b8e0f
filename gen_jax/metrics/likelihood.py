"""Exact likelihoods of whole splits: nats per token or frame of sequences, nats per row of other data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, columns, levels
from gen_jax.distributions.pixels import whole
from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import NEGATIVE, Computation, Measure, Metric
from gen_jax.metrics.row_functions import FIT, LOG_PROB

VALID = "validation"  # name of the split
DENSITY = "nats a row, of what is observed of it; a density in the numbers, in the units of the data"
LogProb = Callable[[Rows], np.ndarray]  # raw rows -> [N] nats, in model space


def joined(spec: Spec, rows: Rows) -> Rows:
    """Returns consecutive pieces of sequences as whole sequences, one a row; other rows as they are.

    Args:
      spec: facts of the data.
      rows: raw rows; a piece whose `reset` is set begins a sequence.
    """
    if not spec.pieces:
        return rows
    frames = np.concatenate([x[:n] for x, n in zip(rows["x"], rows["length"])])
    first = np.flatnonzero(rows["reset"])
    length = np.add.reduceat(rows["length"], first, dtype=np.int32)
    x = np.zeros((len(length), length.max(), *frames.shape[1:]), frames.dtype)
    x[np.arange(x.shape[1]) < length[:, None]] = frames
    whole = {"x": x, "length": length}
    if "y" in rows:
        whole["y"] = rows["y"][first]
    return whole


def num_frames(spec: Spec, rows: Rows) -> int:
    """Returns the number of tokens or frames in rows; a frame of voices has a token for each voice."""
    frames = int(rows["length"].sum()) if "length" in rows else len(rows["x"]) * spec.shape[0]
    return frames * int(np.prod(spec.shape[1:])) if levels(spec) else frames


def log_volume(spec: Spec) -> float:
    """Returns the log volume, in the units of the data, of a unit cube of model space for one frame; 0 if discrete."""
    if levels(spec) or kind_of(spec).binary:
        return 0.0
    return float(np.log(np.broadcast_to(spec.scale, spec.shape[1:])).sum())


def nats(spec: Spec, log_prob: LogProb, splits: Mapping[str, Rows]) -> Mapping[str, Any]:
    """Returns the mean negative log-likelihood of sequences in the units of the data.

    Args:
      spec: facts of the data.
      log_prob: exact log-probabilities.
      splits: raw rows by the names of their splits.

    Returns:
      Nats per token or frame of all splits together, with bits and perplexity for tokens; `per_split` has the nats of
      each split and `counted` its number of tokens or frames.
    """
    totals = {split: -float(np.sum(log_prob(joined(spec, rows)), dtype=np.float64)) for split, rows in splits.items()}
    counts = {split: num_frames(spec, rows) for split, rows in splits.items()}
    value = sum(totals.values()) / sum(counts.values()) + log_volume(spec)
    per_split = {split: totals[split] / counts[split] + log_volume(spec) for split in splits}
    details = {"per_split": per_split, "counted": counts}
    if not levels(spec):
        return {"nats_per_frame": value, **details}
    bits, perplexity = value / np.log(2), float(np.exp(value))
    return {"nats_per_token": value, "bits_per_token": bits, "perplexity": perplexity, **details}


def held_out(real: Real) -> Sequence[str]:
    """Returns the splits that a model of sequences is scored on: of text validation and test together, else test."""
    spec = real.spec
    wanted = (*kind_of(spec).scored_with_test, real.test)
    return [split for split in wanted if split and split != real.train]


def per_token(real: Real) -> Computation | None:
    """Prepares the exact likelihood of the held-out sequences of tokens."""
    return _likelihood(real, held_out(real)) if levels(real.spec) else None


def per_frame(real: Real) -> Computation | None:
    """Prepares the exact likelihood, or density, of the held-out sequences of frames."""
    return None if levels(real.spec) else _likelihood(real, held_out(real))


def valid_per_token(real: Real) -> Computation | None:
    """Prepares the exact likelihood of the validation split of tokens."""
    return _validation(real, "nats_per_token") if levels(real.spec) else None


def valid_per_frame(real: Real) -> Computation | None:
    """Prepares the exact likelihood, or density, of the validation split of frames."""
    return None if levels(real.spec) else _validation(real, "nats_per_frame")


def _validation(real: Real, name: str) -> Computation | None:
    computation = _likelihood(real, [VALID])
    if computation is None:
        return None

    def values(log_prob: LogProb) -> Mapping[str, Any]:
        figures = computation.values(log_prob)
        details = {detail: figures[detail] for detail in ("per_split", "counted")}
        return {f"valid/{name}": figures[name], **details}

    return computation._replace(values=values)


def _likelihood(real: Real, splits: Sequence[str]) -> Computation | None:
    spec = real.spec
    splits = [split for split in splits if spec.sizes.get(split)]
    if not kind_of(spec).time or not splits:
        return None

    def values(log_prob: LogProb) -> Mapping[str, Any]:
        return nats(spec, log_prob, {split: real.whole(split) for split in splits})

    protocol = {"splits": splits, "state": "from the start of each sequence, its first token or frame included"}
    return Computation(values, lambda: protocol)


def in_units(spec: Spec, nats: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns log-probabilities of rows in the units of the data.

    Args:
      spec: facts of the data.
      nats: log-probabilities [N] in model space.
      x: the raw rows [N, D]; NaN in missing cells, which have no volume.
    """
    is_number = np.array(["levels" not in column for column in columns(spec)])
    log_scale = np.log(np.broadcast_to(spec.scale, spec.shape))
    return nats.astype(np.float64) - np.where(is_number & ~np.isnan(x), log_scale, 0).sum(1)


def _of_columns(spec: Spec) -> bool:
    """Returns whether a row is one number or level for each column, and is scored by itself."""
    return kind_of(spec).columns and not kind_of(spec).time


def row_nats(spec: Spec, nats: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns log-probabilities of rows in the units of the data [N]; probabilities of whole numbers have no unit.

    Args:
      spec: facts of the data.
      nats: log-probabilities [N] in model space.
      x: the raw rows [N, *shape]; NaN in missing cells of a table.
    """
    if spec.tabular:
        return in_units(spec, nats, x)
    log_volume_of_row = 0.0 if whole(spec) else np.log(np.broadcast_to(spec.scale, spec.shape)).sum()
    return nats.astype(np.float64) - log_volume_of_row


def per_row(real: Real) -> Computation | None:
    """Prepares the exact likelihood, or density, of the test rows."""
    return _row_likelihood(real, real.test, "nll")


def valid_per_row(real: Real) -> Computation | None:
    """Prepares the exact likelihood, or density, of the validation rows."""
    return _row_likelihood(real, VALID, "valid/nll")


def _row_likelihood(real: Real, split: str | None, name: str) -> Computation | None:
    spec = real.spec
    if kind_of(spec).time or kind_of(spec).class_map or split is None or not spec.sizes.get(split):
        return None

    def values(log_prob: LogProb) -> Mapping[str, Any]:
        rows = real.whole(split)
        values_of_rows = row_nats(spec, log_prob(rows), rows["x"])
        error = values_of_rows.std() / np.sqrt(len(values_of_rows))
        return {name: -float(values_of_rows.mean()), "standard_error": float(error)}

    unit = "nats a row, a probability of whole numbers" if whole(spec) and not spec.tabular else DENSITY
    return Computation(values, lambda: {"split": split, "unit": unit, **NEGATIVE})


def bic(real: Real) -> Computation | None:
    """Prepares the Bayesian information criterion of the training rows: k log N - 2 log p(rows)."""
    spec, train = real.spec, real.train
    if not _of_columns(spec):
        return None

    def values(fit: Callable[[Rows], tuple[np.ndarray, int]]) -> Mapping[str, Any]:
        rows = real.whole(train)
        nats, parameters = fit(rows)
        total = float(in_units(spec, nats, rows["x"]).sum())
        criterion = parameters * float(np.log(len(nats))) - 2 * total
        return {"bic": criterion, "parameters": parameters, "nats": total}

    return Computation(values, lambda: {"split": train, "unit": DENSITY})


PER_TOKEN = Measure(
    (
        Metric("nats_per_token", "negative log-likelihood of the held-out tokens, nats per token", better=-1),
        Metric("bits_per_token", "negative log-likelihood of the held-out tokens, bits per token", better=-1),
        Metric("perplexity", "exp(nats_per_token)", better=-1),
    ),
    per_token,
    data="sequences of tokens and a split to score",
    reading=LOG_PROB,
)
PER_FRAME = Measure(
    (
        Metric(
            "nats_per_frame",
            "negative log-likelihood of the held-out frames in the units of the data, nats per frame",
            better=-1,
        ),
    ),
    per_frame,
    data="sequences of frames and a test split",
    reading=LOG_PROB,
)
VALID_PER_TOKEN = Measure(
    (Metric("valid/nats_per_token", "nats_per_token of the validation split", better=-1, selects=True, default=True),),
    valid_per_token,
    data="sequences of tokens and a validation split",
    reading=LOG_PROB,
)
VALID_PER_FRAME = Measure(
    (Metric("valid/nats_per_frame", "nats_per_frame of the validation split", better=-1, selects=True, default=True),),
    valid_per_frame,
    data="sequences of frames and a validation split",
    reading=LOG_PROB,
)
NLL = Measure(
    (
        Metric(
            "nll",
            "mean negative log-likelihood of the test rows in the units of the data, nats per row",
            better=-1,
            default=True,
        ),
    ),
    per_row,
    data="images, vectors or a table, and a test split (of a table of your own: data.test_path)",
    reading=LOG_PROB,
)
VALID_NLL = Measure(
    (Metric("valid/nll", "nll of the validation split", better=-1, selects=True, default=True),),
    valid_per_row,
    data="images, vectors or a table, and a validation split",
    reading=LOG_PROB,
)
BIC = Measure(
    (
        Metric(
            "bic",
            "Bayesian information criterion of the training rows, k log N - 2 log p(rows), in nats",
            better=-1,
            selects=True,
        ),
    ),
    bic,
    data="a table or vectors",
    reading=FIT,
    reference="Schwarz 1978",
)
