"""Counts of n-grams in sorted arrays, without a table of V^n, and how they are smoothed. The model is `markov`.

Level k holds the distinct k-grams that were seen. One is the number `parent * V + token`: its last token below the
index of its prefix in level k - 1; level 0 is the empty n-gram, index 0. Keys ascend, so that the continuations of a
context are neighbours. -1 stands for "none" wherever a token or an index does.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import UserError

EMPTY = np.uint32(2**32 - 1)  # the key of an unused entry, after every other


class Level(NamedTuple):
    """The k-grams as a distribution reads them; in a trie, the levels k = 1 .. K are stacked."""

    keys: jax.Array  # [M] uint32
    first: jax.Array  # [M + 1] int32: context p continues with the entries first[p] .. first[p + 1] - 1
    before: jax.Array  # [M + 1] int32, counts of all entries before each
    discount: jax.Array  # [] float32, taken from each count


class Smoothing(NamedTuple):
    """P(w | h) = (max(c(h, w) - D, 0) + r(h) P(w | h')) / (their sum over w), where h' is h less its oldest token.

    A context never seen leaves everything to h'; the empty one leaves r to the uniform distribution.
    """

    reserve: Callable  # (distinct continuations of h, D) -> r(h), in counts
    discounts: bool = False  # D = n1 / (n1 + 2 n2), of the k-grams counted once and twice; otherwise 0
    continuation: bool = False  # below the longest, k-grams count the distinct tokens before them, not occurrences
    backs_off: bool = True  # to h'; otherwise the longest context leaves r to the uniform distribution


def additive(values: int, alpha: float = 0.1) -> Smoothing:
    """(c(h, w) + alpha) / (c(h) + alpha V): Chen & Goodman 1998 (TR-10-98), section 2.1."""
    if not alpha > 0:
        raise UserError(f"alpha {alpha}: expected more than 0")
    return Smoothing(lambda distinct, discount: jnp.full(distinct.shape, alpha * values), backs_off=False)


def witten_bell(values: int) -> Smoothing:
    """(c(h, w) + T(h) P(w | h')) / (c(h) + T(h)), T distinct continuations: Chen & Goodman 1998, section 2.5."""
    return Smoothing(lambda distinct, discount: distinct.astype(jnp.float32))


def absolute(values: int) -> Smoothing:
    """(max(c(h, w) - D, 0) + D T(h) P(w | h')) / c(h): Chen & Goodman 1998, section 2.6."""
    return Smoothing(lambda distinct, discount: discount * distinct, discounts=True)


def kneser_ney(values: int) -> Smoothing:
    """Interpolated Kneser-Ney: Chen & Goodman 1998, section 2.7; the start of a sequence counts as a token before."""
    return absolute(values)._replace(continuation=True)


SMOOTHINGS = {"additive": additive, "witten_bell": witten_bell, "absolute": absolute, "kneser_ney": kneser_ney}


def insert(
    keys: jax.Array, counts: jax.Array, tokens: jax.Array, new: int, values: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Counts the k-grams that end at each token, k = 1 .. K.

    Args:
      keys, counts: [K, M].
      tokens: [B, L] int32, -1 where there is none.
      new: the first column that counts; those before it were counted already.
      values: V.

    Returns:
      keys [K, M], counts [K, M], the distinct k-grams [K]: where they are more than M, some were lost.
    """
    once = jnp.arange(tokens.shape[1])[None] >= new

    def grow(above: tuple, level: tuple) -> tuple[tuple, tuple]:
        moved, parent = above  # [M] where the entries of the level above have gone, [B, L] index of each prefix there
        keys, counts = level
        known = (parent >= 0) & (tokens >= 0)
        query = jnp.where(known, key_of(parent, tokens, values), EMPTY)
        old = jnp.where(keys == EMPTY, EMPTY, key_of(moved[keys // values], keys % values, values))
        merged = jnp.sort(jnp.concatenate([old, query.ravel()]))
        distinct = (merged != EMPTY) & (merged != jnp.concatenate([jnp.full(1, EMPTY), merged[:-1]]))
        place = jnp.where(distinct, jnp.cumsum(distinct) - 1, len(keys))
        keys = jnp.full_like(keys, EMPTY).at[place].set(merged, mode="drop")
        moved, entry = (jnp.searchsorted(keys, each).astype(jnp.int32) for each in (old, query))
        counts = jnp.zeros_like(counts).at[moved].add(counts, mode="drop")
        counts = counts.at[entry].add((known & once).astype(jnp.int32), mode="drop")
        return (moved, later(jnp.where(known, entry, -1))), (keys, counts, distinct.sum(dtype=jnp.int32))

    root = jnp.zeros(keys.shape[1], jnp.int32), jnp.zeros_like(tokens)
    return jax.lax.scan(grow, root, (keys, counts))[1]


def index(keys: jax.Array, counts: jax.Array, values: int, smoothing: Smoothing) -> Level:
    """The trie that a smoothing reads, of keys and counts [K, M].

    With `continuation` a k-gram shorter than the longest counts the distinct tokens seen before it, the start of a
    sequence being one, in place of its occurrences (Kneser & Ney 1995). With `discounts` a level's discount is
    n1 / (n1 + 2 n2) of its entries counted once and twice, 0.5 where none is counted once; otherwise it is 0.
    """
    below = jax.vmap(lambda level, zeros: zeros.at[level // values].add(1, mode="drop"))(keys, jnp.zeros_like(counts))
    first = jnp.pad(jnp.cumsum(below, 1), ((0, 0), (1, 0)))
    if smoothing.continuation:
        counts = distinct_before(keys, counts, first, values)
    ones, twos = ((counts == times).sum(1) for times in (1, 2))
    discount = jnp.where(ones > 0, ones / jnp.maximum(ones + 2.0 * twos, 1), 0.5) * smoothing.discounts
    return Level(keys, first, jnp.pad(jnp.cumsum(counts, 1), ((0, 0), (1, 0))), discount)


def distinct_before(keys: jax.Array, counts: jax.Array, first: jax.Array, values: int) -> jax.Array:
    """N1+(. g), how many distinct tokens precede each k-gram g [K, M]; of the longest k-grams their own counts.

    A g that occurs more often than its extensions to the left occurred at the start of a sequence as well.
    """

    def extend(suffix: jax.Array, level: tuple) -> tuple[jax.Array, jax.Array]:
        keys, counts, first, longer, occurrences = level
        above = jnp.where(longer == EMPTY, -1, suffix[longer // values])
        suffix = find(keys, first, above, longer % values, values)  # where each longer one is without its first token
        into = jnp.where(suffix < 0, len(keys), suffix)
        kinds, extended = (jnp.zeros_like(counts).at[into].add(each, mode="drop") for each in (1, occurrences))
        return suffix, kinds + (counts > extended)

    root = jnp.where(keys[0] == EMPTY, -1, 0)
    kinds = jax.lax.scan(extend, root, (keys[:-1], counts[:-1], first[:-1], keys[1:], counts[1:]))[1]
    return jnp.concatenate([kinds, counts[-1:]])


def masses(smoothing: Smoothing, level: Level, context: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sum over w of max(c(h, w) - D, 0), and r(h): the shares of the seen continuations and of h', any one shape."""
    low, high = children(level.first, context)
    seen = level.before[high] - level.before[low] - level.discount * (high - low)
    return seen, jnp.where(high > low, smoothing.reserve(high - low, level.discount), 1.0)


def draw(
    smoothing: Smoothing, values: int, level: Level, context: jax.Array, uniform: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A seen continuation of a context by inverse CDF, and whether the choice falls on those and not on h'."""
    low, high = children(level.first, context)
    seen, reserve = masses(smoothing, level, context)
    mass = uniform * (seen + reserve)
    up_to = lambda end: level.before[end] - level.before[low] - level.discount * (end - low)
    entry = bisect(lambda i: up_to(i + 1) <= mass, low, high, values)
    return (level.keys[entry] % values).astype(jnp.int32), mass < seen


def find(keys: jax.Array, first: jax.Array, parent: jax.Array, token: jax.Array, values: int) -> jax.Array:
    """Index of the k-gram that ends in `token` below `parent`, any one shape; -1 where it was not seen."""
    key = key_of(parent, token, values)
    low, high = children(first, parent)
    entry = bisect(lambda i: keys[i] < key, low, high, values)
    return jnp.where((entry < high) & (keys[entry] == key), entry, -1)


def children(first: jax.Array, parent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First entry below `parent` and the one after the last; two equal ones below -1."""
    low = first[parent]
    return low, jnp.where(parent < 0, low, first[parent + 1])


def bisect(before: Callable, low: jax.Array, high: jax.Array, values: int) -> jax.Array:
    """The first of the entries low .. high - 1, at most `values` of them, that is not `before` the place sought."""

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) // 2
        right = (low < high) & before(middle)
        return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

    return jax.lax.fori_loop(0, int(values).bit_length(), halve, (low, high))[0]


def key_of(parent: jax.Array, token: jax.Array, values: int) -> jax.Array:
    """parent * V + token as uint32."""
    return parent.astype(jnp.uint32) * np.uint32(values) + token.astype(jnp.uint32)


def later(entry: jax.Array) -> jax.Array:
    """[B, L] moved one column on: what ends at a token is the context of the next; -1 before the first."""
    return jnp.pad(entry, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]


def lengths(x: jax.Array, length: jax.Array | None) -> jax.Array:
    """Tokens of each row of `x` [B, T] that are not padding, [B] int32; None: all of them."""
    rows, width = x.shape
    return jnp.full(rows, width, jnp.int32) if length is None else jnp.minimum(length, width)
