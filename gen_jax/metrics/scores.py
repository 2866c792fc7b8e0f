"""Scores as they are stored, compared and shown. How they come about is said elsewhere."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gen_jax import config, files
from gen_jax.errors import UserError
from gen_jax.metrics import METRICS
from gen_jax.metrics.measure import Measure

# name -> {"value", "oracle", "protocol"}, "details" where a measure has more to tell, "standard_error" of replicas,
# "last", the value of the newest checkpoint where another one was selected
Scores = dict[str, dict]


def figures(names: list[str], measure: Measure, values: Mapping, oracle: Mapping, facts: dict) -> Scores:
    """The entries of the metrics of one measure; a value that is no finite number is None."""
    details = jax.tree.map(finite, {name: value for name, value in values.items() if name not in METRICS})
    more = {"details": details} if details else {}
    protocol = {**facts, **measure.protocol()}
    return {
        name: {"value": finite(values.get(name)), "oracle": finite(oracle.get(name)), "protocol": protocol, **more}
        for name in names
    }


def finite(value: float | None) -> float | None:
    """A value as JSON can hold it."""
    return value if value is not None and math.isfinite(value) else None


def mean_scores(each: list[Scores]) -> Scores:
    """The scores of replicas as one: `value` is their mean, beside its `standard_error` and the `values` of each."""
    if len(each) == 1:
        return each[0]
    scores = {}
    for name, first in each[0].items():
        values = [one[name]["value"] for one in each]
        known = [value for value in values if value is not None]
        mean = float(np.mean(known)) if known else None
        error = float(np.std(known, ddof=1) / len(known) ** 0.5) if len(known) > 1 else None
        scores[name] = {**first, "value": mean, "standard_error": error, "values": values}
    return scores


def refuse_other_protocol(scores: Scores, others: Scores, origin: str) -> None:
    """Refuses to set scores beside others that were not taken in the same way.

    Raises:
      UserError: naming the metric, the first entry of the protocol that differs, and both values.
    """
    for name in [name for name in scores if name in others]:
        mine, theirs = (config.plain(each[name]["protocol"]) for each in (scores, others))
        for entry in {**mine, **theirs}:
            if mine.get(entry) != theirs.get(entry):
                raise UserError(
                    f"{name} does not compare with that of {origin}: {entry} is {mine.get(entry)!r} here "
                    f"and {theirs.get(entry)!r} there"
                )


def read_scores(workdir: str) -> Scores:
    """The metrics of a run's `evaluation.json`.

    Raises:
      UserError: where it has none, or as `read_evaluation`.
    """
    if not (Path(workdir) / "evaluation.json").exists():
        raise UserError(f"{workdir} has no scores yet; first run: python -m gen_jax.evaluate --workdir {workdir}")
    return read_evaluation(Path(workdir))[1]


def read_evaluation(workdir: Path) -> tuple[int, Scores]:
    """The step of a run's `evaluation.json` and the scores of that step.

    Raises:
      UserError: where the file holds anything else.
    """
    path = workdir / "evaluation.json"
    found = files.read_json(path)
    step, scores = found.get("step"), found.get("metrics")
    whole = isinstance(step, int) and isinstance(scores, dict) and all(map(_is_score, scores.values()))
    if not whole:
        raise UserError(f"{path} holds no scores; write it anew: python -m gen_jax.evaluate --workdir {workdir}")
    return step, scores


def _is_score(each: Any) -> bool:
    numbers = ("value", "oracle", "standard_error", "last")
    return (
        isinstance(each, dict)
        and isinstance(each.get("protocol"), dict)
        and {"value", "oracle"} <= each.keys()
        and all(each.get(name) is None or isinstance(each[name], int | float) for name in numbers)
    )


def save_scores(workdir: Path, step: int, scores: Scores) -> None:
    """Writes `evaluation.json`."""
    files.write_json(workdir / "evaluation.json", {"step": step, "metrics": scores})


def table(scores: Scores, others: Scores | None, origin: str) -> str:
    """Value and oracle of each metric, a line each.

    Beside them the standard error of replicas, the value of the last checkpoint where another one was selected, and the
    value in `others`, where there are any.
    """
    keys = {"value": "value", "error": "standard_error", "last": "last", "real data": "oracle"}
    heads = [head for head in keys if any(keys[head] in each for each in scores.values())]
    lines = [f"{'metric':<26}" + "".join(f"{head:>12}" for head in heads + ([origin] if others is not None else []))]
    for name, each in scores.items():
        values = [each.get(keys[head]) for head in heads]
        values += [others.get(name, {}).get("value")] if others is not None else []
        lines.append(f"{name:<26}" + "".join(f"{'-' if value is None else f'{value:.4g}':>12}" for value in values))
    return "\n".join(lines)
