"""Batches as a pure function of (seed, step): the part of the host, and the part of the compiled step."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from gen_jax.data.feed.augmentation import changed, changes_of_step, lit
from gen_jax.data.feed.order import Order, Plan, Rows
from gen_jax.data.source import Source
from gen_jax.data.sources.binary import DYNAMIC, drawn_from, noise
from gen_jax.data.spec import Spec, large_to_model, small_to_model

LARGE_ROW = 1 << 17  # bytes of a row from which several threads are faster, because they seldom wait for Python's lock
THREADS = 4  # number of threads that read large rows
AHEAD = 8  # number of batches that are read in advance


class Feed(NamedTuple):
    """Describes how rows get to the device. Both feeds give the same batches."""

    arrays: Rows  # all rows of the split [N, ...], for the memory of the device; empty if rows are streamed
    fetch: Callable[[np.ndarray], Rows]  # row numbers [n] -> arrays that the host sends to the device for these rows
    # (rows of a step, start, stop) -> the rows of the steps from start to stop - 1
    stream: Callable[[Callable[[int], Rows], int, int], Iterator[Rows]]


class Batches(NamedTuple):
    """Holds the facts from which the batch of a step follows. They do not change while a run trains."""

    spec: Spec
    order: Order
    plans: tuple[Plan, ...]  # plans of the replicas
    feed: Feed
    padded: int  # number of rows of a batch, including padding rows
    part: slice  # part of a batch that this host feeds
    changes: tuple[str, ...] = ()  # random changes of rows, names in `augmentation.CHANGES`


def resident(spec: Spec, rows: Rows) -> Feed:
    """Returns the feed that keeps all rows of a split in the memory of the device.

    Args:
      spec: facts of the data.
      rows: raw rows [N, ...].
    """
    return Feed(large_to_model(spec, rows), _row_numbers, _one_by_one)


def streaming(spec: Spec, source: Source, split: str) -> Feed:
    """Returns the feed that reads the rows of a batch from the source, several batches in advance.

    Args:
      spec: facts of the data.
      source: the rows.
      split: name of the split.
    """
    threads = 1 if row_bytes(source) < LARGE_ROW else THREADS
    return Feed({}, partial(_read_rows, spec, source, split), partial(_read_ahead, threads))


def row_bytes(source: Source) -> int:
    """Returns the number of bytes of a raw row, with its condition.

    Args:
      source: the rows.
    """
    size = int(np.prod(source.shape)) * source.dtype.itemsize
    return size if source.condition is None else size + row_bytes(source.condition)


def rows_of_step(batches: Batches, step: int) -> Rows:
    """Returns the arrays [n, ...] that the host sends to the device for a step.

    The arrays of several replicas are stacked, [replicas, n, ...].

    Args:
      batches: the facts of the batches.
      step: number of the step.
    """
    replicas = [_rows_of_replica(batches, plan, step) for plan in batches.plans]
    if len(replicas) == 1:
        return replicas[0]
    return {name: np.stack([rows[name] for rows in replicas]) for name in replicas[0]}


def _rows_of_replica(batches: Batches, plan: Plan, step: int) -> Rows:
    rows = batches.order.rows(plan, step)
    num = len(rows["index"])
    rows |= {"weight": np.ones(num, np.float32), **changes_of_step(batches.spec, batches.changes, plan.seed, step, num)}
    rows = {name: _padded(value, batches.padded)[batches.part] for name, value in rows.items()}
    greys = _greys(batches.spec)
    if greys:
        shape = (batches.padded, *batches.spec.shape)
        rows["noise"] = noise([DYNAMIC, plan.seed, step], greys, shape)[batches.part]
    return {**batches.feed.fetch(rows.pop("index")), **rows}


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    """Returns values [n, ...] with zeros appended, [size, ...]."""
    padded = np.zeros((size, *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return padded


def stream(batches: Batches, start: int, stop: int) -> Iterator[Rows]:
    """Yields the arrays that the host sends to the device for each step from `start` to `stop - 1`.

    Args:
      batches: the facts of the batches.
      start: number of the first step.
      stop: number after the last step.
    """
    return batches.feed.stream(partial(rows_of_step, batches), start, stop)


def batch_on_device(spec: Spec, arrays: Rows, fed: Rows) -> Rows:
    """Returns the batch of a step in model space. It is traced in the compiled step.

    Args:
      spec: the facts of the data.
      arrays: all rows of the feed [N, ...]; empty if rows are streamed.
      fed: arrays from the host, see `rows_of_step`.
    """
    batch = dict(fed)
    if "index" in batch:
        index = batch.pop("index")
        batch |= {name: value[index] for name, value in arrays.items()}
    if "frames" in batch:
        frames = batch.pop("frames").shape[1]
        batch |= {name: batch[name][:, :frames] for name, field in spec.fields.items() if field.ragged}
    if _greys(spec):
        batch["x"] = (batch.pop("noise") < batch["x"]).astype(np.uint8)
    begins = batch.pop("reset", None)  # true for the first piece of a sequence
    if "again" in batch:  # whether all lanes begin their stretches
        batch["reset"] = begins | batch.pop("again")
    return lit(small_to_model(spec, changed(spec, batch)))


def _greys(spec: Spec) -> list[int] | None:
    """Returns the domain of the grey images from which each step draws black and white; None if steps do not draw."""
    return spec.info.get("dynamic_binary")


def _row_numbers(indices: np.ndarray) -> Rows:
    return {"index": indices.astype(np.int32)}


def _read_rows(spec: Spec, source: Source, split: str, indices: np.ndarray) -> Rows:
    return large_to_model(spec, drawn_from(source.rows(split, indices)))


def _one_by_one(rows_of: Callable[[int], Rows], start: int, stop: int) -> Iterator[Rows]:
    return map(rows_of, range(start, stop))


def _read_ahead(threads: int, rows_of: Callable[[int], Rows], start: int, stop: int) -> Iterator[Rows]:
    import grain  # slow to import, and not needed by the resident feed

    steps = grain.MapDataset.range(start, stop).map(rows_of)
    return iter(steps.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=AHEAD)))
