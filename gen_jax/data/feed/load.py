"""Opens the data of a run: a source, its facts, and batches that are a pure function of (seed, step)."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.feed.augmentation import changes_of
from gen_jax.data.feed.batches import Batches, batch_on_device, resident, row_bytes, rows_of_step, stream, streaming
from gen_jax.data.feed.order import (
    NO_LEVELS,
    ORDERS,
    Levels,
    Plan,
    Reading,
    Rows,
    length_of_run,
    levels_of,
    permutations,
    widths_of,
)
from gen_jax.data.feed.resident import resident_arrays
from gen_jax.data.source import Source
from gen_jax.data.sources.binary import drawn_from
from gen_jax.data.sources.opening import open_source
from gen_jax.data.spec import Spec, columns, level_names
from gen_jax.data.tables.column_modes import with_modes
from gen_jax.data.transforms import affine
from gen_jax.errors import UserError, choose

RESIDENT_BYTES = 2 << 30  # size of a split above which its rows are streamed, unless `data.feed` is set
FEEDS = ("auto", "resident", "streaming")


class Data(NamedTuple):
    """Holds a data set in the form that the training loop needs.

    The host computes `at(step)` and sends it to the device. Inside the compiled step, `batch(arrays, fed)` makes the
    batch.
    """

    spec: Spec
    steps: int  # number of steps of the whole run
    arrays: Rows  # all rows of the split, for the memory of the device; empty if rows are streamed
    at: Callable[[int], Rows]  # step -> arrays that the host sends to the device for this step
    stream: Callable[[int, int], Iterator[Rows]]  # (start, stop) -> at(start), ..., at(stop - 1)
    batch: Callable[[Rows, Rows], Rows]  # (arrays, at(step)) -> the batch
    read: Callable[[str, int | None], Rows]  # raw rows of a split, see `reader`


def load(
    options: Mapping[str, Any],
    *,
    batch_size: int,
    seed: int,
    steps: int | None = None,
    epochs: float | None = None,
    multiple: int = 1,
    host: tuple[int, int] = (0, 1),
    replicas: int = 1,
    quiet: bool = False,
    source: Source | None = None,
) -> Data:
    """Opens the data that the `data` section of a config names.

    Args:
      options: the section, of which name, variant, data_dir, path, resize, transform, split, test_split, test_name,
        feed, order and the options of the kind of data are read.
      batch_size: number of rows in a step.
      seed: seed of the order of the rows, and of the black and white pixels that a step draws from greys.
      steps: number of steps of the run, if `epochs` is None.
      epochs: number of passes over the rows. If it is set, it replaces `steps`.
      multiple: number of devices; by default 1. Batches are padded with rows of weight 0 to a multiple of this number.
      host: index of this host and number of hosts; by default (0, 1). A host feeds its part of the rows of a batch.
      replicas: number of replicas; by default 1. If it is above 1, the batches of the seeds from `seed` on are stacked
        along a new first axis.
      quiet: whether the progress bar is hidden; by default False.
      source: the rows, if they are open. None, the default, opens them by the options.

    Returns:
      The data set.

    Raises:
      UserError: for any fault of the data or the options, before anything is compiled.
    """
    source = source or open_source(options)
    split, rows = options["split"], rows_of_split(source, options["split"])
    order = ORDERS[choose("data.order", options["order"], ORDERS)]
    length = length_of_run(order, rows, batch_size, steps, epochs)
    if order.refuse:
        order.refuse(Reading(source, rows, batch_size, length.steps, multiple))
    resident_rows = drawn_from(resident_arrays(source, options, split, quiet)) if is_resident(source, options) else {}
    spec = spec_of(source, options, resident_rows)
    levels = levels_of_table(spec, all_rows(source, split)) if order.levels else NO_LEVELS
    widths = widths_of(lengths_of_rows(source, split)) if order.lengths else None
    feed = resident(spec, resident_rows) if resident_rows else streaming(spec, source, split)
    plans = tuple(
        Plan(replica_seed, rows, length.size, length.last, permutations(replica_seed, rows), levels, widths)
        for replica_seed in range(seed, seed + replicas)
    )
    padded = -(-length.size // multiple) * multiple
    part = slice(padded * host[0] // host[1], padded * (host[0] + 1) // host[1])
    changes = changes_of(spec, options.get("augment"))
    batches = Batches(spec, order, plans, feed, padded, part, changes)
    return Data(
        spec=spec,
        steps=length.steps,
        arrays=feed.arrays,
        at=partial(rows_of_step, batches),
        stream=partial(stream, batches),
        batch=partial(batch_on_device, spec),
        read=reader(source, options, quiet),
    )


def rows_of_split(source: Source, split: str) -> int:
    """Returns the number of rows in a split.

    Args:
      source: the rows.
      split: name of the split.

    Raises:
      UserError: for an unknown or an empty split.
    """
    choose(f"data.split of {source.name}:", split, source.sizes)
    if source.sizes[split] == 0:
        raise UserError(f"split {split!r} of {source.name} is empty; expected at least one row")
    return source.sizes[split]


def is_resident(source: Source, options: Mapping[str, Any]) -> bool:
    """Returns whether the setting `data.feed` keeps the rows of the training split in memory.

    `auto` keeps the rows of a split of at most `RESIDENT_BYTES`.

    Args:
      source: the rows.
      options: the `data` section of a config.

    Raises:
      UserError: for an unknown feed.
    """
    feed = choose("data.feed", options["feed"], FEEDS)
    if feed == "auto":
        return source.sizes[options["split"]] * row_bytes(source) <= RESIDENT_BYTES
    return feed == "resident"


def all_rows(source: Source, split: str) -> np.ndarray:
    """Returns all raw rows `x` [N, *shape] of a split.

    Args:
      source: the rows.
      split: name of the split.
    """
    return source.rows(split, np.arange(source.sizes[split]))["x"]


def spec_of(source: Source, options: Mapping[str, Any], resident_rows: Rows) -> Spec:
    """Returns the facts of a data set.

    Args:
      source: the rows.
      options: the `data` section of a config.
      resident_rows: raw rows [N, ...] of the split, if they are in memory; else empty.

    Raises:
      UserError: for a transform that does not fit the data, or a number that is not finite.
    """
    shift, scale, low, high = (np.asarray(value).tolist() for value in affine(source, options, resident_rows))
    spec = Spec(
        name=source.name,
        kind=source.kind,
        shape=tuple(int(side) for side in source.shape),
        dtype=str(source.dtype),
        shift=shift,
        scale=scale,
        low=low,
        high=high,
        classes=level_names(source.info["columns"]) if ORDERS[options["order"]].levels else source.classes,
        sizes=dict(source.sizes),
        content=source.content,
        info=dict(source.info),
        split=options["split"],
        condition=None if source.condition is None else condition_of(source.condition, options, resident_rows),
    )
    if source.tabular and options.get("transform") == "modes":
        return with_modes(spec, all_rows(source, options["split"]))
    return spec


def condition_of(source: Source, options: Mapping[str, Any], resident_rows: Rows) -> Spec:
    """Returns the facts of the condition `c` of a data set. Its numbers have the default transform of their kind.

    Args:
      source: the conditions alone.
      options: the `data` section of a config.
      resident_rows: raw rows [N, ...] of the split, if they are in memory; else empty.
    """
    return spec_of(
        source, {**options, "transform": None, "order": "shuffle"}, {"x": resident_rows["c"]} if resident_rows else {}
    )


def lengths_of_rows(source: Source, split: str) -> np.ndarray:
    """Returns the number of frames of each row of a split, or of its condition if that has more, int64 [N].

    Args:
      source: the rows, which have lengths.
      split: name of the split.
    """
    assert source.lengths is not None  # because the order refuses other rows
    lengths = np.asarray(source.lengths(split), np.int64)
    condition = source.condition
    if condition is None or condition.lengths is None:
        return lengths
    return np.maximum(lengths, condition.lengths(split))


def levels_of_table(spec: Spec, x: np.ndarray) -> Levels:
    """Returns the rows of a table by the levels of its columns.

    Args:
      spec: facts of the data.
      x: rows [N, D].
    """
    sizes = {place: len(column["levels"]) for place, column in enumerate(columns(spec)) if "levels" in column}
    return levels_of(x[:, [*sizes]], [*sizes.values()])


def reader(source: Source, options: Mapping[str, Any], quiet: bool = False) -> Callable[[str, int | None], Rows]:
    """Returns the function (split, num) -> the first `num` raw rows of a split, or all rows if None; see `read_split`.

    Args:
      source: the rows.
      options: the `data` section of a config.
      quiet: whether the progress bar is hidden; by default False.
    """
    return partial(read_split, source, options, quiet=quiet)


def read_split(
    source: Source, options: Mapping[str, Any], split: str, num: int | None = None, quiet: bool = False
) -> Rows:
    """Returns raw rows of a split; an empty dictionary for an unknown or an empty split.

    Rows are decoded once and kept in the cache, as for training, unless a split is too large.

    Args:
      source: the rows.
      options: the `data` section of a config.
      split: name of the split.
      num: number of rows from the start of the split; by default all rows.
      quiet: whether the progress bar is hidden; by default False.
    """
    rows = source.sizes.get(split, 0)
    if not rows:
        return {}
    if max(source.sizes.values()) * row_bytes(source) <= RESIDENT_BYTES:
        arrays = resident_arrays(source, options, split, quiet)
    else:
        arrays = source.rows(split, np.arange(min(rows, num or rows)))
    return {name: np.asarray(array[:num]) for name, array in arrays.items() if name != "grey"}
