"""Lengths of rows of a masked diffusion model: how often each occurs, and which entries a length leaves to be drawn."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import UserError


class Entries(NamedTuple):
    """Holds two kinds of entries of rows [N, D] bool. An entry of neither kind stays hidden."""

    drawn: jax.Array  # entries that rows have, and that the net has to find
    fixed: jax.Array  # entries that follow from the length: all beyond it, which have no level, and the end of a text


def entries_of(length: jax.Array, size: int, end: int | None) -> Entries:
    """Returns the entries of rows of some lengths.

    Args:
      length: length of each row [N].
      size: number of entries D of the longest row.
      end: level of the last entry of every row; None if rows end without a mark.
    """
    place = jnp.arange(size)[None]
    inside, last = place < length[:, None], place == length[:, None] - 1
    found = inside if end is None else inside & ~last
    return Entries(found, ~found)


def length_log_prob(counts: jax.Array) -> jax.Array:
    """Returns the log-probability of the lengths 1 to D, [D], with one row added to each so that none is impossible.

    Args:
      counts: number of training rows of each length [D].
    """
    return jnp.log(counts + 1) - jnp.log(counts.sum() + len(counts))


def drawn_lengths(key: jax.Array, counts: jax.Array, bounds: np.ndarray) -> jax.Array:
    """Draws the length of each row [N] int32, given that it is within bounds. A draw depends on its row alone.

    Args:
      key: random key.
      counts: number of training rows of each length [D].
      bounds: smallest and largest length of each row [2, N], from 1 to D.
    """
    length = jnp.arange(1, len(counts) + 1)[None]
    possible = (length >= bounds[0][:, None]) & (length <= bounds[1][:, None])
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(bounds.shape[1]))
    logits = jnp.where(possible, length_log_prob(counts)[None], -jnp.inf)
    return 1 + jax.vmap(jax.random.categorical)(keys, logits).astype(jnp.int32)


def length_bounds(x: np.ndarray, mask: np.ndarray, end: int | None) -> np.ndarray:
    """Returns the smallest and the largest length [2, N] of rows whose entries are observed in part.

    Args:
      x: levels [N, D].
      mask: observed entries [N, D] bool.
      end: level of the last entry of every row; None if rows end without a mark.

    Raises:
      UserError: for an observed end of a text before another observed entry, or no room for the end.
    """
    size = x.shape[1]
    reach = np.where(mask.any(1), size - mask[:, ::-1].argmax(1), 0)
    ends = mask & (x == end)
    if (ends & (np.arange(size) != reach[:, None] - 1)).any():
        raise UserError("given x holds the end of a text before another entry; expected the end last")
    ended = ends.any(1)
    least = np.maximum(reach + (0 if end is None else ~ended), 1)
    if (least > size).any():
        raise UserError(f"given x has {size} entries; expected at most {size - 1}, because a text needs its end")
    return np.stack([least, np.where(ended, reach, size)])


def checked_lengths(length: np.ndarray, bounds: np.ndarray) -> jax.Array:
    """Returns lengths that are asked for, [N] int32.

    Args:
      length: the lengths.
      bounds: smallest and largest length of each row [2, N].

    Raises:
      UserError: for another shape or type, or the first length beyond its bounds.
    """
    num = bounds.shape[1]
    if length.shape != (num,) or length.dtype.kind not in "iu":
        raise UserError(f"given length is {length.dtype} of shape {length.shape}; expected {num} whole numbers")
    wrong = np.flatnonzero((length < bounds[0]) | (length > bounds[1]))
    if wrong.size:
        least, most = bounds[:, wrong[0]]
        raise UserError(f"given length is {length[wrong[0]]}; expected {least} to {most}")
    return jnp.asarray(length, jnp.int32)


def check_ends(x: jax.Array, length: jax.Array, end: int | None) -> None:
    """Refuses texts that do not end with the end of a text.

    Args:
      x: levels [N, T].
      length: length of each text [N].
      end: level of the last entry of every text; None if texts end without a mark.

    Raises:
      UserError: for the first such text.
    """
    last = np.asarray(x)[np.arange(len(x)), np.asarray(length) - 1]
    if end is not None and (last != end).any():
        raise UserError(f"x ends with token {last[last != end][0]}; expected {end}, the end of a text")


def padded_texts(given: dict | None, size: int) -> dict | None:
    """Returns conditions whose `x` and `mask` [N, T], if they are given, are padded to [N, size].

    Args:
      given: conditions, or None.
      size: number of entries of the longest text.

    Raises:
      UserError: for longer texts.
    """
    if given is None:
        return None
    given = dict(given)
    for name in [name for name in ("x", "mask") if name in given]:
        array = np.asarray(given[name])
        if array.ndim == 2:
            if array.shape[1] > size:
                raise UserError(f"given {name} has {array.shape[1]} entries a text; expected at most {size}")
            given[name] = np.pad(array, ((0, 0), (0, size - array.shape[1])))
    return given
