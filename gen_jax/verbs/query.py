"""Answers questions about one column given others: exact probabilities, or quantiles of draws."""

import numpy as np

from gen_jax.data.spec import columns
from gen_jax.data.tables.evidence import (
    Condition,
    as_given,
    column_names,
    condition_cells,
    model_condition,
    row_filter,
)
from gen_jax.errors import UserError, choose
from gen_jax.keys import root
from gen_jax.storage import loading
from gen_jax.verbs.draw import draw

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DRAWS = 4096  # for what is not exact: quantiles of numbers, and all given ranges


def level_probabilities(loaded: loading.Run, of: str, condition: Condition | None = None) -> dict[str, float]:
    """Returns P(level | condition) for each level of a column: exact, as P(level, condition) divided by its sum over the levels.

    Args:
      loaded: the run.
      of: name of a column with levels.
      condition: cells that are observed; the default is none.

    Raises:
      UserError: for a model without an exact likelihood, a column of numbers, or a condition of probability zero.
    """
    spec, model = loaded.spec, loaded.model
    if model.log_prob is None or "mask" not in model.given:
        raise UserError(
            "this model has no exact likelihood of a part of a row: query a bayes_net, mixture, forest or bernoulli"
        )
    names = column_names(spec)
    at = names.index(choose(f"column of {spec.name} in --of", of, names))
    levels = columns(spec)[at].get("levels")
    if levels is None:
        raise UserError(f"column {of!r} holds numbers; expected a column with levels")
    rows = np.full((len(levels), len(names)), np.nan)
    if condition is not None:
        rows = condition_cells(spec, condition, len(levels))
    if not np.isnan(rows[:, at]).all():
        raise UserError(f"column {of!r} stands in --of and in --given; expected it in one of them")
    rows[:, at] = np.arange(len(levels))
    log_p = np.asarray(model.log_prob(root(0, "scores"), loaded.state, as_given(spec, rows)), np.float64)
    if np.isneginf(log_p).all():
        raise UserError(f"--given {condition.text if condition else None}: impossible under this model")
    p = np.exp(log_p - log_p.max())
    return dict(zip(levels, (p / p.sum()).tolist()))


def draws(loaded: loading.Run, of: str, condition: Condition | None, seed: int) -> np.ndarray:
    """Returns `DRAWS` values of a column, levels as their places, in rows drawn under a condition."""
    spec, given, cells = loaded.spec, None, None
    if condition is not None:
        given, cells = model_condition(spec, condition, DRAWS), condition_cells(spec, condition, DRAWS)
    rows = draw(loaded.model, loaded.state, spec, seed, DRAWS, given, known=cells, fits=row_filter(condition))["x"]
    return rows[:, column_names(spec).index(of)]
