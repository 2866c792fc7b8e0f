"""The records of a measure: its metrics, what it needs, and the function that computes them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.row_functions import Reading

NEGATIVE = {"sign": "negative log-likelihood"}  # entry of the protocol of a metric that was a log-likelihood once


class Metric(NamedTuple):
    """One figure of a measure, by the name that `--metrics`, `evaluate.metrics` and `select` take.

    Attributes:
      name: name for `--metrics`, `evaluate.metrics`, `select` and `run.score`.
      definition: definition in one line, with the unit.
      expected: the value of a model that equals the distribution of the data, if it is known; by default empty.
      better: 1 if a higher value is better, -1 if a lower value is, 0 if neither; by default 0.
      selects: whether it may select a checkpoint; such a metric reads no test row; by default False.
      default: whether it is scored while a model trains whose config names no metrics; such a metric is cheap; by
        default False.
    """

    name: str
    definition: str
    expected: str = ""
    better: int = 0
    selects: bool = False
    default: bool = False


class Computation(NamedTuple):
    """Holds the functions that compute a measure on one data set.

    Attributes:
      values: function (samples) -> figures by name, each a float. `samples` holds raw rows `x` [N, *shape], and what
        `Measure.fields` asks for. If the measure has a `reading`, the function takes what the reading gives. An entry
        that is not a metric of the measure is stored as a detail.
      protocol: function () -> all facts on which a figure depends, apart from the model and its samples, as plain data;
        `dict` if there are no such facts.
      oracle: function (num) -> (name of a split or None, real rows of this split). The rows are scored in the place of
        samples, and are empty if there are none. By default None, which takes the first test rows.
    """

    values: Callable[[Any], Mapping[str, Any]]
    protocol: Callable[[], Mapping[str, Any]]
    oracle: Callable[[int], tuple[str | None, Rows]] | None = None


class Measure(NamedTuple):
    """Describes a computation and the metrics that it gives.

    A measure of your own is registered, and then has a name for `run.score` and the commands:

        def prepare(real):
            return Computation(lambda samples: {"spread": float(samples["x"].std())}, dict)

        gen_jax.register("spread", Measure((Metric("spread", "standard deviation"),), prepare, "rows"), "measure")

    Attributes:
      metrics: the metrics.
      prepare: function (real) -> the computation for these data; None if the data lack what the measure needs.
      data: what the data must have, in words.
      reading: function of real rows that the model gives, such as its log-likelihood; by default None, the measure
        reads samples.
      fields: arrays that the samples must have; by default ('x',).
      least: smallest number of samples; by default 1.
      oracle: what stands in the place of samples, in words; only for a measure of samples; by default 'as many test
        rows'.
      no_oracle: why there are no such rows, if there are none, in a few words; by default 'no test split'.
      reference: the paper, with its equation or section; by default empty.
    """

    metrics: tuple[Metric, ...]
    prepare: Callable[[Real], Computation | None]
    data: str
    reading: Reading | None = None
    fields: tuple[str, ...] = ("x",)
    least: int = 1
    oracle: str = "as many test rows"
    no_oracle: str = "no test split"
    reference: str = ""


def names_of(measure: Measure) -> tuple[str, ...]:
    """Returns the names of the metrics of a measure."""
    return tuple(metric.name for metric in measure.metrics)
