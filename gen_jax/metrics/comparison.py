"""Scores of a run beside the scores of another run: errors over replicas, and differences with their errors."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gen_jax import config
from gen_jax.errors import UserError
from gen_jax.metrics.scores import MARKS, Marks, Scores, aligned, marked, number_cell, standard_error


class Scored(NamedTuple):
    """The stored scores of a run."""

    name: str  # of the run
    scores: Scores
    seeds: tuple[int, ...]  # of its replicas, in the order of `values`; empty if they are unknown


class Difference(NamedTuple):
    """The difference of two means over replicas."""

    value: float
    error: float | None  # standard error; None for a single replica
    pairs: int  # of replicas of equal seeds; 0: the replicas do not pair


def replica_values(entry: Mapping[str, Any]) -> list[float | None]:
    """Returns the value of each replica of a score."""
    return entry.get("values") or [entry["value"]]


def difference(entry: Mapping[str, Any], other_entry: Mapping[str, Any], paired: bool) -> Difference | None:
    """Returns the difference of two scores; None if one of them has no value.

    The error of pairs is the standard deviation of their differences, divided by the root of their number. The error of
    replicas that do not pair is the root of the sum of the squared standard errors (Welch 1947).

    Args:
      entry: a score.
      other_entry: the score that is subtracted.
      paired: whether the replicas have equal seeds, one by one.
    """
    if paired:
        pairs = [
            pair for pair in zip(replica_values(entry), replica_values(other_entry), strict=True) if None not in pair
        ]
        if not pairs:
            return None
        differences = np.array(pairs, np.float64) @ [1.0, -1.0]
        return Difference(float(differences.mean()), standard_error(differences), len(pairs))
    values, others = ([value for value in replica_values(each) if value is not None] for each in (entry, other_entry))
    if not values or not others:
        return None
    first, second = standard_error(values), standard_error(others)
    error = None if first is None or second is None else float(np.hypot(first, second))
    return Difference(float(np.mean(values) - np.mean(others)), error, 0)


def pairs_up(run: Scored, other_run: Scored, name: str) -> bool:
    """Returns whether the replicas of two runs have equal seeds, one by one.

    Args:
      run: a run.
      other_run: another run.
      name: of the metric whose values are paired.
    """
    counts = {len(replica_values(scored.scores[name])) for scored in (run, other_run)}
    return run.seeds == other_run.seeds and counts == {len(run.seeds)}


def differences(run: Scored, other_run: Scored) -> dict[str, dict[str, Any]]:
    """Returns the difference of each metric that two runs have.

    An entry holds `value`, `other`, `difference` (None if one of them has no value), and the `standard_error` and the
    `pairs` of the difference, see `Difference`.

    Args:
      run: the run.
      other_run: the run whose scores are subtracted.

    Raises:
      UserError: for scores that were not taken in the same way.
    """
    refuse_other_protocol(run.scores, other_run.scores, other_run.name)
    entries = {}
    for name in (name for name in run.scores if name in other_run.scores):
        entry, other_entry = run.scores[name], other_run.scores[name]
        gap = difference(entry, other_entry, pairs_up(run, other_run, name))
        value, error, pairs = (None, None, 0) if gap is None else gap
        facts = {"difference": value, "standard_error": error, "pairs": pairs}
        entries[name] = {"value": entry["value"], "other": other_entry["value"], **facts}
    return entries


def comparison_table(run: Scored, other_run: Scored, marks: Marks = MARKS) -> str:
    """Returns the scores of two runs and their differences as text, a line for each metric.

    Args:
      run: the run.
      other_run: the run whose scores are subtracted.
      marks: signs of the table.
    """
    rows = [["metric", "this run", "other run", "difference"]]
    for name, entry in run.scores.items():
        other_entry = other_run.scores.get(name)
        cells = [value_cell(entry, marks)]
        if other_entry is None:
            cells += ["not scored", ""]
        else:
            cells += [value_cell(other_entry, marks), difference_cell(run, other_run, name, marks)]
        rows.append([marked(name, marks), *cells])
    head = f"this run beside {other_run.name}; {marks.error} standard error over replicas (their number)"
    return f"{head}\n{aligned(rows)}"


def value_cell(entry: Mapping[str, Any], marks: Marks) -> str:
    """Returns the mean over replicas, its standard error, and the number of replicas."""
    values = [value for value in replica_values(entry) if value is not None]
    error = standard_error(values)
    shown = number_cell(entry["value"])
    if error is not None:
        shown += f" {marks.error} {error:.2g}"
    return f"{shown} ({len(values)})"


def difference_cell(run: Scored, other_run: Scored, name: str, marks: Marks) -> str:
    """Returns the difference of a metric, or why there is none."""
    fact = differing_fact(run.scores[name], other_run.scores[name])
    if fact is not None:
        return f"not taken alike: {fact}"
    gap = difference(run.scores[name], other_run.scores[name], pairs_up(run, other_run, name))
    if gap is None:
        return "-"
    kind = f"paired ({gap.pairs})" if gap.pairs else "unpaired"
    error = f"{marks.error} {gap.error:.2g}" if gap.error is not None else "without an error,"
    return f"{gap.value:+.4g} {error} {kind}"


def differing_fact(entry: Mapping[str, Any], other_entry: Mapping[str, Any]) -> str | None:
    """Returns the name of the first entry of the protocol in which two scores differ; None if they agree."""
    protocol, other_protocol = config.plain(entry["protocol"]), config.plain(other_entry["protocol"])
    facts = {**protocol, **other_protocol}
    return next((fact for fact in facts if protocol.get(fact) != other_protocol.get(fact)), None)


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
        fact = differing_fact(scores[name], others[name])
        if fact is not None:
            value, other_value = (config.plain(entry[name]["protocol"]).get(fact) for entry in (scores, others))
            raise UserError(
                f"{fact} of {name} is {value!r}; expected {other_value!r}, as in {origin}. Measure both in the same way"
            )
