"""Data: TFDS sources -> rows -> batches that are a pure function of (seed, step). Nothing here imports JAX."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.feed.order import permutations, rows_by_level, rows_of_step, total_steps
from gen_jax.data.feed.resident import CHUNK, resident_arrays
from gen_jax.data.kinds import kind_of
from gen_jax.data.source import Source
from gen_jax.data.sources.binary import BINARY, DYNAMIC, drawn_from, noise
from gen_jax.data.sources.opening import open_source
from gen_jax.data.spec import Spec, columns, level_names, rows_to_model, small, to_model
from gen_jax.data.tables.modes import with_modes
from gen_jax.data.tables.schema import standard
from gen_jax.errors import UserError, choose

RESIDENT_BYTES = 2 << 30  # above this the rows are streamed, unless data.feed says otherwise
LARGE_ROW = 1 << 17  # bytes from which threads read faster than one, which need not wait for Python's lock
FEEDS = ("auto", "resident", "streaming")
TRANSFORMS = {  # (low, high, root mean square) -> (shift, scale)
    "signed": lambda low, high, rms: ((high + low) / 2, (high - low) / 2),  # to [-1, 1]
    "unit": lambda low, high, rms: (low, high - low),  # to [0, 1]
    "rms": lambda low, high, rms: (np.zeros_like(low), np.full_like(low, rms)),  # to unit root mean square
    **dict.fromkeys(("none", *BINARY), lambda low, high, rms: (np.zeros_like(low), np.ones_like(low))),
}


class Data(NamedTuple):
    """A data set as the loop sees it.

    `stream(start, stop)` yields, for each step, what the step needs from the host (`at(step)`); inside the compiled
    step `batch(arrays, fed)` turns it into the training batch. `arrays` is empty for the streaming feed.
    """

    spec: Spec
    steps: int  # of the whole run
    arrays: dict[str, np.ndarray]
    at: Callable[[int], dict[str, np.ndarray]]
    stream: Callable[[int, int], Iterator[dict[str, np.ndarray]]]
    batch: Callable[[dict, dict], dict]
    read: Callable[[str, int | None], dict[str, np.ndarray] | None]  # raw rows of a split, see `reader`


def load(
    options: Mapping[str, Any],
    batch_size: int,
    seed: int,
    steps: int | None = None,
    epochs: float | None = None,
    multiple: int = 1,
    host: tuple[int, int] = (0, 1),
    quiet: bool = False,
    replicas: int = 1,
) -> Data:
    """Opens the data that the `data` section of a config names.

    Args:
      options: name, variant, data_dir, path, resize, transform, split, test_split, test_name, feed, order.
      multiple: batches are padded with rows of weight 0 to a multiple of this (the devices).
      host: index and number of the hosts; each feeds its own part of the rows of a batch.
      replicas: more than 1 stacks the batches of the seeds from `seed` on, behind a leading axis.

    Raises:
      UserError: for whatever is wrong with the data or the options, before anything is compiled.
    """
    source = open_source(options)
    split, feed, order = options["split"], choose("data.feed", options["feed"], FEEDS), options["order"]
    choose(f"data.split of {source.name}:", split, source.sizes)
    rows = source.sizes[split]
    if rows == 0:
        raise UserError(f"{source.name}: its split {split!r} is empty")
    if order == "lanes" and not source.info.get("pieces"):
        raise UserError(
            f"data.order 'lanes' continues sequences cut into windows, and {source.name} ({source.kind}) has none: "
            f"choose shuffle, or set --config.data.window=64"
        )
    if order == "by_level" and not any("levels" in column for column in source.info.get("columns", ())):
        raise UserError(
            f"data.order 'by_level' draws rows by the levels of a table, and {source.name} has none: set "
            f"--config.data.order=shuffle and, of a gan, --config.model.conditional=False"
        )
    total = total_steps(order, rows, batch_size, steps, epochs)
    if order == "lanes" and batch_size % multiple:
        raise UserError(
            f"batch_size {batch_size}: with data.order 'lanes' expected a multiple of the {multiple} devices"
        )
    if feed == "auto":
        feed = "resident" if rows * _row_bytes(source) <= RESIDENT_BYTES else "streaming"
    arrays = drawn_from(resident_arrays(source, options, split, quiet)) if feed == "resident" else {}
    spec = _spec(source, options, arrays)
    whole = lambda: source.rows(split, np.arange(rows))["x"]
    if source.tabular and options.get("transform") == "modes":
        spec = with_modes(spec, whole())
    by_level = _by_level(spec, whole()) if order == "by_level" else None
    if arrays and not small(source.dtype):
        arrays = rows_to_model(spec, arrays)
    size = rows if order == "all" else batch_size
    last = (rows if order == "once" else total * size) if epochs is None else round(epochs * rows)

    orders = {each: permutations(each, rows) for each in range(seed, seed + replicas)}
    greys = source.info.get("dynamic_binary")  # their domain

    def rows_at(seed: int, step: int) -> dict[str, np.ndarray]:
        indices, labels = rows_of_step(order, orders[seed], step, rows, size, last), None
        if by_level:
            indices, labels = by_level(seed, step, len(indices))
        padded = -(-size // multiple) * multiple
        weight = np.zeros(padded, np.float32)
        weight[: len(indices)] = 1
        indices = np.pad(indices, (0, padded - len(indices)))
        part = slice(padded * host[0] // host[1], padded * (host[0] + 1) // host[1])
        more = {"weight": weight[part]}
        if by_level:
            more["y"] = np.pad(labels, (0, padded - len(labels)))[part].astype(np.int32)
        indices = indices[part]
        if greys:
            more["noise"] = noise([DYNAMIC, seed, step], greys, (padded, *source.shape))[part]
        if order == "lanes":
            more["again"] = np.full(len(indices), step % (rows // size) == 0)
        if arrays:
            return {"index": indices.astype(np.int32), **more}
        fed = {**drawn_from(source.rows(split, indices)), **more}
        return fed if small(source.dtype) else rows_to_model(spec, fed)

    def at(step: int) -> dict[str, np.ndarray]:
        if replicas == 1:
            return rows_at(seed, step)
        each = [rows_at(each, step) for each in orders]
        return {name: np.stack([one[name] for one in each]) for name in each[0]}

    def stream(start: int, stop: int) -> Iterator[dict[str, np.ndarray]]:
        if arrays:
            return map(at, range(start, stop))
        return _prefetched(at, start, stop, 1 if _row_bytes(source) < LARGE_ROW else 4)

    def batch(arrays: dict, fed: dict) -> dict:
        fed = dict(fed)
        if "index" in fed:
            index = fed.pop("index")
            fed = {**fed, **{name: value[index] for name, value in arrays.items()}}
        if greys:
            fed["x"] = (fed.pop("noise") < fed["x"]).astype(np.uint8)
        begins, again = fed.pop("reset", None), fed.pop("again", None)  # a text, every lane
        if order == "lanes":
            fed["reset"] = begins | again
        return {**fed, "x": to_model(spec, fed["x"])} if small(source.dtype) else fed

    return Data(spec, total, arrays, at, stream, batch, reader(source, options, quiet))


def reader(
    source: Source, options: Mapping[str, Any], quiet: bool = False
) -> Callable[[str, int | None], dict[str, np.ndarray] | None]:
    """A function (split, num) -> the first `num` raw rows of a split, all where None; None where there is no such split.

    They are decoded once and kept in the cache as for training, unless they are too many.
    """
    fits = max(source.sizes.values()) * _row_bytes(source) <= RESIDENT_BYTES

    def read(split: str, num: int | None = None) -> dict[str, np.ndarray] | None:
        rows = source.sizes.get(split, 0)
        if not rows:
            return None
        if fits:
            arrays = resident_arrays(source, options, split, quiet)
        else:
            arrays = source.rows(split, np.arange(min(rows, num or rows)))
        return {name: np.asarray(array[:num]) for name, array in arrays.items() if name != "grey"}

    return read


def _row_bytes(source: Source) -> int:
    return int(np.prod(source.shape)) * source.dtype.itemsize


def _prefetched(at: Callable[[int], dict], start: int, stop: int, threads: int) -> Iterator[dict[str, np.ndarray]]:
    import grain  # slow to import, and the resident feed does not need it

    steps = grain.MapDataset.range(start, stop).map(at)
    return iter(steps.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=8)))


def _spec(source: Source, options: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> Spec:
    return Spec(
        source.name,
        source.kind,
        tuple(int(side) for side in source.shape),
        str(source.dtype),
        *(np.asarray(value).tolist() for value in _affine(source, options, arrays)),
        level_names(source.info["columns"]) if options["order"] == "by_level" else source.classes,
        dict(source.sizes),
        source.content,
        dict(source.info),
        options["split"],
    )


def _by_level(spec: Spec, x: np.ndarray) -> Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]:
    levelled = {at: len(column["levels"]) for at, column in enumerate(columns(spec)) if "levels" in column}
    return rows_by_level(x[:, [*levelled]], [*levelled.values()])


def _affine(source: Source, options: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> tuple:
    """Shift and scale of the transform, and the smallest and largest value of the domain.

    Raises:
      UserError: for a transform that these data cannot have.
    """
    kind = kind_of(source)
    if source.tabular:
        transform = options.get("transform") or kind.default_transform
        choose(f"data.transform of a table, {source.name}:", transform, ("standard", "modes"))
        return standard(source, options["split"])
    transform = options.get("transform") or ("none" if "vocabulary" in source.info else kind.default_transform)
    choose("data.transform", transform, TRANSFORMS)
    if "vocabulary" in source.info and transform != "none":
        raise UserError(
            f"data.transform {transform!r}: {source.name} holds tokens, which stay as they are; expected none"
        )
    if source.limits:
        low, high = (np.float64(limit) for limit in source.limits)
        rms = high
        if transform == "rms":
            raise UserError(
                f"data.transform 'rms' is for real numbers of any size; {source.name} has values of {source.limits[0]} "
                f"to {source.limits[1]}: choose signed or unit"
            )
    else:
        low, high, rms = _measure(source, options["split"], arrays)
    if transform in ("signed", "unit"):
        high = np.where(high > low, high, low + 1)  # a constant column maps to a constant
    return *TRANSFORMS[transform](low, high, rms), low, high


def _measure(source: Source, split: str, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, float]:
    """Smallest and largest value (of each column of vectors and series) and root mean square, in one pass over the rows.

    Raises:
      UserError: naming the first row with a value that is not finite.
    """
    last = len(source.shape) if kind_of(source).columns else len(source.shape) + 1
    axes = tuple(range(last))
    low, high, square = np.inf, -np.inf, 0.0
    rows = source.sizes[split]
    for start in range(0, rows, CHUNK * 16):
        indices = np.arange(start, min(start + CHUNK * 16, rows))
        x = np.asarray(arrays["x"][indices] if arrays else source.rows(split, indices)["x"], np.float64)
        finite = np.isfinite(x).reshape(len(x), -1)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise UserError(
                f"{source.name}: row {start + row}, entry {column} is {x.reshape(len(x), -1)[row, column]}; "
                f"expected finite numbers only"
            )
        low, high = np.minimum(low, x.min(axes)), np.maximum(high, x.max(axes))
        square += np.square(x).sum()
    return low, high, float(np.sqrt(square / (rows * np.prod(source.shape)))) or 1.0
