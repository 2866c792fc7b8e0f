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
from gen_jax.data.source import Source
from gen_jax.data.sources.array_file import source_of_arrays
from gen_jax.data.sources.array_pairs import fields_of_arrays
from gen_jax.data.sources.class_list import find_class_list
from gen_jax.data.sources.opening import HELD, IN_MEMORY, open_source, refuse_options
from gen_jax.data.sources.pairs import Pairs, source_of_pairs
from gen_jax.data.sources.splits import regrouped
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError, choose


class DataSet:
    """Holds rows in splits, and the settings by which they are read. `gen_jax.fit` trains on a data set.

    Attributes:
      options: the `data` section of a config that opens these rows.
      source: the raw rows.
    """

    def __init__(self, options: dict[str, Any], source: Source) -> None:
        self.options = options
        self.source = source

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
    name: str = "arrays",
    **settings: Any,
) -> DataSet:
    """Returns a data set of arrays in memory.

    A run on these arrays knows the hash of their content. To load the run in another process, open the same arrays
    first, if a measure or a command needs the rows.

    Args:
      x: rows: vectors [N, D], images [N, H, W] or [N, H, W, C], or series [N, T, D] with `kind="series"`.
      y: labels [N], whole numbers or texts; by default None.
      c: conditions of the rows [N, ...]: images, vectors, class maps (with `classes`, a JSON file), texts [N], or tokens
        [N, T]; by default None.
      c_length: number of tokens of each condition [N], if `c` holds tokens; by default None.
      test: rows of the test split, x, (x, y), (x, y, c) or (x, y, c, c_length); by default None.
      name: name of the data in messages; by default `arrays`.
      **settings: further settings of the `data` section of a config, such as `kind`, `transform` or `order`.

    Raises:
      UserError: for arrays that are not rows, or an unknown setting.
    """
    options = data_settings(settings)
    parts = {"train": rows_of(x, y, c, c_length)}
    if test is not None:
        parts[options["test_split"]] = rows_of(*test) if isinstance(test, tuple) else rows_of(test)
    if len({frozenset(part) for part in parts.values()}) > 1:
        raise UserError("labels y or conditions c are missing in one split; expected them in both splits, or in none")
    shapes = {part["x"].shape[1:] for part in parts.values()}
    if len(shapes) > 1:
        raise UserError(
            f"shapes of rows are {' and '.join(map(str, sorted(shapes)))}; expected one shape for both splits"
        )
    together = {key: np.concatenate([part[key] for part in parts.values()]) for key in parts["train"]}
    content = hash_of_parts(parts)
    source = source_of_parts(name, together, {split: len(part["x"]) for split, part in parts.items()}, options, content)
    options["name"] = f"{IN_MEMORY}{content}"
    data = DataSet(options, source)
    HELD[options["name"]] = data
    return data


def source_of_parts(
    name: str, arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int], options: Mapping[str, Any], content: str
) -> Source:
    """Returns arrays as a source with consecutive splits.

    Args:
      name: name of the data.
      arrays: the arrays of all splits, one after the other, by name.
      sizes: number of rows of each split.
      options: the `data` section of a config.
      content: hash of the arrays.

    Raises:
      UserError: for arrays that are not rows, or a setting that they do not have.
    """
    ends = np.cumsum([*sizes.values()])
    places = {split: np.arange(end - sizes[split], end) for split, end in zip(sizes, ends)}
    settings = {**options, "content": content}
    if "c" in arrays:
        classes = find_class_list(Path(name), options.get("classes"))
        fields = fields_of_arrays(name, name, arrays, {}, ("x", "c"), places, settings, classes)
        source = source_of_pairs(Pairs(*fields, ("x", "c"), (), places), settings, classes)
        refuse_options(source, options)
        return source
    return regrouped(source_of_arrays(name, name, arrays, options, content), places)


def rows_of(x: Any, y: Any = None, c: Any = None, c_length: Any = None) -> dict[str, np.ndarray]:
    """Returns the arrays of one split by name.

    Args:
      x: rows [N, ...].
      y: labels [N], or None.
      c: conditions [N, ...], or None.
      c_length: number of tokens of each condition [N], or None.

    Raises:
      UserError: for rows of different shapes.
    """
    rows = {"x": x, "y": y, "c": c, "c_length": c_length}
    rows = {name: value for name, value in rows.items() if value is not None}
    try:
        return {name: np.asarray(value) for name, value in rows.items()}
    except ValueError:
        raise UserError(f"rows of {' or '.join(rows)} have several shapes; expected one shape for all") from None


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
