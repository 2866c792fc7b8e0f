"""The orders in which a run reads the rows of its split, as a pure function of (seed, step). On the host.

A new order is a function of (plan, step) and an entry of `ORDERS`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gen_jax.data.source import Source
from gen_jax.errors import UserError

BY_LEVEL, BY_LENGTH = 3, 4  # first numbers of the seeds, so that no two uses share their noise

Rows = dict[str, np.ndarray]  # `index`, row numbers int64 [n], and the arrays that an order adds to these rows


class Levels(NamedTuple):
    """Holds the rows of a table by the levels of its C columns that have levels. Column c has L_c levels."""

    rows: list[np.ndarray]  # C arrays [N] int64, row numbers sorted by level, missing cells last
    starts: list[np.ndarray]  # C arrays [L_c] int64, place of the first row of a level in `rows`
    counts: list[np.ndarray]  # C arrays [L_c] int64, number of rows of a level
    cumulative: list[np.ndarray]  # C arrays [L_c] float64, cumulative probabilities of the levels
    offsets: np.ndarray  # [C + 1] int64, number of the first level of a column, counted through all columns


NO_LEVELS = Levels([], [], [], [], np.zeros(1, np.int64))


class Plan(NamedTuple):
    """Holds the facts that determine the rows of a step, together with the number of the step."""

    seed: int
    rows: int  # number of rows of the split
    size: int  # number of rows of a step
    last: int  # position after the last row that a run reads, counted through all epochs
    permutation: Callable[[int], np.ndarray]  # epoch -> row numbers [rows]
    levels: Levels = NO_LEVELS  # levels, for orders that draw rows by their levels
    widths: np.ndarray | None = None  # int64 [rows], frames of each row, rounded up, for orders by length


class Reading(NamedTuple):
    """Holds the demands of a run on an order."""

    source: Source
    rows: int  # number of rows of the split
    batch_size: int
    steps: int
    multiple: int  # number of devices, to a multiple of which batches are padded


class Order(NamedTuple):
    """Describes an order of rows, with the facts that other modules read."""

    rows: Callable[[Plan, int], Rows]  # (plan, step) -> the rows of a step, at most plan.size
    refuse: Callable[[Reading], None] | None = None  # raises UserError for a reading that the order cannot honour
    whole: bool = False  # whether each step reads all rows, for any batch size
    once: bool = False  # whether a run ends before it reads a row a second time
    lanes: bool = False  # whether row i of a batch continues row i of the previous batch, by lanes in the state
    levels: bool = False  # whether the labels are the levels by which rows are drawn
    lengths: bool = False  # whether the rows of a batch have similar lengths


class Length(NamedTuple):
    """Holds the length of a run."""

    size: int  # number of rows of a step
    steps: int
    last: int  # position after the last row that the run reads, counted through all epochs


def permutations(seed: int, rows: int) -> Callable[[int], np.ndarray]:
    """Returns the function epoch -> permutation of the row numbers, int64 [rows]. It caches the last two epochs.

    Args:
      seed: seed of the permutations.
      rows: number of rows of the split.
    """
    return lru_cache(maxsize=2)(lambda epoch: np.random.default_rng([seed, epoch]).permutation(rows))


def length_of_run(order: Order, rows: int, batch_size: int, steps: int | None, epochs: float | None) -> Length:
    """Returns the length of a run.

    Args:
      order: the order of the rows.
      rows: number of rows in the split.
      batch_size: number of rows in a step, unless the order reads all rows.
      steps: number of steps, if `epochs` is None.
      epochs: number of passes over the rows. If it is set, it replaces `steps`.

    Raises:
      UserError: if neither `steps` nor `epochs` is set.
    """
    size = rows if order.whole else batch_size
    if epochs is not None and order.lengths:
        steps = max(1, round(epochs * -(-rows // size)))
        return Length(size, steps, steps * size)
    if epochs is not None:
        rows_of_epoch = rows // size * size if order.lanes else rows
        last = max(1, round(epochs * rows_of_epoch))
        return Length(size, -(-last // size), last)
    if steps is None:
        raise UserError("steps and epochs are missing; expected one of them, for example --config.steps=1000")
    return Length(size, steps, rows if order.once else steps * size)


def positions(plan: Plan, step: int) -> np.ndarray:
    """Returns the positions of the rows of a step in the endless stream of epochs, int64 [n], with n <= plan.size.

    Args:
      plan: the facts of the order.
      step: number of the step.
    """
    return np.arange(step * plan.size, min((step + 1) * plan.size, plan.last))


def shuffled_rows(plan: Plan, step: int) -> Rows:
    """Returns rows of an endless stream of permuted epochs. A batch may span two epochs.

    Args:
      plan: the facts of the order.
      step: number of the step.
    """
    places = positions(plan, step)
    epochs = places // plan.rows
    indices = np.empty_like(places)
    for epoch in np.unique(epochs):
        inside = epochs == epoch
        indices[inside] = plan.permutation(int(epoch))[places[inside] % plan.rows]
    return {"index": indices}


def rows_in_turn(plan: Plan, step: int) -> Rows:
    """Returns the next rows of the split, in the order of the split.

    Args:
      plan: the facts of the order.
      step: number of the step.
    """
    return {"index": positions(plan, step)}


def whole_split(plan: Plan, step: int) -> Rows:
    """Returns all rows of the split.

    Args:
      plan: the facts of the order.
      step: number of the step.
    """
    return {"index": np.arange(plan.rows)}


def rows_of_lanes(plan: Plan, step: int) -> Rows:
    """Returns the next row of each lane, and `again` [plan.size] bool: whether the lanes begin their stretches.

    The split is cut into plan.size equal stretches. A lane reads a stretch in the order of the split, and begins again
    after its end. Rows that do not fill one more row of all lanes are never read.

    Args:
      plan: the facts of the order.
      step: number of the step.
    """
    stretch = plan.rows // plan.size
    again = np.full(plan.size, step % stretch == 0)
    return {"index": np.arange(plan.size) * stretch + step % stretch, "again": again}


def rows_by_level(plan: Plan, step: int) -> Rows:
    """Returns rows drawn by their levels, with labels `y` int32 [n]: the levels by which the rows were drawn.

    This is training by sampling (Xu et al. 2019, arXiv 1907.00503, section 4.3). A column is drawn uniformly. A level
    of the column is drawn by the log of one plus its number of rows, and then a row of that level. Labels count the
    levels through all columns.

    Args:
      plan: the facts of the order.
      step: number of the step.
    """
    levels, num = plan.levels, len(positions(plan, step))
    random = np.random.default_rng([BY_LEVEL, plan.seed, step])
    columns = random.integers(len(levels.rows), size=num)
    uniforms = random.random((2, num))
    indices, labels = np.empty(num, np.int64), np.empty(num, np.int32)
    for column in np.unique(columns):
        inside = columns == column
        level = np.searchsorted(levels.cumulative[column], uniforms[0, inside], side="right")
        place = (uniforms[1, inside] * levels.counts[column][level]).astype(int)
        indices[inside] = levels.rows[column][levels.starts[column][level] + place]
        labels[inside] = levels.offsets[column] + level
    return {"index": indices, "y": labels}


def rows_by_length(plan: Plan, step: int) -> Rows:
    """Returns rows of similar lengths, and `frames` [n, width], whose shape is the number of frames of their batch.

    An epoch is cut into batches by length, whose order is drawn. Within a length the rows are drawn. The widths of the
    steps are the same for all seeds.

    Args:
      plan: the facts of the order.
      step: number of the step.
    """
    assert plan.widths is not None  # because the order has `lengths`
    batches = -(-plan.rows // plan.size)
    epoch, turn = divmod(step, batches)
    place = int(np.random.default_rng([BY_LENGTH, 0, epoch]).permutation(batches)[turn])
    permuted = plan.permutation(epoch)
    by_width = permuted[np.argsort(plan.widths[permuted], kind="stable")]
    indices = by_width[place * plan.size : (place + 1) * plan.size]
    return {"index": indices, "frames": np.zeros((len(indices), int(plan.widths[indices].max())), np.int8)}


def widths_of(lengths: np.ndarray) -> np.ndarray:
    """Returns the lengths of rows, rounded up to few numbers, because a step is compiled for each: 8, 12, 16, 24, 32, ...

    Args:
      lengths: number of frames of each row [N].

    Returns:
      int64 [N], at most the largest length.
    """
    steps = 1 << np.arange(2, max(3, int(lengths.max()).bit_length() + 1))
    grid = np.sort(np.concatenate([2 * steps, 3 * steps]))
    return np.minimum(grid[np.searchsorted(grid, lengths)], lengths.max())


def levels_of(codes: np.ndarray, sizes: Sequence[int]) -> Levels:
    """Returns the rows of a table by their levels.

    Args:
      codes: levels of the rows [N, C]; NaN if a cell is missing.
      sizes: number of levels of each column [C].
    """
    counts = [
        np.bincount(column[~np.isnan(column)].astype(int), minlength=size) for column, size in zip(codes.T, sizes)
    ]
    weights = [np.cumsum(np.log1p(count)) for count in counts]
    return Levels(
        rows=[np.argsort(column, kind="stable") for column in codes.T],
        starts=[np.cumsum(count) - count for count in counts],
        counts=counts,
        cumulative=[weight / weight[-1] for weight in weights],  # the last probability is exactly 1
        offsets=np.cumsum([0, *sizes]),
    )


def refuse_second_pass(reading: Reading) -> None:
    """Refuses a run that would read a row a second time.

    Args:
      reading: the demands of the run.

    Raises:
      UserError: with the largest possible number of steps.
    """
    passes = -(-reading.rows // reading.batch_size)
    if reading.steps > passes:
        raise UserError(
            f"steps is {reading.steps} with data.order 'once'; expected at most {passes}, because {reading.rows} rows "
            f"give {passes} batches of {reading.batch_size}. Set --config.steps={passes}"
        )


def refuse_no_lanes(reading: Reading) -> None:
    """Refuses rows that cannot be read in lanes.

    Args:
      reading: the demands of the run.

    Raises:
      UserError: for rows that are not pieces of sequences, fewer rows than lanes, or lanes that the devices cannot
        share.
    """
    source = reading.source
    if not source.info.get("pieces"):
        raise UserError(
            f"{source.name} ({source.kind}) has no windows of sequences; expected windows for data.order 'lanes'. "
            "Choose shuffle, or set --config.data.window=64"
        )
    if reading.rows < reading.batch_size:
        raise UserError(
            f"number of rows is {reading.rows} with data.order 'lanes'; expected at least {reading.batch_size}, one "
            "for each lane. Choose a smaller --config.batch_size or --config.data.window"
        )
    if reading.batch_size % reading.multiple:
        raise UserError(
            f"batch_size is {reading.batch_size} with data.order 'lanes'; expected a multiple of the "
            f"{reading.multiple} devices"
        )


def refuse_no_levels(reading: Reading) -> None:
    """Refuses data without levels.

    Args:
      reading: the demands of the run.

    Raises:
      UserError: with the settings of another order.
    """
    if not any("levels" in column for column in reading.source.info.get("columns", ())):
        raise UserError(
            f"{reading.source.name} has no levels; expected a table with levels for data.order 'by_level'. Set "
            "--config.data.order=shuffle and, for a gan, --config.model.conditional=False"
        )


def refuse_no_lengths(reading: Reading) -> None:
    """Refuses rows without a length of their own, and fewer rows than a batch.

    Args:
      reading: the demands of the run.

    Raises:
      UserError: with the settings of another order.
    """
    if reading.source.lengths is None or reading.source.info.get("pieces"):
        raise UserError(
            f"{reading.source.name} has rows of one length; expected rows of different lengths for data.order "
            "'by_length'. Set --config.data.order=shuffle"
        )
    if reading.rows < reading.batch_size:
        raise UserError(
            f"batch_size is {reading.batch_size} with data.order 'by_length'; expected at most {reading.rows}, the "
            "number of rows. Choose a smaller --config.batch_size"
        )


ORDERS = {
    "shuffle": Order(shuffled_rows),
    "once": Order(rows_in_turn, refuse_second_pass, once=True),
    "all": Order(whole_split, whole=True),
    "lanes": Order(rows_of_lanes, refuse_no_lanes, lanes=True),
    "by_level": Order(rows_by_level, refuse_no_levels, levels=True),
    "by_length": Order(rows_by_length, refuse_no_lengths, lengths=True),
}
