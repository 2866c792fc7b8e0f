"""Exact inference in discrete Bayesian networks by bucket elimination, in log space and batched over rows of evidence.

A plan says on the host which tables meet in which order; the functions that follow it take NumPy arrays or JAX's, which
they trace. Tables carry the rows in their last axis, of length 1 where they do not depend on the evidence: what no
evidence reaches is computed once. Learning and models live elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from opt_einsum import paths

from gen_jax.errors import UserError

MOST = 2**26  # numbers in one table of one row: 256 MiB
Array = Any  # np.ndarray or jax.Array


class Bucket(NamedTuple):
    """The step that sums one variable out of all tables that mention it."""

    scope: tuple[int, ...]  # variables of its table, the one summed out first
    factors: tuple[int, ...]  # families that enter here
    messages: tuple[int, ...]  # earlier buckets that send here


class Plan(NamedTuple):
    """How a query is answered: which tables of which variables, in which order."""

    cards: tuple[int, ...]  # levels of each of the D variables
    scopes: tuple[tuple[int, ...], ...]  # of each family: those of its parents and itself that are not known
    buckets: tuple[Bucket, ...]
    kept: Bucket  # what remains: a table over the variables asked for


@lru_cache(maxsize=256)
def plan(
    cards: tuple[int, ...], parents: tuple[tuple[int, ...], ...], known: frozenset[int], keep: tuple[int, ...] = ()
) -> Plan:
    """The plan that sums out every variable but those `known` in every row and those to `keep`.

    Raises:
      UserError: where the network is too wide: naming the size of the largest table, before anything is allocated.
    """
    scopes = tuple(tuple(each for each in (*above, i) if each not in known) for i, above in enumerate(parents))
    orders = (greedy(cards, scopes, keep), smallest_first(cards, scopes, keep))
    steps = min((buckets(cards, scopes, order, keep) for order in orders), key=lambda steps: work(cards, steps))
    found = Plan(cards, scopes, tuple(steps[:-1]), steps[-1])
    largest = max(steps, key=lambda bucket: cells(cards, bucket.scope))
    if (size := cells(cards, largest.scope)) > MOST:
        raise UserError(
            f"this network is too wide for exact inference: a table of {len(largest.scope)} variables would hold "
            f"{size:.3g} numbers, {4 * size / 2**30:.3g} GiB for every row; expected at most {MOST:,}: "
            f"fewer parents, fewer levels or more evidence"
        )
    return found


def cells(cards: Sequence[int], scope: Sequence[int]) -> int:
    """Numbers in a table over those variables."""
    return prod(cards[each] for each in scope)


def work(cards: Sequence[int], steps: Sequence[Bucket]) -> int:
    """Numbers in all tables of a plan, for a row."""
    return sum(cells(cards, bucket.scope) for bucket in steps)


def greedy(cards: Sequence[int], scopes: Sequence[tuple[int, ...]], keep: tuple[int, ...]) -> list[int]:
    """The order in which variables vanish along the greedy contraction path of opt_einsum."""
    terms = [frozenset(scope) for scope in scopes if scope]  # of integers: their order in a set is always the same
    order: list[int] = []
    for places in paths.greedy(terms, frozenset(keep), dict(enumerate(cards))) if terms else []:
        joined = frozenset().union(*(terms[place] for place in places))
        terms = [term for place, term in enumerate(terms) if place not in places]
        gone = joined.difference(keep, *terms)
        order += sorted(gone)
        terms.append(joined - gone)
    return order


def smallest_first(cards: Sequence[int], scopes: Sequence[tuple[int, ...]], keep: tuple[int, ...]) -> list[int]:
    """The order that always sums out the variable whose bucket is smallest (Koller and Friedman 2009, section 9.4.3)."""
    near: dict[int, set[int]] = {
        each: {each} for scope in scopes for each in scope
    }  # the bucket of each, if it were next
    for scope in scopes:
        for each in scope:
            near[each].update(scope)
    size = {each: cells(cards, near[each]) for each in sorted(near) if each not in keep}
    order = []
    while size:
        first = min(size, key=lambda each: (size[each], each))
        del size[first]
        order.append(first)
        for each in near[first] - {first}:
            near[each] = (near[each] | near[first]) - {first}
            if each in size:
                size[each] = cells(cards, near[each])
    return order


def buckets(
    cards: Sequence[int], scopes: Sequence[tuple[int, ...]], order: Sequence[int], keep: tuple[int, ...]
) -> list[Bucket]:
    """The buckets of an elimination order; the last is what is kept."""
    factors, messages, steps = dict(enumerate(scopes)), {}, []
    for number, variable in enumerate(order):
        here = [i for i, scope in factors.items() if variable in scope]
        sent = [i for i, scope in messages.items() if variable in scope]
        scope = set().union(*(factors.pop(i) for i in here), *(messages.pop(i) for i in sent)) - {variable}
        messages[number] = tuple(sorted(scope))
        steps.append(Bucket((variable, *messages[number]), tuple(here), tuple(sent)))
    return [*steps, Bucket(keep, tuple(factors), tuple(messages))]


def aligned(table: Array, scope: tuple[int, ...], target: tuple[int, ...]) -> Array:
    """A table [levels of `scope` ..., rows] with the axes of `target`, of length 1 where it has no such variable."""
    axes = [scope.index(each) for each in target if each in scope]
    shape = iter([table.shape[axis] for axis in axes])
    shape = [next(shape) if each in scope else 1 for each in target]
    return table.transpose(*axes, table.ndim - 1).reshape(*shape, table.shape[-1])


def log_sum(table: Array) -> Array:
    """log sum exp over the first axis, level by level; -inf where all are."""
    xp = table.__array_namespace__()
    top = table.max(0)
    top = xp.where(xp.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        return xp.log(sum(xp.exp(level - top) for level in table)) + top


def log_max(table: Array) -> Array:
    """The largest of the first axis: elimination of the most probable explanation."""
    return table.max(0)


def forward(plan: Plan, factors: Mapping[int, Array], reduce: Callable = log_sum) -> tuple[list, list, Array]:
    """Tables and messages of all buckets, and the log of the table that is kept [levels ..., rows].

    Args:
      factors: log-tables [levels of `plan.scopes` ..., rows or 1] of the families; one that is left out is all 0.
      reduce: `log_sum`, or `log_max`.
    """
    tables: list[Array] = []
    messages: list[Array] = []
    for bucket in (*plan.buckets, plan.kept):
        parts = [aligned(factors[i], plan.scopes[i], bucket.scope) for i in bucket.factors if i in factors]
        parts += [aligned(messages[i], plan.buckets[i].scope[1:], bucket.scope) for i in bucket.messages]
        table = sum(parts, np.zeros((1,) * (len(bucket.scope) + 1), np.float32))
        sizes = tuple(plan.cards[each] for each in bucket.scope)
        if table.shape[:-1] != sizes:  # a level that no table mentions is as probable as the others
            table = table + np.zeros((*sizes, 1), np.float32)
        tables.append(table)
        messages.append(reduce(table) if bucket is not plan.kept else table)
    return tables[:-1], messages[:-1], messages[-1]


def joints(plan: Plan, tables: Sequence[Array], messages: Sequence[Array], kept: Array) -> list[Array]:
    """P(scope of the bucket | evidence) [levels ..., rows] of every bucket, in one reverse pass.

    It is the derivative of log P(evidence) by each bucket's table, written out: a conditional, exp(table - message),
    times the probability of what it is conditioned on, from the bucket that the message went to.

    Args:
      kept: probabilities of the variables that are kept [levels ..., rows], given the evidence.
    """
    receiver = {i: number for number, bucket in enumerate((*plan.buckets, plan.kept)) for i in bucket.messages}
    found: list[Array] = [None] * len(tables) + [kept]
    for number, bucket in reversed([*enumerate(plan.buckets)]):
        source = (*plan.buckets, plan.kept)[receiver[number]].scope
        beyond = tuple(axis for axis, each in enumerate(source) if each not in bucket.scope)
        above = aligned(
            found[receiver[number]].sum(beyond), tuple(each for each in source if each in bucket.scope), bucket.scope
        )
        found[number] = conditional(tables[number], messages[number]) * above
    return found


def conditional(table: Array, message: Array) -> Array:
    """P(variable | what its bucket depends on), 0 where that is impossible."""
    xp = table.__array_namespace__()
    finite = xp.isfinite(message)
    return xp.where(finite[None], xp.exp(table - xp.where(finite, message, 0)[None]), 0)


def marginal(joint: Array, scope: tuple[int, ...], target: tuple[int, ...]) -> Array:
    """The sum of a joint over what is not in `target`, [levels of `target` ..., rows]."""
    rest = tuple(each for each in scope if each in target)
    return aligned(joint.sum(tuple(axis for axis, each in enumerate(scope) if each not in target)), rest, target)


def trace_back(plan: Plan, tables: Sequence[Array], choose: Callable[[int, Array], Array], rows: int) -> dict:
    """A level [rows] of each variable that was summed out, chosen in the reverse of the order of elimination.

    Args:
      tables: of `forward`: of `log_sum` for draws from the posterior, of `log_max` for the most probable explanation.
      choose: (variable, log-probabilities [levels, rows] up to a constant) -> a level [rows] int32.
    """
    found: dict[int, Array] = {}
    for bucket, table in reversed([*zip(plan.buckets, tables)]):
        variable, *above = bucket.scope
        config = np.zeros(rows, np.int32)
        for each in above:
            config = config * plan.cards[each] + found[each]
        table = table.reshape(table.shape[0], -1, table.shape[-1])
        found[variable] = choose(variable, table[:, config, np.arange(rows) if table.shape[-1] > 1 else 0])
    return found
