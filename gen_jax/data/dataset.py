"""Data sets as a program opens them: by name, from files, or from arrays in memory."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.config import base_config, plain
from gen_jax.data.cache import content_hash
from gen_jax.data.feed.load import load, reader
from gen_jax.data.feed.order import Rows
from gen_jax.data.kinds import KINDS
from gen_jax.data.source import Source, say_once
from gen_jax.data.sources.array_file import source_of_arrays
from gen_jax.data.sources.array_pairs import fields_of_arrays
from gen_jax.data.sources.class_list import find_class_list
from gen_jax.data.sources.opening import HELD, IN_MEMORY, open_source, prepared, refuse_options
from gen_jax.data.sources.pairs import Pairs, source_of_pairs
from gen_jax.data.sources.splits import regrouped
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError, choose


class DataSet:
    """Holds rows in splits, and the settings by which they are read. `gen_jax.fit` trains on a data set.

    Attributes:
      options: the `data` section of a config that opens these rows.
      source: the raw rows.
      origin: the rows of a program before windows and other changes by `options`; None for rows of a file or a name.
    """

    def __init__(self, options: dict[str, Any], source: Source, origin: Source | None = None) -> None:
        self.options = options
        self.source = source
        self.origin = origin

    @cached_property
    def spec(self) -> Spec:
        """Returns the facts of the data for which a model is built."""
        return load(self.options, batch_size=1, seed=0, steps=1, quiet=True, source=self.source).spec

    def rows(self, split: str = "train", num: int | None = None) -> Rows:
        """Returns raw rows of a split: `x` [N, *shape], and `y` [N] if the rows have labels.

        Args:
          split: name of the split; by default `train`.
          num: number of rows from the start of the split; by default all rows.

        Raises:
          UserError: if there is no such split.
        """
        choose(f"split of {self.source.name}", split, [name for name, size in self.source.sizes.items() if size])
        rows = reader(self.source, self.options, quiet=True)(split, num)
        return {} if rows is None else rows

    def batch(self, step: int = 0, batch_size: int = 64, seed: int = 0) -> Rows:
        """Returns the training batch of a step in model space, in the form that `Model.step` takes.

        Args:
          step: number of the step, from 0; by default 0.
          batch_size: number of rows; by default 64.
          seed: seed of the order of the rows; by default 0.
        """
        opened = load(self.options, batch_size=batch_size, seed=seed, steps=step + 1, quiet=True, source=self.source)
        return opened.batch(opened.arrays, opened.at(step))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{size} {split}" for split, size in self.source.sizes.items() if size)
        return f"DataSet({self.source.name}: {self.source.kind} {list(self.source.shape)}, {sizes})"


def arrays(
    x: Any,
    y: Any = None,
    *,
    c: Any = None,
    c_length: Any = None,
    test: tuple[Any, ...] | Any = None,
    kind: str | None = None,
    name: str = "arrays",
    **settings: Any,
) -> DataSet:
    """Returns a data set of values in memory: arrays, texts, or a table.

    A run on these values knows the hash of their content. To load the run in another process, open the same values
    first, if a measure or a command needs the rows.

    Args:
      x: rows. Arrays are vectors [N, D], images [N, H, W] or [N, H, W, C], and by `kind` series [N, T, D] or tokens
        [N, T], which are whole numbers from 0. A list of series or of tokens may have several lengths. A list of texts
        holds a document a row. A mapping of names to columns, or a data frame, is a table of numbers, texts and dates,
        in which None and NaN are missing cells.
      y: labels [N], whole numbers or texts; by default None. Texts have no labels, and the label of a table is a
        column.
      c: conditions of the rows [N, ...]: images, vectors, class maps (with `classes`, a JSON file), texts [N], or tokens
        [N, T]; by default None.
      c_length: number of tokens of each condition [N], if `c` holds tokens; by default None.
      test: rows of the test split, x, (x, y), (x, y, c) or (x, y, c, c_length); by default None, which holds out the share `holdout` of the rows of a
        table, and no other rows.
      kind: `image`, `vector`, `series`, `tokens`, `text` or `table`; by default None, by the type and the shape of x.
        Whole numbers [N, D] are then vectors, and a line says so.
      name: name of the data in messages; by default `arrays`.
      **settings: further settings of the `data` section of a config, such as `transform`, `window`, `schema` or
        `order`.

    Raises:
      UserError: for values that are not rows of the kind, or an unknown setting.
    """
    options = data_settings(settings)
    kinds = [each for each, facts in KINDS.items() if facts.hold or "kind" in facts.options]
    if kind is not None:
        choose("kind of values in memory", kind, kinds)
    else:
        kind = next((each for each, facts in KINDS.items() if facts.recognises and facts.recognises(x)), None)
    hold = None if kind is None else KINDS[kind].hold
    splits: dict[str, tuple[Any, ...]] = {"train": (x, y, c, c_length)}
    if isinstance(test, tuple):
        if not 2 <= len(test) <= 4:
            raise UserError(f"test is a tuple of {len(test)}; expected (rows, labels), and conditions behind them")
        splits[options["test_split"]] = test
    elif test is not None:
        splits[options["test_split"]] = (test,)
    if hold is not None and c is None:
        if any(part is not None for parts in splits.values() for part in parts[1:]):
            raise UserError(f"labels y stand beside {kind} data; expected x alone")
        origin = hold(name, {split: parts[0] for split, parts in splits.items()}, options)
    else:
        options["kind"] = kind if kind is not None and "kind" in KINDS[kind].options else None
        origin = held_arrays(name, splits, options)
    options["name"] = f"{IN_MEMORY}{origin.content}"
    data = DataSet(options, prepared(origin, options), origin)
    HELD[options["name"]] = data
    return data


def held_arrays(name: str, splits: Mapping[str, tuple[Any, ...]], options: Mapping[str, Any]) -> Source:
    """Returns arrays of a program as a source.

    Args:
      name: name of the data.
      splits: x, and y, c and c_length or None, of each split.
      options: the `data` section of a config.

    Raises:
      UserError: for arrays that are not rows, or splits that differ in shape or labels.
    """
    kind = options["kind"]
    time = kind is not None and KINDS[kind].time
    parts = {split: rows_of(*arrays, time=time) for split, arrays in splits.items()}
    if len({frozenset(part) - {"length"} for part in parts.values()}) > 1:
        raise UserError("labels y or conditions c are missing in one split; expected them in both splits, or in none")
    if any("length" in part for part in parts.values()):
        parts = of_one_length(parts)
    shapes = {part["x"].shape[1:] for part in parts.values()}
    if len(shapes) > 1:
        raise UserError(
            f"shapes of rows are {' and '.join(map(str, sorted(shapes)))}; expected one shape for both splits"
        )
    content = hash_of_parts(parts)
    if kind is not None and KINDS[kind].symbols:
        content = content_hash(content, kind)
    together = {key: np.concatenate([part[key] for part in parts.values()]) for key in parts["train"]}
    if kind is None and together["x"].ndim == 2 and together["x"].dtype.kind in "iu":
        say_once(
            f"{name}: whole numbers [N, D] are read as vectors; kind='tokens' reads sequences, kind='vector' vectors"
        )
    sizes = {split: len(part["x"]) for split, part in parts.items()}
    if "c" in together:
        return pairs_of_arrays(name, together, sizes, options, content)
    return regrouped(source_of_arrays(name, name, together, options, content), places_of(sizes))


def places_of(sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Returns the row numbers of consecutive splits.

    Args:
      sizes: number of rows of each split.
    """
    ends = np.cumsum([*sizes.values()])
    return {split: np.arange(end - sizes[split], end) for split, end in zip(sizes, ends)}


def pairs_of_arrays(
    name: str, arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int], options: Mapping[str, Any], content: str
) -> Source:
    """Returns rows with a condition as a source with consecutive splits.

    Args:
      name: name of the data.
      arrays: the arrays of all splits, one after the other, by name.
      sizes: number of rows of each split.
      options: the `data` section of a config.
      content: hash of the arrays.

    Raises:
      UserError: for arrays that are not rows, or a setting that they do not have.
    """
    settings = {**options, "content": content}
    classes = find_class_list(Path(name), options.get("classes"))
    places = places_of(sizes)
    fields = fields_of_arrays(name, name, arrays, {}, ("x", "c"), places, settings, classes)
    source = source_of_pairs(Pairs(*fields, ("x", "c"), (), places), settings, classes)
    refuse_options(source, options)
    return source


def rows_of(x: Any, y: Any = None, c: Any = None, c_length: Any = None, *, time: bool = False) -> dict[str, np.ndarray]:
    """Returns the arrays of one split by name.

    Args:
      x: rows [N, ...].
      y: labels [N], or None.
      c: conditions [N, ...], or None.
      c_length: number of tokens of each condition [N], or None.
      time: whether rows are sequences. If their lengths differ, zeros fill them up, and `length` [N] holds the lengths.

    Raises:
      UserError: for rows of different shapes.
    """
    fields = {"x": x, "y": y, "c": c, "c_length": c_length}
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        rows = {name: np.asarray(value) for name, value in given.items()}
    except ValueError:
        if time:
            return {**filled_rows(x), **{name: np.asarray(value) for name, value in given.items() if name != "x"}}
        raise UserError(
            f"rows of {' or '.join(given)} have several shapes; expected one shape for all. Set kind='series' or "
            "kind='tokens' for sequences of several lengths"
        ) from None
    for name, array in rows.items():
        if array.ndim == 0:
            raise UserError(f"{name} is of type {type(given[name]).__name__}; expected rows, such as an array [N, ...]")
    return rows


def filled_rows(x: Any) -> dict[str, np.ndarray]:
    """Returns sequences of several lengths as one array `x` [N, T, ...] with zeros behind them, and `length` [N].

    Args:
      x: the sequences.

    Raises:
      UserError: for sequences that differ in more than their length.
    """
    try:
        rows = [np.asarray(row) for row in x]
        shapes = {row.shape[1:] for row in rows}
        length = np.array([len(row) for row in rows])
        filled = np.zeros((len(rows), length.max(), *shapes.pop()), np.result_type(*rows))
    except (TypeError, ValueError):
        shapes = {()}
    if shapes:
        raise UserError("rows of x have several shapes; expected sequences that differ only in length")
    for row, values in zip(filled, rows, strict=True):
        row[: len(values)] = values
    return {"x": filled, "length": length}


def of_one_length(parts: Mapping[str, dict[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    """Returns splits of sequences with zeros behind them up to the length of the longest, and with `length` [N] in all.

    Args:
      parts: arrays of each split by name.
    """
    longest = max(part["x"].shape[1] for part in parts.values())
    filled = {}
    for split, part in parts.items():
        num, length, *_ = part["x"].shape
        padding = [(0, 0)] * part["x"].ndim
        padding[1] = (0, longest - length)
        lengths = part.get("length", np.full(num, length))
        filled[split] = {**part, "x": np.pad(part["x"], padding), "length": lengths}
    return filled


def hash_of_parts(parts: Mapping[str, dict[str, np.ndarray]]) -> str:
    """Returns the hash of the arrays of all splits: their names, types, shapes and values.

    Args:
      parts: arrays of each split by name.

    Raises:
      UserError: for an array of objects.
    """
    facts: list[Any] = []
    for split, part in parts.items():
        for key, array in part.items():
            if array.dtype.hasobject:
                raise UserError(f"{key} of {split} is an array of objects; expected numbers or texts of one type")
            facts += [[split, key, array.dtype.str, list(array.shape)], np.ascontiguousarray(array).tobytes()]
    return content_hash(*facts)


def data_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the `data` section of the default config with some settings changed.

    Args:
      settings: the settings that change.

    Raises:
      UserError: for an unknown setting.
    """
    options = plain(base_config().data)
    for setting in settings:
        choose("setting of data", setting, options)
    return {**options, **settings}


def open(name: str | Path, **settings: Any) -> DataSet:
    """Returns a data set by name, or the data set of a file or a folder.

    Args:
      name: a file or a folder that exists, as in `data.path`, or the name of a data set.
      **settings: further settings of the `data` section of a config, such as `window`, `resize` or `transform`.

    Raises:
      UserError: for data that cannot be opened, or an unknown setting.
    """
    options = data_settings(settings)
    if Path(name).expanduser().exists():
        options["path"] = str(name)
    elif isinstance(name, Path):
        raise UserError(f"{name} does not exist; expected a file or a folder")
    else:
        options["name"] = name
    return DataSet(options, open_source(options))
