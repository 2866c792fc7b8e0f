"""Which rows make the batch of a step: a pure function of (seed, step), computed on the host."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from gen_jax.errors import UserError, choose

ORDERS = ("shuffle", "once", "all", "lanes")


def permutations(seed: int, rows: int) -> Callable[[int], np.ndarray]:
    """The order in which each epoch visits the rows, int64 [rows]; that of the last two epochs is remembered."""
    return lru_cache(maxsize=2)(lambda epoch: np.random.default_rng([seed, epoch]).permutation(rows))


def total_steps(order: str, rows: int, batch_size: int, steps: int | None, epochs: float | None) -> int:
    """How many steps a run has: `epochs` replaces `steps` where it is set.

    Raises:
      UserError: where `once` would see a row a second time, `lanes` has fewer rows than lanes, or neither length is given.
    """
    choose("data.order", order, ORDERS)
    if epochs is None and steps is None:
        raise UserError("neither steps nor epochs is set: choose one, for example --config.steps=1000")
    size = rows if order == "all" else batch_size
    read = rows // size * size if order == "lanes" else rows  # in an epoch
    total = steps if epochs is None else -int(-epochs * read // size)
    passes = -(-rows // size)
    if order == "once" and total > passes:
        raise UserError(
            f"data.order 'once' shows each of {rows} rows once, in {passes} batches of {size}; {total} steps "
            f"would begin a second pass: set --config.steps={passes} or fewer"
        )
    if order == "lanes" and rows < batch_size:
        raise UserError(
            f"data.order 'lanes' reads {batch_size} lanes side by side and there are {rows} rows: choose a smaller "
            f"--config.batch_size, or a smaller --config.data.window"
        )
    return total


def rows_of_step(
    order: str, permutation: Callable[[int], np.ndarray], step: int, rows: int, batch_size: int, last: int
) -> np.ndarray:
    """Row numbers of the batch at `step`, int64 [at most batch_size].

    `shuffle` reads an endless stream of epoch permutations, so that a batch may span two epochs; it ends before
    position `last` (rows x epochs). `once` reads the rows in their own order, `all` returns every row each step. `lanes`
    cuts the rows into `batch_size` equal stretches and reads each in its own order, again from its start after its end;
    rows that are too few for one more of each are never read.
    """
    if order == "all":
        return np.arange(rows)
    if order == "lanes":
        stretch = rows // batch_size
        return np.arange(batch_size) * stretch + step % stretch
    positions = np.arange(step * batch_size, min((step + 1) * batch_size, last))
    if order == "once":
        return positions
    epochs = positions // rows
    indices = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        indices[here] = permutation(int(epoch))[positions[here] % rows]
    return indices
