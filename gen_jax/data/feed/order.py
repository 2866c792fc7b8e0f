"""Which rows make the batch of a step: a pure function of (seed, step), computed on the host."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from gen_jax.errors import UserError, choose

ORDERS = ("shuffle", "once", "all", "lanes", "by_level")
BY_LEVEL = 3  # begins the seeds, so that no two uses share their noise


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
    rows that are too few for one more of each are never read. `by_level` has as many rows as `shuffle` (see `rows_by_level`).
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


def rows_by_level(codes: np.ndarray, sizes: Sequence[int]) -> Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]:
    """Training by sampling: (seed, step, num) -> row numbers, and the level by which each was drawn, int64 [num] both.

    One column of levels, any as often as another; one of its levels, by the log of how many rows have it; one of those rows
    (Xu et al. 2019, arXiv 1907.00503, section 4.3, whose log is of the count plus one). Levels are counted through all columns.

    Args:
      codes: of the levels of each row [N, C], NaN where a cell is empty.
      sizes: how many levels each column has.
    """
    first = np.cumsum([0, *sizes])
    counts = [np.bincount(each[~np.isnan(each)].astype(int), minlength=size) for each, size in zip(codes.T, sizes)]
    cuts = [np.cumsum(np.log1p(each)) for each in counts]
    cuts = [each / each[-1] for each in cuts]  # the last is 1 to the bit
    sorted_rows = [np.argsort(each, kind="stable") for each in codes.T]  # empty cells last
    starts = [np.cumsum(each) - each for each in counts]

    def rows(seed: int, step: int, num: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng([BY_LEVEL, seed, step])
        columns, where = random.integers(len(sizes), size=num), random.random((2, num))
        indices, labels = np.empty(num, np.int64), np.empty(num, np.int64)
        for column in np.unique(columns):
            here = columns == column
            level = np.searchsorted(cuts[column], where[0, here], side="right")
            place = starts[column][level] + (where[1, here] * counts[column][level]).astype(int)
            indices[here], labels[here] = sorted_rows[column][place], first[column] + level
        return indices, labels

    return rows
