"""The records of a measure: its metrics, what it needs, and the function that computes them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.row_functions import Reading

NEGATIVE = {"sign": "negative log-likelihood"}  # entry of the protocol of a metric that was a log-likelihood once


class Metric(NamedTuple):
    """One figure of a measure, by the name that `--metrics`, `evaluate.metrics` and `select` take."""

    name: str
    definition: str  # one line, with the unit
    expected: str = ""  # the value of a model that equals the distribution of the data, if it is known
    better: int = 0  # 1 if a higher value is better, -1 if a lower value is, 0 if neither
    selects: bool = False  # may select a checkpoint; such a metric reads no test row
    default: bool = False  # scored while a model trains whose config names no metrics; such a metric is cheap


class Computation(NamedTuple):
    """A measure that is ready for one data set."""

    # (samples, or the function that `Measure.reading` gives) -> figures by name. An entry that is not a metric of the
    # measure is stored as a detail.
    values: Callable[[Any], Mapping[str, Any]]
    protocol: Callable[[], Mapping[str, Any]]  # everything that a figure depends on besides the model and its samples
    # (num) -> the split and the real rows that stand in the place of samples, if any; None: the first test rows.
    oracle: Callable[[int], tuple[str | None, Rows]] | None = None


class Measure(NamedTuple):
    """The metrics that one computation gives."""

    metrics: tuple[Metric, ...]
    prepare: Callable[[Real], Computation | None]  # None if the data lack what the measure needs
    data: str  # what the data must have, in words
    reading: Reading | None = None  # the function of real rows that the model gives; None: the measure reads samples
    fields: tuple[str, ...] = ("x",)  # what the samples must carry
    least: int = 1  # smallest number of samples
    oracle: str = "as many test rows"  # what stands in the place of samples, in words; only for a measure of samples
    no_oracle: str = "no test split"  # why there are no such rows, if there are none, in a few words
    reference: str = ""  # the paper, with its equation or section


def names_of(measure: Measure) -> tuple[str, ...]:
    """Returns the names of the metrics of a measure."""
    return tuple(metric.name for metric in measure.metrics)
