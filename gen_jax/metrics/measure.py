"""The record of a measure. What measures there are is said in the package itself."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gen_jax.metrics.features import Rows


class Measure(NamedTuple):
    """Figures that one computation gives."""

    # of raw samples, or of a function of raw rows (see `metrics.rows.under`): name -> value; what is no metric is a detail
    values: Callable[[Any], Mapping[str, Any]]
    protocol: Callable[[], Mapping[str, Any]]  # all that a value depends on besides the samples
    oracle: Callable[[int], tuple[str, Rows]] | None = None  # num -> (split, real rows); held-out ones where None
    needs: tuple[str, ...] = ("x",)  # what samples must carry
    least: int = 1  # samples, at least
    of: str = "samples"  # or "log_prob", "fit", "elbo", "bound", "codes" of real rows
