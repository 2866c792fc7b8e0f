"""Queries to a discrete Bayesian network with evidence: probabilities, posteriors, expected counts and draws.

A family is a variable with its parents. Its log-table [levels of each parent ..., levels of the variable] is a NumPy
array. If the evidence consists of NumPy arrays too, everything is computed on the host (measures, EM). If the evidence
is on the device, all results that depend on it are computed on the device. The algorithm is in `elimination`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gen_jax.models.bayes_net import elimination
from gen_jax.models.bayes_net.elimination import Plan, aligned, axes_within, cells, joint_code, kernel, log_max, log_sum

Array = Any  # np.ndarray or jax.Array
Parents = tuple[tuple[int, ...], ...]  # parents of each variable


class Evidence(NamedTuple):
    """Holds the observed cells of B rows of D variables, as arrays or as lists of D rows.

    Rows come last, as in the tables.
    """

    x: Array  # [D, B] int32, any level in a missing cell
    observed: Array  # [D, B] bool
    done: Array  # [D, B] bool, observed cells that were set, which say nothing of their causes (Pearl's do)


class Pattern(NamedTuple):
    """Holds the variables that are observed in all rows, or in some rows. A query is compiled for a pattern."""

    observed: frozenset[int] = frozenset()  # in every row
    partly_observed: frozenset[int] = frozenset()  # in some rows
    done: frozenset[int] = frozenset()  # in every row
    partly_done: frozenset[int] = frozenset()  # in some rows


class Query(NamedTuple):
    """Holds a network, and the plan of a question to it for one pattern of evidence."""

    plan: Plan
    families: Sequence[Array]  # log-tables [levels of each parent ..., levels of the variable]
    parents: Parents
    pattern: Pattern


class Filling(NamedTuple):
    """Describes a family's table with the evidence filled in. It is hashable, because a kernel is compiled for it."""

    order: tuple[int, ...]  # order of the axes of the table, with the axes of missing variables first
    missing: int  # number of axes of missing variables
    axes: tuple[int | None, ...]  # axis of the variable itself among the missing variables, see `axes_within`


def evidence_of(x: np.ndarray, observed: np.ndarray | None = None, done: np.ndarray | None = None) -> Evidence:
    """Returns the evidence of rows.

    Args:
      x: codes [B, D].
      observed: observed cells, [B, D] bool; None, the default, for all cells.
      done: cells that were set by an intervention, [B, D] bool; None, the default, for no cell.
    """
    observed = np.ones(x.shape, bool) if observed is None else observed
    done = np.zeros(x.shape, bool) if done is None else done
    return Evidence(np.where(observed, x, 0).T.astype(np.int32), observed.T, done.T)


def pattern_of(evidence: Evidence) -> Pattern:
    """Returns the pattern of evidence.

    Args:
      evidence: evidence of at least one row.
    """
    return Pattern(*in_all_or_some(evidence.observed), *in_all_or_some(evidence.done))


def in_all_or_some(mask: np.ndarray) -> tuple[frozenset[int], frozenset[int]]:
    """Returns the variables for which a mask is true in all rows, and the variables for which it is true in some rows.

    Args:
      mask: [D, B] bool.
    """
    every = mask.all(1)
    partly = mask.any(1) & ~every
    return frozenset(np.flatnonzero(every).tolist()), frozenset(np.flatnonzero(partly).tolist())


def query_of(families: Sequence[np.ndarray], parents: Parents, evidence: Evidence, keep: tuple[int, ...] = ()) -> Query:
    """Returns a query that is prepared for the pattern of the evidence.

    Args:
      families: log-tables of the network.
      parents: parents of each variable.
      evidence: NumPy arrays, of which only the pattern is read.
      keep: variables whose joint posterior is the question. Other questions keep no variables, which is the default.

    Raises:
      UserError: if the network is too wide.
    """
    pattern = pattern_of(evidence)
    cards = tuple(table.shape[-1] for table in families)
    uncut = tuple(() if variable in pattern.done else above for variable, above in enumerate(parents))
    plan = elimination.cheapest_plan(cards, uncut, pattern.observed, keep)
    return Query(plan, families, parents, pattern)


def factors(query: Query, evidence: Evidence) -> dict[int, Array]:
    """Returns the log-tables [levels of missing variables ..., B or 1] of the families with the evidence filled in.

    A variable that is set by an intervention in every row has no table.

    Args:
      query: the query.
      evidence: evidence of B rows.
    """
    pattern = query.pattern
    tables = {}
    for i, table in enumerate(query.families):
        if i in pattern.done:
            continue
        scope = (*query.parents[i], i)
        missing = query.plan.scopes[i]
        observed = [variable for variable in scope if variable in pattern.observed]
        order = tuple(scope.index(variable) for variable in (*missing, *observed))
        filling = Filling(order, len(missing), axes_within((i,), missing))
        done, cells_of_variable = None, None
        if i in pattern.partly_done:
            done = evidence.done[i]
        if i in pattern.partly_observed:
            cells_of_variable = evidence.observed[i], evidence.x[i]
        levels = [evidence.x[variable] for variable in observed]
        tables[i] = filled(filling, table, levels, done, cells_of_variable)
    return tables


@kernel
def filled(
    filling: Filling, table: Array, levels: list[Array], done: Array | None, cells_of_variable: tuple | None
) -> Array:
    """Returns a family's log-table with the evidence filled in, [levels of missing variables ..., B or 1].

    Args:
      filling: order of the axes.
      table: log-table [levels of each parent ..., levels of the variable].
      levels: level [B] of each variable that every row observes, in the order of the axes.
      done: rows [B] in which an intervention set the variable, so that the family says nothing; None for no row.
      cells_of_variable: rows [B] in which the variable itself is observed, and its level [B] there; None for no row.
    """
    xp = table.__array_namespace__()
    table = table.transpose(filling.order)
    sizes = table.shape[filling.missing :]
    table = table.reshape(*table.shape[: filling.missing], -1)
    if levels:
        table = xp.take(table, joint_code(levels, sizes), axis=-1)
    if done is not None:
        table = xp.where(done.reshape((1,) * filling.missing + done.shape), 0, table)
    if cells_of_variable is not None:
        observed, x = cells_of_variable
        codes = np.arange(table.shape[filling.axes.index(0)])
        agrees = ~observed[None] | (x[None] == codes[:, None])  # [levels, B]
        table = xp.where(aligned(agrees, filling.axes), table, -np.inf)
    return table


def row_zeros(evidence: Evidence) -> np.ndarray:
    """Returns a zero for each row [B]. Adding it to a result of length 1 gives that result to every row.

    Args:
      evidence: evidence of B rows.
    """
    return np.zeros(len(evidence.x[0]), np.float32)


def log_evidence(query: Query, evidence: Evidence) -> Array:
    """Returns log P(evidence) [B] of each row, in nats.

    Args:
      query: a query that keeps no variables.
      evidence: evidence of B rows.
    """
    return elimination.forward(query.plan, factors(query, evidence)).kept + row_zeros(evidence)


def posterior(query: Query, evidence: Evidence) -> Array:
    """Returns P(kept variables | evidence) [levels of each ..., B] in one pass; NaN if the evidence is impossible.

    Args:
      query: the query.
      evidence: evidence of B rows.
    """
    kept = elimination.forward(query.plan, factors(query, evidence)).kept
    return normalised(len(evidence.x[0]), kept)


@kernel
def normalised(rows: int, table: Array) -> Array:
    """Returns the probabilities [levels ..., rows] of a log-table.

    Args:
      rows: number of rows.
      table: log-table [levels ..., rows or 1].
    """
    flat = table.reshape(-1, table.shape[-1])
    shares = table.__array_namespace__().exp(flat - log_sum(flat)[None])
    return (shares + np.zeros((1, rows), np.float32)).reshape(*table.shape[:-1], rows)


def beliefs(query: Query, evidence: Evidence) -> tuple[list[Array], Array]:
    """Returns P(missing variables of the family | evidence) of each family, and log P(evidence) [B].

    The probabilities have the shape [levels ..., B or 1], and are 0 in impossible rows. One reverse pass computes them
    all.

    Args:
      query: the query.
      evidence: evidence of B rows.
    """
    plan = query.plan
    eliminated = elimination.forward(plan, factors(query, evidence))
    possible = eliminated.kept.__array_namespace__().isfinite(eliminated.kept)
    joints = elimination.joints(plan, eliminated, possible * np.float32(1))
    steps = (*plan.buckets, plan.kept)
    home = {i: number for number, bucket in enumerate(steps) for i in bucket.factors}
    families = [
        elimination.marginal(joints[home[i]], steps[home[i]].scope, scope) for i, scope in enumerate(plan.scopes)
    ]
    return families, eliminated.kept + row_zeros(evidence)


def posteriors(query: Query, evidence: Evidence) -> tuple[list[Array], Array]:
    """Returns P(variable | evidence) [levels, B] of every variable, and log P(evidence) [B], in two passes.

    The probabilities are 0 in impossible rows.

    Args:
      query: the query.
      evidence: evidence of B rows.
    """
    plan = query.plan
    families, log_prob = beliefs(query, evidence)
    xp = log_prob.__array_namespace__()
    possible = np.float32(1) * xp.isfinite(log_prob)
    probabilities = []
    for i, family in enumerate(families):
        if i in query.pattern.observed:
            codes = np.arange(plan.cards[i])
            probability = possible[None] * (evidence.x[i][None] == codes[:, None])
        else:
            alone = elimination.marginal(family, plan.scopes[i], (i,))
            probability = xp.broadcast_to(alone, (plan.cards[i], len(possible)))
        probabilities.append(probability)
    return probabilities, log_prob


def expected_counts(query: Query, evidence: Evidence, weight: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the expected counts of every family given the evidence, and log P(evidence) [B]. Runs on the host.

    Args:
      query: the query.
      evidence: NumPy arrays.
      weight: weight of each row [B].

    Returns:
      The counts, shaped as the table of each family, and the log-probabilities.
    """
    families, log_prob = beliefs(query, evidence)
    counts = [family_counts(query, evidence, weight, i, family) for i, family in enumerate(families)]
    return counts, log_prob


def family_counts(
    query: Query, evidence: Evidence, weight: np.ndarray, variable: int, family: np.ndarray
) -> np.ndarray:
    """Returns the expected counts of one family, shaped as its table.

    Args:
      query: the query.
      evidence: NumPy arrays.
      weight: weight of each row [B].
      variable: number of the variable of the family.
      family: P(missing variables of the family | evidence) [levels ..., B or 1].
    """
    cards = query.plan.cards
    scope = (*query.parents[variable], variable)
    observed = [member for member in scope if member in query.pattern.observed]
    code = joint_code([evidence.x[member] for member in observed], [cards[member] for member in observed])
    code = np.broadcast_to(code, len(weight))
    shares = np.broadcast_to(family, (*family.shape[:-1], len(weight))).reshape(-1, len(weight)) * weight[None]
    size = cells(cards, observed)
    sums = np.stack([np.bincount(code, share, size) for share in shares])  # [missing, observed]
    axes = (*query.plan.scopes[variable], *observed)
    sums = sums.reshape([cards[member] for member in axes])
    return sums.transpose([axes.index(member) for member in scope])


def completed(query: Query, evidence: Evidence, shares: Array, best: bool = False) -> tuple[list[Array], Array]:
    """Returns the rows with all missing cells filled in, D arrays [B] int32, and log P(evidence) [B].

    The log-probability is -inf if the evidence is impossible.

    Args:
      query: the query.
      evidence: the rows.
      shares: numbers [D, B] in [0, 1). Uniform shares give draws from the posterior.
      best: whether to take the most probable explanation; by default False. The second result is then log
        P(explanation).
    """
    plan = query.plan
    eliminated = elimination.forward(plan, factors(query, evidence), log_max if best else log_sum)
    levels = elimination.trace_back(plan, eliminated.tables, likeliest if best else level_of_share, shares)
    x = [evidence.x[i] if i in query.pattern.observed else levels[i] for i in range(len(plan.cards))]
    return x, eliminated.kept + row_zeros(evidence)


def level_of_share(share: Array, log_prob: Array) -> Array:
    """Returns the level [B] int32 of each distribution at a share of its mass, but never a level of probability zero.

    Args:
      share: numbers [B] in [0, 1). Uniform shares give draws.
      log_prob: log-probabilities [levels, B], up to a constant.
    """
    top = jnp.maximum(log_prob.max(0), jnp.finfo(jnp.float32).min)
    running = [jnp.exp(log_prob[0] - top)]
    for level in log_prob[1:]:
        running.append(running[-1] + jnp.exp(level - top))
    threshold = share * running[-1]
    return sum(((threshold >= mass).astype(jnp.int32) for mass in running[:-1]), jnp.zeros(top.shape, jnp.int32))


def likeliest(share: Array, log_prob: Array) -> Array:
    """Returns the most probable level [B] int32. The first level wins a tie.

    Args:
      share: not used.
      log_prob: log-probabilities [levels, B].
    """
    return log_prob.argmax(0).astype(np.int32)
