"""Exact inference in discrete Bayesian networks by bucket elimination, in log space and batched over rows of evidence.

A plan is made on the host. It says in which order tables are added. The functions that follow a plan take NumPy arrays
or JAX arrays. For JAX arrays each kernel is compiled once for each combination of shapes. Buckets, networks and
patterns of evidence share these kernels, because compiling one program for a query of a hundred variables would take a
minute.

The last axis of a table is the axis of the rows. Its length is 1 if the table does not depend on the evidence, so that
such a table is computed once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import jax
import numpy as np
from opt_einsum import paths

from gen_jax.errors import UserError

LARGEST_TABLE = 2**26  # largest number of cells of one table of one row: 256 MiB
Array = Any  # np.ndarray or jax.Array


class Bucket(NamedTuple):
    """Describes a step that sums one variable out of all tables that mention it."""

    scope: tuple[int, ...]  # variables of its table; the first variable is summed out
    factors: tuple[int, ...]  # families whose tables enter this bucket
    messages: tuple[int, ...]  # earlier buckets whose messages enter this bucket


class Plan(NamedTuple):
    """Holds an order in which a query sums out variables, with the tables that meet at each step."""

    cards: tuple[int, ...]  # number of levels of each of the D variables
    scopes: tuple[tuple[int, ...], ...]  # parents and variable of each family, without variables that are observed
    buckets: tuple[Bucket, ...]  # steps in their order; each sums out one variable
    kept: Bucket  # last step, which makes a table over the variables of the question


class Elimination(NamedTuple):
    """Holds the tables of all steps of a plan."""

    tables: list[Array]  # log-table of each bucket, [levels of its scope ..., rows]
    messages: list[Array]  # log-table that each bucket sends, [levels of its scope without the first ..., rows]
    kept: Array  # log-table over the variables of the question [levels ..., rows]


class Layout(NamedTuple):
    """Describes the shapes of the tables that meet in a bucket. It is hashable, because a kernel is compiled for it."""

    axes: tuple[tuple[int | None, ...], ...]  # axes of each table that enters, see `axes_within`
    sizes: tuple[int, ...]  # lengths of the axes of the bucket's table, without the rows
    reduce: Callable  # `log_sum` or `log_max`


@lru_cache(maxsize=256)
def cheapest_plan(
    cards: tuple[int, ...], parents: tuple[tuple[int, ...], ...], observed: frozenset[int], keep: tuple[int, ...] = ()
) -> Plan:
    """Returns the plan with the smaller tables of two elimination orders, `greedy` and `smallest_first`.

    Args:
      cards: levels of each variable.
      parents: parents of each variable.
      observed: variables that are observed in every row. They are in no table.
      keep: variables of the question, which are not summed out; by default none.

    Raises:
      UserError: if the network is too wide. No memory is allocated before.
    """
    scopes = tuple(
        tuple(member for member in (*above, variable) if member not in observed)
        for variable, above in enumerate(parents)
    )
    orders = greedy(cards, scopes, keep), smallest_first(cards, scopes, keep)
    candidates = [buckets(scopes, order, keep) for order in orders]
    steps = min(candidates, key=lambda steps: work(cards, steps))
    refuse_too_wide(cards, steps)
    return Plan(cards, scopes, tuple(steps[:-1]), steps[-1])


def refuse_too_wide(cards: Sequence[int], steps: Sequence[Bucket]) -> None:
    """Refuses a plan whose tables do not fit in memory.

    Args:
      cards: number of levels of each variable.
      steps: buckets of a plan.

    Raises:
      UserError: with the size of the largest table.
    """
    largest = max(steps, key=lambda bucket: cells(cards, bucket.scope))
    size = cells(cards, largest.scope)
    if size > LARGEST_TABLE:
        raise UserError(
            f"this network is too wide for exact inference: a table of {len(largest.scope)} variables would hold "
            f"{size:.3g} numbers, {4 * size / 2**30:.3g} GiB for every row; expected at most {LARGEST_TABLE:,}. "
            "Choose fewer parents, fewer levels or more evidence"
        )


def cells(cards: Sequence[int], scope: Iterable[int]) -> int:
    """Returns the number of cells of a table.

    Args:
      cards: number of levels of each variable.
      scope: variables of the table.
    """
    return prod(cards[variable] for variable in scope)


def work(cards: Sequence[int], steps: Sequence[Bucket]) -> int:
    """Returns the number of cells of all tables of a plan, for one row.

    Args:
      cards: number of levels of each variable.
      steps: buckets of a plan.
    """
    return sum(cells(cards, bucket.scope) for bucket in steps)


def greedy(cards: Sequence[int], scopes: Sequence[tuple[int, ...]], keep: tuple[int, ...]) -> list[int]:
    """Returns the order in which variables are summed out along the greedy contraction path of opt_einsum.

    Args:
      cards: levels of each variable.
      scopes: variables of each table.
      keep: variables that are not summed out.
    """
    terms = [frozenset(scope) for scope in scopes if scope]  # sets of integers, whose order is always the same
    if not terms:
        return []
    order: list[int] = []
    for places in paths.greedy(terms, frozenset(keep), dict(enumerate(cards))):
        joined = frozenset().union(*(terms[place] for place in places))
        terms = [term for place, term in enumerate(terms) if place not in places]
        gone = joined.difference(keep, *terms)
        order += sorted(gone)
        terms.append(joined - gone)
    return order


def smallest_first(cards: Sequence[int], scopes: Sequence[tuple[int, ...]], keep: tuple[int, ...]) -> list[int]:
    """Returns the order that always sums out the variable with the smallest bucket.

    See Koller and Friedman (2009), section 9.4.3.

    Args:
      cards: number of levels of each variable.
      scopes: variables of each table.
      keep: variables that are not summed out.
    """
    near: dict[int, set[int]] = {}  # scope of the bucket of each variable, if it were summed out next
    for scope in scopes:
        for variable in scope:
            near.setdefault(variable, {variable}).update(scope)
    size = {variable: cells(cards, near[variable]) for variable in sorted(near) if variable not in keep}
    order = []
    while size:
        first = min(size, key=lambda variable: (size[variable], variable))
        del size[first]
        order.append(first)
        for variable in near[first] - {first}:
            near[variable] = (near[variable] | near[first]) - {first}
            if variable in size:
                size[variable] = cells(cards, near[variable])
    return order


def buckets(scopes: Sequence[tuple[int, ...]], order: Sequence[int], keep: tuple[int, ...]) -> list[Bucket]:
    """Returns the buckets of an elimination order.

    Args:
      scopes: variables of the table of each family.
      order: variables in the order in which they are summed out.
      keep: variables that are not summed out. They form the last bucket.
    """
    factors = dict(enumerate(scopes))
    messages: dict[int, tuple[int, ...]] = {}
    steps = []
    for number, variable in enumerate(order):
        entering = [i for i, scope in factors.items() if variable in scope]
        received = [i for i, scope in messages.items() if variable in scope]
        scope = {variable}.union(*(factors.pop(i) for i in entering), *(messages.pop(i) for i in received))
        messages[number] = tuple(sorted(scope - {variable}))
        steps.append(Bucket((variable, *messages[number]), tuple(entering), tuple(received)))
    return [*steps, Bucket(keep, tuple(factors), tuple(messages))]


def kernel(function: Callable) -> Callable:
    """Returns `function(static, *arrays)`, which is compiled if at least one of its arrays is a JAX array.

    If all arrays are NumPy arrays, the function runs on the host without compilation. So its body takes its library
    from an array: `array.__array_namespace__()` is `numpy` or `jax.numpy`.

    Args:
      function: function of a hashable argument and of arrays.
    """
    compiled = jax.jit(function, static_argnums=0)

    def call(static: Any, *arrays: Any) -> Any:
        on_device = any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(arrays))
        return (compiled if on_device else function)(static, *arrays)

    return call


def axes_within(scope: tuple[int, ...], target: tuple[int, ...]) -> tuple[int | None, ...]:
    """Returns the axis of each variable of `target` in a table over `scope`; None if the table lacks the variable.

    Args:
      scope: variables of the axes of the table.
      target: variables.
    """
    return tuple(scope.index(variable) if variable in scope else None for variable in target)


def aligned(table: Array, axes: tuple[int | None, ...]) -> Array:
    """Returns a table with its axes in another order, and with an axis of length 1 for None.

    Args:
      table: table [levels ..., rows].
      axes: axes of the result, without the axis of the rows; see `axes_within`.
    """
    present = [axis for axis in axes if axis is not None]
    shape = [1 if axis is None else table.shape[axis] for axis in axes]
    return table.transpose(*present, table.ndim - 1).reshape(*shape, table.shape[-1])


def log_sum(table: Array) -> Array:
    """Returns log sum exp over the first axis; -inf if all levels are -inf.

    Args:
      table: log-table; its first axis is reduced.
    """
    xp = table.__array_namespace__()
    top = table.max(0)
    top = xp.where(xp.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        return xp.log(sum(xp.exp(level - top) for level in table)) + top


def log_max(table: Array) -> Array:
    """Returns the maximum over the first axis, which finds the most probable explanation.

    Args:
      table: log-table; its first axis is reduced.
    """
    return table.max(0)


@kernel
def bucket_table(layout: Layout, parts: list[Array]) -> tuple[Array, Array]:
    """Returns the log-table of a bucket, and its message: the table without its first axis.

    Args:
      layout: shapes of the parts and of the table.
      parts: log-tables that enter. Their sum is the table.
    """
    zero = np.zeros((*layout.sizes, 1), np.float32)  # levels that no table mentions are equally probable
    table = sum((aligned(part, axes) for part, axes in zip(parts, layout.axes)), zero)
    if not layout.sizes:
        return table, table
    return table, layout.reduce(table)


def forward(plan: Plan, factors: Mapping[int, Array], reduce: Callable = log_sum) -> Elimination:
    """Returns the tables and messages of all buckets.

    Args:
      plan: the plan.
      factors: log-tables of families by their number, [levels of `plan.scopes` ..., rows or 1]. A family without a
        table is 0 everywhere.
      reduce: `log_sum`, the default, or `log_max` for the most probable explanation.
    """
    tables: list[Array] = []
    messages: list[Array] = []
    for bucket in (*plan.buckets, plan.kept):
        parts, scopes = [], []
        for i in bucket.factors:
            if i in factors:
                parts.append(factors[i])
                scopes.append(plan.scopes[i])
        for i in bucket.messages:
            parts.append(messages[i])
            scopes.append(plan.buckets[i].scope[1:])
        axes = tuple(axes_within(scope, bucket.scope) for scope in scopes)
        sizes = tuple(plan.cards[variable] for variable in bucket.scope)
        table, message = bucket_table(Layout(axes, sizes, reduce), parts)
        tables.append(table)
        messages.append(message)
    return Elimination(tables[:-1], messages[:-1], tables[-1])


def joints(plan: Plan, elimination: Elimination, last_joint: Array) -> list[Array]:
    """Returns P(scope of the bucket | evidence) [levels ..., rows] of every bucket, in one reverse pass.

    This is the derivative of log P(evidence) by the table of each bucket, written out. It is a conditional, exp(table -
    message), times the probability of its conditions. That probability comes from the bucket that received the message.

    Args:
      plan: the plan.
      elimination: the tables of the plan, by `log_sum`.
      last_joint: probabilities of the kept variables given the evidence, [levels ..., rows].

    Returns:
      The joint of each bucket, and `last_joint` as the last joint.
    """
    steps = (*plan.buckets, plan.kept)
    receivers = {i: number for number, bucket in enumerate(steps) for i in bucket.messages}
    probabilities: list[Array] = [None] * len(plan.buckets) + [last_joint]
    for number in reversed(range(len(plan.buckets))):
        receiver = receivers[number]
        above = marginal(probabilities[receiver], steps[receiver].scope, steps[number].scope[1:])
        probabilities[number] = conditional(None, elimination.tables[number], elimination.messages[number], above)
    return probabilities


@kernel
def conditional(static: None, table: Array, message: Array, above: Array) -> Array:
    """Returns the joint of the variables of a table: P(first variable | other variables) times `above`.

    It is 0 for levels of the other variables that are impossible.

    Args:
      static: not used.
      table: log-table of a bucket [levels ..., rows].
      message: log-message of the bucket, [levels without the first ..., rows].
      above: probability of the other variables, shaped as `message`.
    """
    xp = table.__array_namespace__()
    finite = xp.isfinite(message)
    return xp.where(finite[None], xp.exp(table - xp.where(finite, message, 0)[None]), 0) * above[None]


def marginal(joint: Array, scope: tuple[int, ...], target: tuple[int, ...]) -> Array:
    """Returns the sum of a joint over the variables that are not in `target`, [levels of `target` ..., rows].

    Args:
      joint: joint [levels of `scope` ..., rows].
      scope: variables of the axes of the joint.
      target: variables of the axes of the sum. They are a part of `scope`, in any order.
    """
    rest = tuple(variable for variable in scope if variable in target)
    beyond = tuple(axis for axis, variable in enumerate(scope) if variable not in target)
    return summed((beyond, axes_within(rest, target)), joint)


@kernel
def summed(static: tuple, joint: Array) -> Array:
    """Returns the sum of a joint over some axes, with the other axes in another order.

    Args:
      static: the axes to sum over, and the order of the other axes.
      joint: joint [levels ..., rows].
    """
    beyond, axes = static
    return aligned(joint.sum(beyond), axes)


def trace_back(plan: Plan, tables: Sequence[Array], choose: Callable, shares: Array) -> dict[int, Array]:
    """Returns a level [rows] of each variable that was summed out, in the reverse of the order of elimination.

    Args:
      plan: the plan.
      tables: tables of `forward`: by `log_sum` for draws from the posterior, by `log_max` for the most probable
        explanation.
      choose: function (share [rows], log-probabilities [levels, rows] up to a constant) -> a level [rows] int32.
      shares: numbers [D, rows] in [0, 1), by which `choose` draws.
    """
    levels: dict[int, Array] = {}
    for bucket, table in reversed([*zip(plan.buckets, tables)]):
        variable, *above = bucket.scope
        levels[variable] = chosen_level(choose, table, [levels[other] for other in above], shares[variable])
    return levels


@kernel
def chosen_level(choose: Callable, table: Array, above: list[Array], share: Array) -> Array:
    """Returns a level [rows] of the first axis of a table.

    Args:
      choose: see `trace_back`.
      table: log-table [levels ..., rows or 1].
      above: levels [rows] of the other axes.
      share: numbers [rows] in [0, 1).
    """
    xp = share.__array_namespace__()
    rows = np.arange(len(share)) if table.shape[-1] > 1 else 0
    code = joint_code(above, table.shape[1:]) + np.zeros(share.shape, np.int32)
    table = xp.asarray(table).reshape(table.shape[0], -1, table.shape[-1])
    return choose(share, table[:, code, rows])


def joint_code(levels: Sequence[Array], sizes: Sequence[int]) -> Array:
    """Returns the number of a joint level [B]. The last variable runs fastest; 0 if there are no variables.

    Args:
      levels: level of each variable, [B] int32.
      sizes: number of levels of each variable.
    """
    code = np.int32(0)
    for level, size in zip(levels, sizes):
        code = code * np.int32(size) + level
    return code
