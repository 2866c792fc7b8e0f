"""Counts of n-grams in sorted arrays, without a table of V^n, and their smoothing. The model is `markov`.

Level k holds the distinct k-grams of the data. A k-gram is the key `parent * V + token`. `token` is its last token, and
`parent` is the index of its prefix in level k - 1. Level 0 is the empty n-gram, index 0.

Keys ascend, so that the continuations of a context are adjacent. A token or an index of -1 stands for "none".
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import UserError

EMPTY = np.uint32(2**32 - 1)  # the key of an unused entry, the largest key


class Level(NamedTuple):
    """The k-grams in the form that a distribution reads; in a trie, the levels k = 1 .. K are stacked."""

    keys: jax.Array  # [M] uint32
    first: jax.Array  # [M + 1] int32: context p continues with the entries first[p] .. first[p + 1] - 1
    before: jax.Array  # [M + 1] int32, sum of the counts of all earlier entries
    discount: jax.Array  # [] float32, subtracted from each count


class Smoothing(NamedTuple):
    """P(w | h) = (max(c(h, w) - D, 0) + r(h) P(w | h')) / (their sum over w), where h' is h without its oldest token.

    A context without counts leaves everything to h'. The empty context leaves r to the uniform distribution.
    """

    reserve: Callable  # (number of distinct continuations of h, D) -> r(h), in counts
    discounts: bool = False  # whether D = n1 / (n1 + 2 n2), where n1 and n2 k-grams have count 1 and 2; if not, D = 0
    continuation: bool = False  # whether k-grams below the longest count the distinct tokens before them
    backs_off: bool = True  # whether to back off to h'; if not, the uniform distribution takes r of the longest


def additive(values: int, alpha: float = 0.1) -> Smoothing:
    """Returns additive smoothing, (c(h, w) + alpha) / (c(h) + alpha V).

    Chen & Goodman 1998 (TR-10-98), section 2.1.

    Args:
      values: number of values of a token V.
      alpha: pseudo-count of each token; by default 0.1.

    Raises:
      UserError: for alpha not above 0.
    """
    if not alpha > 0:
        raise UserError(f"alpha is {alpha}; expected more than 0")
    return Smoothing(lambda distinct, discount: jnp.full(distinct.shape, alpha * values), backs_off=False)


def witten_bell(values: int) -> Smoothing:
    """Returns Witten-Bell smoothing, (c(h, w) + T(h) P(w | h')) / (c(h) + T(h)) with T distinct continuations.

    Chen & Goodman 1998 (TR-10-98), section 2.5.

    Args:
      values: number of values of a token.
    """
    return Smoothing(lambda distinct, discount: distinct.astype(jnp.float32))


def absolute(values: int) -> Smoothing:
    """Returns absolute discounting, (max(c(h, w) - D, 0) + D T(h) P(w | h')) / c(h).

    Chen & Goodman 1998 (TR-10-98), section 2.6.

    Args:
      values: number of values of a token.
    """
    return Smoothing(lambda distinct, discount: discount * distinct, discounts=True)


def kneser_ney(values: int) -> Smoothing:
    """Returns interpolated Kneser-Ney smoothing, in which the start of a sequence counts as a preceding token.

    Chen & Goodman 1998 (TR-10-98), section 2.7.

    Args:
      values: number of values of a token.
    """
    return absolute(values)._replace(continuation=True)


SMOOTHINGS = {"additive": additive, "witten_bell": witten_bell, "absolute": absolute, "kneser_ney": kneser_ney}


def insert(
    keys: jax.Array, counts: jax.Array, tokens: jax.Array, new: int, values: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Counts the k-grams that end at each token, k = 1 .. K.

    Args:
      keys: keys of the entries [K, M].
      counts: counts of the entries [K, M].
      tokens: tokens [B, L] int32, -1 for no token.
      new: the first column to count; earlier columns were counted before.
      values: number of values of a token V.

    Returns:
      Keys [K, M], counts [K, M], and the number of distinct k-grams [K]. If a number is above M, k-grams were lost.
    """
    once = jnp.arange(tokens.shape[1])[None] >= new

    def grow(above: tuple, level: tuple) -> tuple[tuple, tuple]:
        moved, parent = above  # [M] new indices of the parents, [B, L] new index of each prefix
        keys, counts = level
        valid = (parent >= 0) & (tokens >= 0)
        query = jnp.where(valid, key_of(parent, tokens, values), EMPTY)
        old = jnp.where(keys == EMPTY, EMPTY, key_of(moved[keys // values], keys % values, values))
        merged = jnp.sort(jnp.concatenate([old, query.ravel()]))
        distinct = (merged != EMPTY) & (merged != jnp.concatenate([jnp.full(1, EMPTY), merged[:-1]]))
        place = jnp.where(distinct, jnp.cumsum(distinct) - 1, len(keys))
        keys = jnp.full_like(keys, EMPTY).at[place].set(merged, mode="drop")
        moved, entry = (jnp.searchsorted(keys, each).astype(jnp.int32) for each in (old, query))
        counts = jnp.zeros_like(counts).at[moved].add(counts, mode="drop")
        counts = counts.at[entry].add((valid & once).astype(jnp.int32), mode="drop")
        return (moved, later(jnp.where(valid, entry, -1))), (keys, counts, distinct.sum(dtype=jnp.int32))

    root = jnp.zeros(keys.shape[1], jnp.int32), jnp.zeros_like(tokens)
    return jax.lax.scan(grow, root, (keys, counts))[1]


def index(keys: jax.Array, counts: jax.Array, values: int, smoothing: Smoothing) -> Level:
    """Returns the trie that a smoothing reads.

    With `continuation`, a k-gram shorter than the longest counts the distinct tokens before it instead of its
    occurrences (Kneser & Ney 1995). The start of a sequence is one such token.

    With `discounts`, the discount of a level is n1 / (n1 + 2 n2), where n1 and n2 entries have count 1 and 2. It is 0.5
    if no entry has count 1. Without `discounts` it is 0.

    Args:
      keys: keys of the entries [K, M].
      counts: counts of the entries [K, M].
      values: number of values of a token V.
      smoothing: the smoothing.
    """
    below = jax.vmap(lambda level, zeros: zeros.at[level // values].add(1, mode="drop"))(keys, jnp.zeros_like(counts))
    first = jnp.pad(jnp.cumsum(below, 1), ((0, 0), (1, 0)))
    if smoothing.continuation:
        counts = distinct_before(keys, counts, first, values)
    ones, twos = ((counts == times).sum(1) for times in (1, 2))
    discount = jnp.where(ones > 0, ones / jnp.maximum(ones + 2.0 * twos, 1), 0.5) * smoothing.discounts
    return Level(keys, first, jnp.pad(jnp.cumsum(counts, 1), ((0, 0), (1, 0))), discount)


def distinct_before(keys: jax.Array, counts: jax.Array, first: jax.Array, values: int) -> jax.Array:
    """Returns N1+(. g), the number of distinct tokens before each k-gram g; the longest k-grams keep their counts.

    A k-gram with more occurrences than its extensions to the left also occurred at the start of a sequence.

    Args:
      keys: keys of the entries [K, M].
      counts: counts of the entries [K, M].
      first: first child of each entry [K, M + 1].
      values: number of values of a token V.

    Returns:
      Counts [K, M].
    """

    def extend(suffix: jax.Array, level: tuple) -> tuple[jax.Array, jax.Array]:
        keys, counts, first, longer, occurrences = level
        above = jnp.where(longer == EMPTY, -1, suffix[longer // values])
        suffix = find(keys, first, above, longer % values, values)  # each longer k-gram without its first token
        into = jnp.where(suffix < 0, len(keys), suffix)
        kinds, extended = (jnp.zeros_like(counts).at[into].add(each, mode="drop") for each in (1, occurrences))
        return suffix, kinds + (counts > extended)

    root = jnp.where(keys[0] == EMPTY, -1, 0)
    kinds = jax.lax.scan(extend, root, (keys[:-1], counts[:-1], first[:-1], keys[1:], counts[1:]))[1]
    return jnp.concatenate([kinds, counts[-1:]])


def masses(smoothing: Smoothing, level: Level, context: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns sum_w max(c(h, w) - D, 0), the mass of the seen continuations of h, and r(h), the mass of h'.

    Args:
      smoothing: the smoothing.
      level: the level of the continuations.
      context: indices of contexts h, of any shape.

    Returns:
      Two arrays with the shape of `context`.
    """
    low, high = children(level.first, context)
    seen = level.before[high] - level.before[low] - level.discount * (high - low)
    return seen, jnp.where(high > low, smoothing.reserve(high - low, level.discount), 1.0)


def draw(
    smoothing: Smoothing, values: int, level: Level, context: jax.Array, uniform: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Draws a seen continuation of a context by inverse CDF.

    Args:
      smoothing: the smoothing.
      values: number of values of a token V.
      level: the level of the continuations.
      context: index of the context h.
      uniform: a number drawn from U(0, 1).

    Returns:
      The token, and whether the choice falls on the seen continuations and not on h'.
    """
    low, high = children(level.first, context)
    seen_mass, reserve = masses(smoothing, level, context)
    mass = uniform * (seen_mass + reserve)
    up_to = lambda end: level.before[end] - level.before[low] - level.discount * (end - low)
    entry = bisect(lambda i: up_to(i + 1) <= mass, low, high, values)
    return (level.keys[entry] % values).astype(jnp.int32), mass < seen_mass


def find(keys: jax.Array, first: jax.Array, parent: jax.Array, token: jax.Array, values: int) -> jax.Array:
    """Returns the index of the k-gram that ends in `token` after `parent`; -1 if it was never seen.

    Args:
      keys: keys of the entries [M].
      first: first child of each parent [M + 1].
      parent: indices of parents, of any shape.
      token: tokens, of the same shape.
      values: number of values of a token V.
    """
    key = key_of(parent, token, values)
    low, high = children(first, parent)
    entry = bisect(lambda i: keys[i] < key, low, high, values)
    return jnp.where((entry < high) & (keys[entry] == key), entry, -1)


def children(first: jax.Array, parent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the first entry after `parent` and the entry after its last; for -1 the two are equal.

    Args:
      first: first child of each parent [M + 1].
      parent: indices of parents, of any shape.
    """
    low = first[parent]
    return low, jnp.where(parent < 0, low, first[parent + 1])


def bisect(before: Callable, low: jax.Array, high: jax.Array, values: int) -> jax.Array:
    """Returns the first of the entries low .. high - 1 that is not `before` the place sought, by bisection.

    Args:
      before: function from entries to whether they are before the place.
      low: first entries, of any shape.
      high: entries after the last, of the same shape.
      values: largest number of entries.
    """

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) // 2
        right = (low < high) & before(middle)
        return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

    return jax.lax.fori_loop(0, int(values).bit_length(), halve, (low, high))[0]


def key_of(parent: jax.Array, token: jax.Array, values: int) -> jax.Array:
    """Returns the keys of k-grams, parent * V + token, as uint32.

    Args:
      parent: indices of parents, of any shape.
      token: tokens, of the same shape.
      values: number of values of a token V.
    """
    return parent.astype(jnp.uint32) * np.uint32(values) + token.astype(jnp.uint32)


def later(entry: jax.Array) -> jax.Array:
    """Shifts entries by one column, because a k-gram that ends at a token is the context of the next token.

    Args:
      entry: entries [B, L].

    Returns:
      Entries [B, L], with -1 in the first column.
    """
    return jnp.pad(entry, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]


def lengths(x: jax.Array, length: jax.Array | None) -> jax.Array:
    """Returns the number of tokens of each row that are not padding, [B] int32.

    Args:
      x: rows [B, T].
      length: number of tokens of each row [B]; None for all T.
    """
    rows, width = x.shape
    return jnp.full(rows, width, jnp.int32) if length is None else jnp.minimum(length, width)
