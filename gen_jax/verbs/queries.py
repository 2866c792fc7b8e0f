"""Answers questions about the columns of a table: distributions, entropies and mutual informations under a model."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.evidence import (
    Condition,
    as_given,
    column_names,
    condition_cells,
    condition_of,
    model_condition,
    row_filter,
)
from gen_jax.data.tables.values import texts_of
from gen_jax.errors import UserError, choose
from gen_jax.keys import root
from gen_jax.metrics.tables.entropies import information_of_samples
from gen_jax.storage import loading
from gen_jax.verbs.draw import draw

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DRAWS = 4096  # number of draws for results that are not exact: quantiles of numbers, and conditions on ranges
SIZE = 8192  # number of samples that are drawn together for an information


class Distribution(NamedTuple):
    """Holds the distribution of one column given other columns."""

    levels: dict[str, float]  # probability of each level, with the likeliest first; empty for a column of numbers
    quantiles: dict[float, str]  # quantile as text by its share; empty for a column with levels
    exact: bool  # whether the result is exact instead of an estimate from `DRAWS` draws


class Information(NamedTuple):
    """Holds an entropy or a mutual information."""

    title: str  # name, such as I(lung; smoke | bronc)
    nats: float
    error: float | None  # standard error of an estimate from samples; None if the value is exact


def distribution(loaded: loading.Loaded, of: str | None, given: str | None, seed: int) -> Distribution:
    """Returns the distribution of one column given other columns.

    The probabilities of levels are exact, unless the condition has ranges. All other results are estimated from draws.

    Args:
      loaded: the run.
      of: name of the column.
      given: the condition, such as `smoke=yes,age>40`; None for no condition.
      seed: seed of the draws.

    Raises:
      UserError: for an unknown column, an intervention, and in the cases of `level_probabilities`.
    """
    names = column_names(loaded.spec)
    of = choose(f"column of {loaded.spec.name} in --of", of or "", names)
    condition = None if given is None else condition_of(loaded.spec, given)
    if condition and condition.done:
        raise UserError(f"--given {given} has do(); expected a condition without do(). Use gen_jax.sample")
    column = columns(loaded.spec)[names.index(of)]
    if "levels" not in column:
        x = drawn_column(loaded, of, condition, seed)
        texts = texts_of(column, np.quantile(x, QUANTILES, method="nearest"))
        return Distribution({}, dict(zip(QUANTILES, texts)), exact=False)
    exact = row_filter(condition) is None
    if exact:
        shares = level_probabilities(loaded, of, condition)
    else:
        codes = drawn_column(loaded, of, condition, seed).astype(int)
        shares = dict(zip(column["levels"], np.bincount(codes, minlength=len(column["levels"])) / DRAWS))
    likeliest_first = sorted(shares.items(), key=lambda item: -item[1])
    return Distribution(dict(likeliest_first), {}, exact)


def level_probabilities(loaded: loading.Loaded, of: str, condition: Condition | None = None) -> dict[str, float]:
    """Returns P(level | condition) for each level of a column, exactly, as P(level, condition) / P(condition).

    Args:
      loaded: the run.
      of: name of a column with levels.
      condition: observed cells; by default None, no condition.

    Raises:
      UserError: for a model without an exact likelihood, a column of numbers, or an impossible condition.
    """
    spec, model = loaded.spec, loaded.model
    if model.log_prob is None or "mask" not in model.given:
        raise UserError(
            "this model has no exact likelihood of a part of a row; expected a bayes_net, mixture, forest or bernoulli"
        )
    names = column_names(spec)
    place = names.index(choose(f"column of {spec.name} in --of", of, names))
    levels = columns(spec)[place].get("levels")
    if levels is None:
        raise UserError(f"column {of!r} holds numbers; expected a column with levels")
    rows = np.full((len(levels), len(names)), np.nan)
    if condition is not None:
        rows = condition_cells(spec, condition, len(levels))
    if not np.isnan(rows[:, place]).all():
        raise UserError(f"column {of!r} stands in --of and in --given; expected it in one of them")
    rows[:, place] = np.arange(len(levels))
    log_p = np.asarray(model.log_prob(root(0, "scores"), loaded.state, as_given(spec, rows)), np.float64)
    if np.isneginf(log_p).all():
        raise UserError(
            f"--given {condition.text if condition else None} is impossible under this model; expected a probability "
            "above 0"
        )
    p = np.exp(log_p - log_p.max())
    return dict(zip(levels, (p / p.sum()).tolist()))


def drawn_column(loaded: loading.Loaded, of: str, condition: Condition | None, seed: int) -> np.ndarray:
    """Returns `DRAWS` values of a column under a condition. Levels are their places.

    Args:
      loaded: the run.
      of: name of the column.
      condition: condition on the rows; None for no condition.
      seed: seed of the draws.
    """
    spec = loaded.spec
    given, cells = None, None
    if condition is not None:
        given, cells = model_condition(spec, condition, DRAWS), condition_cells(spec, condition, DRAWS)
    fits = row_filter(condition)
    rows = draw(loaded.model, loaded.state, spec, seed, DRAWS, given, fixed_cells=cells, fits=fits)["x"]
    return rows[:, column_names(spec).index(of)]


def information_between(
    loaded: loading.Loaded, of: Sequence[int], about: Sequence[int], given: Sequence[int], num: int, seed: int
) -> Information:
    """Returns H(of), H(of | given), I(of; about) or I(of; about | given) in nats.

    The value is exact for a Bayesian network, and estimated for other models.

    Args:
      loaded: the run.
      of: places of columns.
      about: places of columns; empty for the entropy of `of`.
      given: places of the columns of the condition.
      num: number of samples of an estimate.
      seed: seed of the draws.

    Raises:
      UserError: for a column in two of the three lists, columns of numbers in an estimate, or too many columns for a
        network.
    """
    names = column_names(loaded.spec)
    for place, name in enumerate(names):
        if (place in of) + (place in about) + (place in given) > 1:
            raise UserError(f"column {name!r} stands in two of --of, --about and --given; expected it in one")
    texts = [", ".join(names[place] for place in places) for places in (of, about, given)]
    title = f"I({texts[0]}; {texts[1]}" if about else f"H({texts[0]}"
    title += f" | {texts[2]})" if given else ")"
    about = about or of
    if "information" in loaded.model.extras:
        return Information(title, loaded.model.extras["information"](loaded.state, of, about, given), None)
    nats, error = estimated_information(loaded, of, about, given, num, seed)
    return Information(title, nats, error)


def estimated_information(
    loaded: loading.Loaded, of: Sequence[int], about: Sequence[int], given: Sequence[int], num: int, seed: int
) -> tuple[float, float]:
    """Returns I(of; about | given) in nats from samples of the model, and its standard error.

    Args:
      loaded: the run.
      of: places of columns.
      about: places of columns. If they equal `of`, the result is H(of | given).
      given: places of the columns of the condition.
      num: number of samples.
      seed: seed of the draws.

    Raises:
      UserError: for a column of numbers.
    """
    for place in (*of, *about, *given):
        column = columns(loaded.spec)[place]
        if "levels" not in column:
            raise UserError(
                f"column {column['name']!r} holds numbers; expected levels. Train a bayes_net, which bins numbers"
            )
    codes = draw(loaded.model, loaded.state, loaded.spec, seed, num, size=SIZE)["x"]
    return information_of_samples(codes, of, about, given)


def places_of(spec: Spec, flag: str, text: str | None) -> list[int]:
    """Returns the places of the columns in `NAME,NAME`, without repetitions.

    Args:
      spec: facts of the table.
      flag: name of the flag, for the error.
      text: the names; None for no columns.

    Raises:
      UserError: for an unknown column.
    """
    if text is None:
        return []
    names = column_names(spec)
    listed = dict.fromkeys(name.strip() for name in text.split(","))
    return [names.index(choose(f"column in --{flag}", name, names)) for name in listed]
