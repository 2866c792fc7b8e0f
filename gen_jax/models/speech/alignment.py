"""Monotonic alignments of frames to the symbols of a text: their sum, and the best one.

A path begins in the first symbol, ends in the last one, and from frame to frame it stays or goes to the next symbol. So
every symbol has at least one frame. It is a hidden Markov model from left to right, whose states are the symbols.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

NEVER = -1e30  # log-probability of what cannot be, which has a finite gradient


class Lattice(NamedTuple):
    """Holds what a path of frames through symbols is worth.

    Attributes:
      frame: log-density of each frame in each symbol [B, T, S].
      stay: log-probability to stay in a symbol [B, S].
      go: log-probability to leave it [B, S].
      length: number of frames of each row [B].
      symbols: number of symbols of each row [B]; at most `length`.
    """

    frame: jax.Array
    stay: jax.Array
    go: jax.Array
    length: jax.Array
    symbols: jax.Array


def path_sum(lattice: Lattice) -> jax.Array:
    """Returns the logarithm of the sum of exp(worth) over all paths [B]: the forward algorithm (Rabiner 1989, eq. 19-21).

    Args:
      lattice: the worth of paths; differentiable.
    """
    first = jnp.where(jnp.arange(lattice.stay.shape[1])[None] == 0, lattice.frame[:, 0], NEVER)

    def move(total: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        time, frame = now
        stayed, arrived = total + lattice.stay, before(total + lattice.go)
        after = jnp.logaddexp(stayed, arrived) + frame
        return jnp.where((time < lattice.length)[:, None], after, total), None

    frames = lattice.frame.shape[1]
    total, _ = jax.lax.scan(move, first, (jnp.arange(1, frames), lattice.frame.swapaxes(0, 1)[1:]))
    return at_end(lattice, total + lattice.go)


def best_path(lattice: Lattice) -> jax.Array:
    """Returns the number of frames of each symbol [B, S] int32 in the path of largest worth; 0 beyond the text.

    It is the search of monotonic alignments of Glow-TTS (Kim et al. 2020, arXiv 2005.11129, algorithm 1).

    Args:
      lattice: the worth of paths.
    """
    symbols = lattice.stay.shape[1]
    first = jnp.where(jnp.arange(symbols)[None] == 0, lattice.frame[:, 0], NEVER)

    def move(best: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        time, frame = now
        stayed, arrived = best + lattice.stay, before(best + lattice.go)
        after = jnp.maximum(stayed, arrived) + frame
        return jnp.where((time < lattice.length)[:, None], after, best), arrived > stayed

    times = jnp.arange(1, lattice.frame.shape[1])
    _, came = jax.lax.scan(move, first, (times, lattice.frame.swapaxes(0, 1)[1:]))  # came [T - 1, B, S]

    def back(symbol: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        time, arrived = now
        earlier = symbol - jnp.take_along_axis(arrived, symbol[:, None], 1)[:, 0]
        return jnp.where(time < lattice.length, earlier, symbol), symbol

    start, path = jax.lax.scan(back, lattice.symbols - 1, (times, came), reverse=True)
    path = jnp.concatenate([start[None], path]).T  # [B, T], the symbol of each frame
    inside = jnp.arange(path.shape[1])[None] < lattice.length[:, None]
    return jnp.sum((path[..., None] == jnp.arange(symbols)[None, None]) & inside[..., None], 1, dtype=jnp.int32)


def path_worth(lattice: Lattice, durations: jax.Array) -> jax.Array:
    """Returns the log-probability of the durations of a path [B], without its frames.

    Args:
      lattice: the worth of paths, of which `stay`, `go` and `symbols` are read.
      durations: number of frames of each symbol [B, S]; 0 beyond the text.
    """
    inside = jnp.arange(durations.shape[1])[None] < lattice.symbols[:, None]
    return jnp.sum(jnp.where(inside, (durations - 1) * lattice.stay + lattice.go, 0), 1)


def symbol_of_frames(durations: jax.Array, frames: int) -> jax.Array:
    """Returns the number of the symbol of each frame [B, T] int32; beyond the last frame, that of the last symbol.

    Args:
      durations: number of frames of each symbol [B, S].
      frames: T, the number of frames.
    """
    ends = jnp.cumsum(durations, 1)
    passed = jnp.sum(jnp.arange(frames)[None, :, None] >= ends[:, None], 2, dtype=jnp.int32)
    return jnp.minimum(passed, durations.shape[1] - 1)


def before(worth: jax.Array) -> jax.Array:
    """Returns the worth of the symbol before each symbol [B, S]; before the first one nothing can be.

    Args:
      worth: worth of each symbol [B, S].
    """
    return jnp.concatenate([jnp.full_like(worth[:, :1], NEVER), worth[:, :-1]], 1)


def at_end(lattice: Lattice, worth: jax.Array) -> jax.Array:
    """Returns the worth of the last symbol of each row [B].

    Args:
      lattice: the worth of paths.
      worth: worth of each symbol [B, S].
    """
    return jnp.take_along_axis(worth, lattice.symbols[:, None] - 1, 1)[:, 0]
