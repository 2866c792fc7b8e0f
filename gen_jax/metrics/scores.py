"""Scores as they are stored, compared and shown. `gen_jax.verbs.score` computes them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gen_jax import files
from gen_jax.errors import UserError
from gen_jax.metrics import catalogue
from gen_jax.metrics.measure import NEGATIVE, Measure, names_of


class Marks(NamedTuple):
    """Signs of a table of scores."""

    higher: str  # behind a metric whose higher values are better
    lower: str  # behind a metric whose lower values are better
    error: str  # before a standard error


MARKS = Marks("\N{UPWARDS ARROW}", "\N{DOWNWARDS ARROW}", "\N{PLUS-MINUS SIGN}")
ASCII_MARKS = Marks("^", "v", "+-")
# By the name of a metric: `value`, `oracle` and `protocol`; `no_oracle`, the reason if `oracle` is None; `details` if the
# measure gives other figures; `standard_error` and `values` of replicas; `last`, the value of the newest checkpoint, if
# an earlier one was selected.
Scores = dict[str, dict]
NUMBERS = ("value", "oracle", "standard_error", "last")  # entries that are numbers or None
SIGNED = ("value", "oracle", "last")  # of these, the ones that have the sign of the metric


def entries(
    names: Sequence[str], measure: Measure, values: Mapping, oracle: Mapping, reason: str, protocol: Mapping
) -> Scores:
    """Returns the scores of one measure; a value that is not a finite number is None.

    Args:
      names: of the metrics that are asked for.
      measure: the measure.
      values: figures of the model. An entry that is no metric of the measure is stored as a detail.
      oracle: figures of real rows.
      reason: why a figure of real rows is missing, if it is.
      protocol: everything that the figures depend on besides the model.
    """
    other = {name: value for name, value in values.items() if name not in names_of(measure)}
    details = jax.tree.map(finite, other)
    scores: Scores = {}
    for name in names:
        value, real_value = finite(values.get(name)), finite(oracle.get(name))
        scores[name] = {"value": value, "oracle": real_value, "protocol": protocol}
        if real_value is None:
            scores[name]["no_oracle"] = reason
        if details:
            scores[name]["details"] = details
    return scores


def sample_count(scores: Scores) -> int:
    """Returns the number of samples behind scores; 0 if no measure reads samples.

    It is below the number asked for if a model needs conditions, and the test rows hold fewer.
    """
    return max((entry["protocol"].get("samples", 0) for entry in scores.values()), default=0)


def heading(step: int, scores: Scores) -> str:
    """Returns the line above a table of scores: the step, and the number of samples if there are samples."""
    num = sample_count(scores)
    return f"step {step}, {num} samples" if num else f"step {step}"


def finite(value: float | None) -> float | None:
    """Returns a value that JSON can hold: None for a value that is not finite."""
    return value if value is not None and math.isfinite(value) else None


def mean_scores(replicas: Sequence[Scores]) -> Scores:
    """Returns the scores of replicas as one: the mean, its `standard_error`, and the `values` of the replicas."""
    if len(replicas) == 1:
        return replicas[0]
    scores = {}
    for name, first in replicas[0].items():
        values = [replica[name]["value"] for replica in replicas]
        numbers = [value for value in values if value is not None]
        mean = float(np.mean(numbers)) if numbers else None
        scores[name] = {**first, "value": mean, "standard_error": standard_error(numbers), "values": values}
    return scores


def standard_error(values: Sequence[float] | np.ndarray) -> float | None:
    """Returns the standard error of a mean; None if there are fewer than two values.

    Args:
      values: the values.
    """
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else None


def read_scores(workdir: str) -> Scores:
    """Returns the scores in the `evaluation.json` of a run.

    Raises:
      UserError: for a run without scores, and as `read_evaluation`.
    """
    if not (Path(workdir) / "evaluation.json").exists():
        raise UserError(
            f"scores of {workdir} are missing; expected a scored run. Run python -m gen_jax.evaluate --workdir "
            f"{workdir}"
        )
    return read_evaluation(Path(workdir))[1]


def read_evaluation(workdir: Path) -> tuple[int, Scores]:
    """Returns the step of the `evaluation.json` of a run, and the scores of that step, as `todays`.

    Raises:
      UserError: for a file that holds anything else.
    """
    path = workdir / "evaluation.json"
    content = files.read_json(path)
    step, scores = content.get("step"), content.get("metrics")
    if not (isinstance(step, int) and isinstance(scores, dict) and all(map(_is_score, scores.values()))):
        raise UserError(
            f"{path} holds no scores; expected the scores of a run. Write it anew: python -m gen_jax.evaluate "
            f"--workdir {workdir}"
        )
    return step, todays(scores)


def todays(scores: Scores) -> Scores:
    """Returns scores of any version of this package by the names, and with the signs, of today.

    Earlier versions stored some log-likelihoods under names that are not used any more; see `catalogue.NEGATED`.
    """
    converted = {}
    for name, entry in scores.items():
        new_name = catalogue.negated(name)
        converted[new_name or name] = negative(entry) if new_name else entry
    return converted


def negative(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the score of a log-likelihood as the score of its negative; errors have no sign."""
    changed: dict[str, Any] = {name: minus(entry[name]) for name in SIGNED if name in entry}
    if "values" in entry:
        changed["values"] = [minus(value) for value in entry["values"]]
    return {**entry, **changed, "protocol": {**entry["protocol"], **NEGATIVE}}


def minus(value: float | None) -> float | None:
    """Returns -value; None for None."""
    return None if value is None else -value


def _is_score(entry: Any) -> bool:
    if not (
        isinstance(entry, dict) and isinstance(entry.get("protocol"), dict) and {"value", "oracle"} <= entry.keys()
    ):
        return False
    values, reason = entry.get("values", []), entry.get("no_oracle", "")
    if not (isinstance(values, list) and isinstance(reason, str)):
        return False
    numbers = [*(entry.get(name) for name in NUMBERS), *values]
    return all(number is None or isinstance(number, int | float) for number in numbers)


def real_data_cell(name: str, entry: Mapping[str, Any]) -> str:
    """Returns what real data score in four digits, or why they have no score.

    Args:
      name: of the metric.
      entry: its score. Earlier versions stored no reason: it is that of the measure.
    """
    if entry["oracle"] is not None:
        return f"{entry['oracle']:.4g}"
    if "no_oracle" in entry:
        return entry["no_oracle"]
    measure = catalogue.measures().get(name)
    if measure is None or entry["protocol"].get("oracle_split"):
        return "not stored"
    return measure.no_oracle if measure.reading is None else measure.reading.no_oracle


def save_scores(workdir: Path, step: int, scores: Scores) -> None:
    """Writes `evaluation.json`.

    Args:
      workdir: directory of the run.
      step: of the scores.
      scores: the scores.
    """
    files.write_json(workdir / "evaluation.json", {"step": step, "metrics": scores})


def marks_for(stream: Any) -> Marks:
    """Returns the signs of a table in characters that a stream can write."""
    try:
        "".join(MARKS).encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII_MARKS
    return MARKS


def marked(name: str, marks: Marks) -> str:
    """Returns the name of a metric with the mark of its better direction, if it has one."""
    metric = catalogue.metrics().get(name)
    if metric is None or metric.better == 0:
        return name
    return f"{name} {marks.higher if metric.better > 0 else marks.lower}"


def table(scores: Scores, marks: Marks = MARKS) -> str:
    """Returns the scores as text, a line for each metric.

    The columns are the value, the standard error over replicas, the value of the newest checkpoint, and the value of
    real data. A column without an entry is left out.

    Args:
      scores: the scores.
      marks: its signs.
    """
    heads = {"value": "value", "error": "standard_error", "last": "last"}
    heads = {head: key for head, key in heads.items() if any(key in entry for entry in scores.values())}
    rows = [["metric", *heads, "real data"]]
    for name, entry in scores.items():
        cells = [number_cell(entry.get(key)) for key in heads.values()]
        rows.append([marked(name, marks), *cells, real_data_cell(name, entry)])
    return "\n".join(filter(None, (aligned(rows), legend(rows, marks))))


def number_cell(value: float | None) -> str:
    """Returns a number in four digits; a dash for None."""
    return "-" if value is None else f"{value:.4g}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of cells as text; the first column stands on the left, the others on the right."""
    widths = [max(len(row[0]) for row in rows) + 2]
    widths += [max(12, *(len(cell) + 2 for cell in column)) for column in list(zip(*rows))[1:]]
    lines = []
    for first, *cells in rows:
        line = f"{first:<{max(26, widths[0])}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:]))
        lines.append(line.rstrip())
    return "\n".join(lines)


def legend(rows: Sequence[Sequence[str]], marks: Marks) -> str:
    """Returns the line that explains the marks in the first column; the empty text if there are none."""
    if not any({marks.higher, marks.lower} & {*first.split()} for first, *_ in rows):
        return ""
    return f"{marks.higher} higher is better, {marks.lower} lower is better"
