"""Scores as they are stored, compared and shown. `gen_jax.verbs.score` computes them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gen_jax import config, files
from gen_jax.errors import UserError
from gen_jax.metrics.measure import Measure, names_of

# By the name of a metric: `value`, `oracle` and `protocol`; `details` if the measure gives other figures;
# `standard_error` and `values` of replicas; `last`, the value of the newest checkpoint, if an earlier one was selected.
Scores = dict[str, dict]


def entries(names: Sequence[str], measure: Measure, values: Mapping, oracle: Mapping, protocol: Mapping) -> Scores:
    """Returns the scores of one measure; a value that is not a finite number is None.

    Args:
      names: of the metrics that are asked for.
      measure: the measure.
      values: figures of the model. An entry that is no metric of the measure is stored as a detail.
      oracle: figures of real rows.
      protocol: everything that the figures depend on besides the model.
    """
    other = {name: value for name, value in values.items() if name not in names_of(measure)}
    details = jax.tree.map(finite, other)
    scores: Scores = {}
    for name in names:
        value, real_value = finite(values.get(name)), finite(oracle.get(name))
        scores[name] = {"value": value, "oracle": real_value, "protocol": protocol}
        if details:
            scores[name]["details"] = details
    return scores


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
        error = float(np.std(numbers, ddof=1) / len(numbers) ** 0.5) if len(numbers) > 1 else None
        scores[name] = {**first, "value": mean, "standard_error": error, "values": values}
    return scores


def refuse_other_protocol(scores: Scores, others: Scores, origin: str) -> None:
    """Refuses to compare scores that were not taken in the same way.

    Args:
      scores: the scores.
      others: scores of another run.
      origin: name of the other run.

    Raises:
      UserError: for a difference; it names the metric, the first entry of the protocol that differs, and both values.
    """
    for name in scores:
        if name not in others:
            continue
        protocol, other_protocol = (config.plain(entry[name]["protocol"]) for entry in (scores, others))
        for fact in {**protocol, **other_protocol}:
            if protocol.get(fact) != other_protocol.get(fact):
                raise UserError(
                    f"{name} does not compare with that of {origin}: {fact} is {protocol.get(fact)!r} here "
                    f"and {other_protocol.get(fact)!r} there"
                )


def read_scores(workdir: str) -> Scores:
    """Returns the scores in the `evaluation.json` of a run.

    Raises:
      UserError: for a run without scores, and as `read_evaluation`.
    """
    if not (Path(workdir) / "evaluation.json").exists():
        raise UserError(f"{workdir} has no scores yet; first run: python -m gen_jax.evaluate --workdir {workdir}")
    return read_evaluation(Path(workdir))[1]


def read_evaluation(workdir: Path) -> tuple[int, Scores]:
    """Returns the step of the `evaluation.json` of a run, and the scores of that step.

    Raises:
      UserError: for a file that holds anything else.
    """
    path = workdir / "evaluation.json"
    content = files.read_json(path)
    step, scores = content.get("step"), content.get("metrics")
    if not (isinstance(step, int) and isinstance(scores, dict) and all(map(_is_score, scores.values()))):
        raise UserError(f"{path} holds no scores; write it anew: python -m gen_jax.evaluate --workdir {workdir}")
    return step, scores


def _is_score(entry: Any) -> bool:
    numbers = ("value", "oracle", "standard_error", "last")
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("protocol"), dict)
        and {"value", "oracle"} <= entry.keys()
        and all(entry.get(name) is None or isinstance(entry[name], int | float) for name in numbers)
    )


def save_scores(workdir: Path, step: int, scores: Scores) -> None:
    """Writes `evaluation.json`.

    Args:
      workdir: directory of the run.
      step: of the scores.
      scores: the scores.
    """
    files.write_json(workdir / "evaluation.json", {"step": step, "metrics": scores})


def table(scores: Scores, others: Scores | None, origin: str) -> str:
    """Returns the scores as text, a line for each metric.

    The columns are the value, the standard error over replicas, the value of the newest checkpoint, and the value of
    real data. A column without an entry is left out.

    Args:
      scores: the scores.
      others: scores of another run, whose values are the last column; None for no such column.
      origin: heading of that column.
    """
    keys = {"value": "value", "error": "standard_error", "last": "last", "real data": "oracle"}
    heads = [head for head in keys if any(keys[head] in entry for entry in scores.values())]
    titles = heads if others is None else [*heads, origin]
    lines = [f"{'metric':<26}" + "".join(f"{title:>12}" for title in titles)]
    for name, entry in scores.items():
        values = [entry.get(keys[head]) for head in heads]
        if others is not None:
            values.append(others.get(name, {}).get("value"))
        cells = ("-" if value is None else f"{value:.4g}" for value in values)
        lines.append(f"{name:<26}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)
