"""Exact inference in discrete Bayesian networks by bucket elimination, in log space and batched over rows of evidence.

A plan says on the host which tables meet in which order. The functions that follow it take NumPy arrays, or JAX's, for
which each kernel is compiled once for the shapes it meets: buckets, networks and patterns of evidence share them, where one
program for a whole query would take a minute to compile for a hundred variables. Tables carry the rows in their last axis,
of length 1 where they do not depend on the evidence: what no evidence reaches is computed once. No learning, no models here.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import jax
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


def kernel(function: Callable) -> Callable:
    """`function(static, *arrays)`, compiled for what is static and the shapes where it is given arrays of JAX's."""
    compiled = jax.jit(function, static_argnums=0)

    def call(static: Any, *arrays: Any) -> Any:
        on_device = any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(arrays))
        return (compiled if on_device else function)(static, *arrays)

    return call


def placed(scope: tuple[int, ...], target: tuple[int, ...]) -> tuple[int | None, ...]:
    """Where the axes of a table over `scope` go in one over `target`: of each axis of the target its own, or None."""
    return tuple(scope.index(each) if each in scope else None for each in target)


def aligned(table: Array, axes: tuple[int | None, ...]) -> Array:
    """A table [levels ..., rows] with the axes that `placed` names, of length 1 where there is none."""
    found = [axis for axis in axes if axis is not None]
    shape = [1 if axis is None else table.shape[axis] for axis in axes]
    return table.transpose(*found, table.ndim - 1).reshape(*shape, table.shape[-1])


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


@kernel
def met(static: tuple, parts: list[Array]) -> tuple[Array, Array]:
    """The table of a bucket, the sum of the log-tables that meet there, and what it sends: the sum over its first axis.

    Args:
      static: the axes of each part (see `placed`), the levels of the axes of the table, and `log_sum` or `log_max`.
    """
    axes, sizes, reduce = static
    zero = np.zeros((*sizes, 1), np.float32)  # a level that no table mentions is as probable as the others
    table = sum((aligned(part, each) for part, each in zip(parts, axes)), zero)
    return table, reduce(table) if sizes else table


def forward(plan: Plan, factors: Mapping[int, Array], reduce: Callable = log_sum) -> tuple[list, list, Array]:
    """Tables and messages of all buckets, and the log of the table that is kept [levels ..., rows].

    Args:
      factors: log-tables [levels of `plan.scopes` ..., rows or 1] of the families; one that is left out is all 0.
      reduce: `log_sum`, or `log_max`.
    """
    tables: list[Array] = []
    messages: list[Array] = []
    for bucket in (*plan.buckets, plan.kept):
        parts = [(factors[i], plan.scopes[i]) for i in bucket.factors if i in factors]
        parts += [(messages[i], plan.buckets[i].scope[1:]) for i in bucket.messages]
        axes = tuple(placed(scope, bucket.scope) for _, scope in parts)
        sizes = tuple(plan.cards[each] for each in bucket.scope)
        table, message = met((axes, sizes, reduce), [part for part, _ in parts])
        tables.append(table)
        messages.append(message)
    return tables[:-1], messages[:-1], tables[-1]


def joints(plan: Plan, tables: Sequence[Array], messages: Sequence[Array], kept: Array) -> list[Array]:
    """P(scope of the bucket | evidence) [levels ..., rows] of every bucket, in one reverse pass.

    It is the derivative of log P(evidence) by each bucket's table, written out: a conditional, exp(table - message),
    times the probability of what it is conditioned on, from the bucket that the message went to.

    Args:
      kept: probabilities of the variables that are kept [levels ..., rows], given the evidence.
    """
    steps = (*plan.buckets, plan.kept)
    receiver = {i: number for number, bucket in enumerate(steps) for i in bucket.messages}
    found: list[Array] = [None] * len(tables) + [kept]
    for number, bucket in reversed([*enumerate(plan.buckets)]):
        above = marginal(found[receiver[number]], steps[receiver[number]].scope, bucket.scope[1:])
        found[number] = conditional(None, tables[number], messages[number], above)
    return found


@kernel
def conditional(static: None, table: Array, message: Array, above: Array) -> Array:
    """P(variable | what its bucket depends on) times the probability `above` of that, 0 where it is impossible."""
    xp = table.__array_namespace__()
    finite = xp.isfinite(message)
    return xp.where(finite[None], xp.exp(table - xp.where(finite, message, 0)[None]), 0) * above[None]


def marginal(joint: Array, scope: tuple[int, ...], target: tuple[int, ...]) -> Array:
    """The sum of a joint over what is not in `target`, [levels of `target` ..., rows]."""
    rest = tuple(each for each in scope if each in target)
    beyond = tuple(axis for axis, each in enumerate(scope) if each not in target)
    return summed((beyond, placed(rest, target)), joint)


@kernel
def summed(static: tuple, joint: Array) -> Array:
    """The sum over some axes, the others in another order."""
    beyond, axes = static
    return aligned(joint.sum(beyond), axes)


def trace_back(plan: Plan, tables: Sequence[Array], choose: Callable, shares: Array) -> dict[int, Array]:
    """A level [rows] of each variable that was summed out, chosen in the reverse of the order of elimination.

    Args:
      tables: of `forward`: of `log_sum` for draws from the posterior, of `log_max` for the most probable explanation.
      choose: (share [rows], log-probabilities [levels, rows] up to a constant) -> a level [rows] int32.
      shares: [D, rows] in [0, 1), what draws are made of.
    """
    found: dict[int, Array] = {}
    for bucket, table in reversed([*zip(plan.buckets, tables)]):
        variable, *above = bucket.scope
        found[variable] = traced(choose, table, [found[each] for each in above], shares[variable])
    return found


@kernel
def traced(choose: Callable, table: Array, above: list[Array], share: Array) -> Array:
    """A level [rows] of the first axis of a table, where the levels [rows] of its other axes are known."""
    xp, rows = share.__array_namespace__(), np.arange(len(share)) if table.shape[-1] > 1 else 0
    config = numbered(above, table.shape[1:]) + np.zeros(share.shape, np.int32)
    table = xp.asarray(table).reshape(table.shape[0], -1, table.shape[-1])
    return choose(share, table[:, config, rows])


def numbered(levels: Sequence[Array], sizes: Sequence[int]) -> Array:
    """The number of joint levels [B], the last running fastest; 0 where there are none."""
    config = np.int32(0)
    for each, size in zip(levels, sizes):
        config = config * np.int32(size) + each
    return config
