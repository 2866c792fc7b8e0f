"""Queries to a discrete Bayesian network with evidence: probabilities, posteriors, expected counts, draws. See `elimination`.

Families are log-tables [levels of each parent ..., levels] of each variable, NumPy arrays. Where the evidence consists of
NumPy arrays too, all is computed on the host (measures, EM); where it is on the device, so is all that depends on it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gen_jax.models.bayes_net import elimination
from gen_jax.models.bayes_net.elimination import Plan, aligned, cells, kernel, log_max, log_sum, numbered, placed

Array = Any  # np.ndarray or jax.Array


class Evidence(NamedTuple):
    """What is known of B rows of D variables; the rows come last, as in the tables. Arrays, or lists of their D rows."""

    x: Array  # [D, B] int32, any level where nothing is known
    observed: Array  # [D, B] bool
    done: Array  # [D, B] bool: observed because somebody set it, which says nothing of its causes (Pearl's do)


class Pattern(NamedTuple):
    """Which variables the rows know, all of them or some of them: what a query is compiled for."""

    known: frozenset[int] = frozenset()  # in every row
    partly: frozenset[int] = frozenset()  # in some
    cut: frozenset[int] = frozenset()  # done in every row
    partly_cut: frozenset[int] = frozenset()


def pattern_of(observed: np.ndarray, done: np.ndarray) -> Pattern:
    """The pattern of rows [D, B], at least one."""

    def sets(mask: np.ndarray) -> tuple[frozenset, frozenset]:
        every, some = np.flatnonzero(mask.all(1)), np.flatnonzero(mask.any(1) & ~mask.all(1))
        return frozenset(every.tolist()), frozenset(some.tolist())

    return Pattern(*sets(observed), *sets(done))


def plan_for(cards: tuple, parents: tuple, pattern: Pattern, keep: tuple[int, ...] = ()) -> Plan:
    """The plan of a query with that pattern of evidence, see `elimination.plan`; what is cut off is left out of it."""
    left = tuple(() if i in pattern.cut else above for i, above in enumerate(parents))
    return elimination.plan(cards, left, pattern.known, keep)


def evidence_of(x: np.ndarray, observed: np.ndarray | None = None, done: np.ndarray | None = None) -> Evidence:
    """Evidence of rows x [B, D]; complete where `observed` is None."""
    observed = np.ones(x.shape, bool) if observed is None else observed
    done = np.zeros(x.shape, bool) if done is None else done
    return Evidence(np.where(observed, x, 0).T.astype(np.int32), observed.T, done.T)


def factors(plan: Plan, families: Sequence[Array], parents: tuple, pattern: Pattern, evidence: Evidence) -> dict:
    """The families with the evidence filled in: log-tables [levels of what is unknown ..., B or 1] by their number."""
    found = {}
    for i, table in enumerate(families):
        if i in pattern.cut:
            continue
        scope, free = (*parents[i], i), plan.scopes[i]
        known = [each for each in scope if each in pattern.known]
        done = evidence.done[i] if i in pattern.partly_cut else None
        own = (evidence.observed[i], evidence.x[i]) if i in pattern.partly else None
        order = tuple(scope.index(each) for each in (*free, *known))
        found[i] = filled(
            (order, len(free), placed((i,), free)), table, [evidence.x[each] for each in known], done, own
        )
    return found


@kernel
def filled(static: tuple, table: Array, known: list[Array], done: Array | None, own: tuple | None) -> Array:
    """A family's log-table [levels of each parent ..., levels] with the evidence filled in [unknown levels ..., B or 1].

    Args:
      static: the order of its axes, the unknown ones first, how many these are, and the variable's own among them.
      known: levels [B] of each variable that every row knows, in the order of the axes.
      done: where the variable was set from outside, so that the family says nothing [B]; None where nowhere.
      own: in which rows the variable itself is observed [B], and its level there [B]; None where nowhere.
    """
    order, free, place = static
    table = table.transpose(order)
    sizes, table = table.shape[free:], table.reshape(*table.shape[:free], -1)
    if known:
        config = numbered(known, sizes)
        table = config.__array_namespace__().take(table, config, axis=-1)
    xp = (own or (table if done is None else done,))[0].__array_namespace__()
    if done is not None:
        table = xp.where(done.reshape((1,) * free + done.shape), 0, table)
    if own is not None:
        levels = np.arange(table.shape[place.index(0)])
        agrees = ~own[0][None] | (own[1][None] == levels[:, None])
        table = xp.where(aligned(agrees, place), table, -np.inf)
    return table


def log_evidence(plan: Plan, families: Sequence[Array], parents: tuple, pattern: Pattern, evidence: Evidence) -> Array:
    """log P(evidence) of each row [B], where `plan` keeps nothing."""
    kept = elimination.forward(plan, factors(plan, families, parents, pattern, evidence))[2]
    return kept + np.zeros(len(evidence.x[0]), np.float32)


def posterior(plan: Plan, families: Sequence[Array], parents: tuple, pattern: Pattern, evidence: Evidence) -> Array:
    """P(kept variables | evidence) [levels of each ..., B]: one pass. NaN where the evidence is impossible."""
    kept = elimination.forward(plan, factors(plan, families, parents, pattern, evidence))[2]
    return normalised(len(evidence.x[0]), kept)


@kernel
def normalised(rows: int, table: Array) -> Array:
    """The probabilities [levels ..., rows] of a log-table [levels ..., rows or 1]."""
    flat = table.reshape(-1, table.shape[-1])
    shares = table.__array_namespace__().exp(flat - log_sum(flat)[None])
    return (shares + np.zeros((1, rows), np.float32)).reshape(*table.shape[:-1], rows)


def beliefs(
    plan: Plan, families: Sequence[Array], parents: tuple, pattern: Pattern, evidence: Evidence
) -> tuple[list, Array]:
    """P(each family's unknown variables | evidence) [levels ..., B or 1] by one reverse pass, and log P(evidence) [B].

    Those of impossible rows are 0.
    """
    tables, messages, kept = elimination.forward(plan, factors(plan, families, parents, pattern, evidence))
    possible = kept.__array_namespace__().isfinite(kept)
    joints = elimination.joints(plan, tables, messages, possible * np.float32(1))
    steps = (*plan.buckets, plan.kept)
    home = {i: number for number, bucket in enumerate(steps) for i in bucket.factors}
    found = [
        elimination.marginal(joints[home[i]], steps[home[i]].scope, plan.scopes[i]) for i in range(len(plan.cards))
    ]
    return found, kept + np.zeros(len(evidence.x[0]), np.float32)


def posteriors(plan: Plan, families: Sequence[Array], parents: tuple, pattern: Pattern, evidence: Evidence) -> list:
    """P(variable | evidence) [levels, B] of every variable, and log P(evidence) [B], in two passes over the network."""
    found, log_prob = beliefs(plan, families, parents, pattern, evidence)
    xp, possible = log_prob.__array_namespace__(), np.float32(1) * log_prob.__array_namespace__().isfinite(log_prob)
    each = []
    for i, belief in enumerate(found):
        if i in pattern.known:
            each.append(possible[None] * (evidence.x[i][None] == np.arange(plan.cards[i])[:, None]))
        else:
            each.append(
                xp.broadcast_to(elimination.marginal(belief, plan.scopes[i], (i,)), (plan.cards[i], len(possible)))
            )
    return each, log_prob


def expected_counts(
    plan: Plan, families: Sequence[np.ndarray], parents: tuple, evidence: Evidence, weight: np.ndarray, pattern: Pattern
) -> tuple[list, np.ndarray]:
    """Expected counts of every family, shaped as its table, given the evidence, and log P(evidence) [B]; on the host."""
    found, log_prob = beliefs(plan, families, parents, pattern, evidence)
    counts = []
    for i, belief in enumerate(found):
        free, scope = plan.scopes[i], (*parents[i], i)
        known = [each for each in scope if each in pattern.known]
        code = numbered([evidence.x[each] for each in known], [plan.cards[each] for each in known])
        code, size = np.broadcast_to(code, len(weight)), cells(plan.cards, known)
        flat = np.broadcast_to(belief, (*belief.shape[:-1], len(weight))).reshape(-1, len(weight)) * weight[None]
        sums = np.stack([np.bincount(code, row, size) for row in flat])  # [unknown, known]
        sums = sums.reshape([plan.cards[each] for each in (*free, *known)])
        counts.append(sums.transpose([(*free, *known).index(each) for each in scope]))
    return counts, log_prob


def completed(
    plan: Plan,
    families: Sequence[Array],
    parents: tuple,
    pattern: Pattern,
    evidence: Evidence,
    shares: Array,
    best: bool = False,
) -> tuple[list[Array], Array]:
    """The rows with what is unknown filled in, D of [B] int32, and log P(evidence) [B], -inf where it is impossible.

    Args:
      shares: [D, B] in [0, 1); uniform ones make draws from the posterior.
      best: for the most probable explanation instead; the second result is then log P(explanation).
    """
    filled = factors(plan, families, parents, pattern, evidence)
    tables, _, kept = elimination.forward(plan, filled, log_max if best else log_sum)
    found = elimination.trace_back(plan, tables, likeliest if best else drawn, shares)
    x = [evidence.x[i] if i in pattern.known else found[i] for i in range(len(plan.cards))]
    return x, kept + np.zeros(len(evidence.x[0]), np.float32)


def drawn(share: Array, log_prob: Array) -> Array:
    """The level [B] int32 of each distribution [levels, B] at `share` [B] of its mass, never one of probability zero.

    Shares that are uniform in [0, 1) make draws of it.
    """
    top = jnp.maximum(log_prob.max(0), jnp.finfo(jnp.float32).min)
    running = [jnp.exp(log_prob[0] - top)]
    for level in log_prob[1:]:
        running.append(running[-1] + jnp.exp(level - top))
    threshold = share * running[-1]
    return sum(((threshold >= each).astype(jnp.int32) for each in running[:-1]), jnp.zeros(top.shape, jnp.int32))


def likeliest(share: Array, log_prob: Array) -> Array:
    """The most probable level [B] of [levels, B]; of several the first."""
    return log_prob.argmax(0).astype(np.int32)
