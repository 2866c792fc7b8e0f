"""Arrays of one file, and columns of their metadata, as a target and its condition."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.npz_files import read_archive, read_array
from gen_jax.data.source import Source, share_aspect
from gen_jax.data.sources.class_list import ClassList, find_class_list
from gen_jax.data.sources.fields import TEXTS, array_field, column_field, condition_options, texts_in
from gen_jax.data.sources.pairs import Pairs, names_of, source_of_pairs
from gen_jax.data.sources.records import SPLIT, metadata_file, read_columns
from gen_jax.data.sources.splits import Places, held_out, splits_by_name
from gen_jax.errors import UserError, readable

LENGTH = "_length"  # ending of the name of an array that holds the lengths of another


def open_array_pairs(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens arrays of one file as target and condition, with columns of metadata if there are any.

    Args:
      path: a .npz file, or a .npy file with metadata.
      options: the `data` section of a config.

    Raises:
      UserError: for a file that cannot be read, an unknown name, or arrays that are not rows.
    """
    with readable(f"data.path {path}", "an array file"):
        arrays = {"x": read_array(path)} if path.suffix.lower() == ".npy" else read_archive(path)
    files, columns = [path], {}
    if options.get("metadata") is not None:
        files.append(metadata_file(options["metadata"], path.parent))
        columns = read_columns(files[1], options)
    classes = find_class_list(path, options.get("classes"))
    fields = [name for name, array in arrays.items() if array.ndim and not name.endswith(LENGTH)]
    default = "x" if "x" in fields or len(fields) != 1 else fields[0]
    if "c" in fields and options.get("condition") is None and options.get("target") in (None, "x"):
        options = {**options, "condition": "c"}
    names = names_of(options, path.stem, [*fields, *(name for name in columns if name not in arrays)], default)
    num = len(arrays[names[0]] if names[0] in arrays else columns[names[0]])
    splits = columns.get(SPLIT, arrays.get(SPLIT))
    if isinstance(splits, np.ndarray) and (splits.dtype.kind not in TEXTS or splits.shape != (num,)):
        splits = None
    if splits is None:
        places = held_out(f"data.path {path}", [str(row) for row in range(num)], options)
    else:
        places = splits_by_name([str(name) for name in splits])
    sources = fields_of_arrays(path.stem, f"data.path {path}", arrays, columns, names, places, options, classes)
    return source_of_pairs(Pairs(*sources, names, files, places), options, classes)


def fields_of_arrays(
    name: str,
    origin: str,
    arrays: Mapping[str, np.ndarray],
    columns: Mapping[str, Sequence[Any]],
    names: tuple[str, str | None],
    places: Places,
    options: Mapping[str, Any],
    classes: ClassList | None,
) -> tuple[Source, Source | None]:
    """Returns the target and the condition, from arrays or from columns of metadata.

    Labels `y` of an array stay with the target `x`.

    Args:
      name: name of the data.
      origin: name of the arrays, for errors.
      arrays: arrays [N, ...] by name.
      columns: columns of metadata [N] by name.
      names: names of the target and of the condition.
      places: numbers of the rows of each split.
      options: the `data` section of a config.
      classes: the classes of maps, if the data have a list of them.

    Raises:
      UserError: for arrays of different numbers of rows, or arrays that are not rows.
    """
    num = sum(len(rows) for rows in places.values())
    texts = [texts_in(arrays[key] if key in arrays else columns[key]) for key in names if key is not None]
    train = places.get(options["split"], ())
    corpus = [rows[row] for rows in texts for row in train] if all(len(rows) == num for rows in texts) else ()

    def field(key: str, settings: Mapping[str, Any]) -> Source:
        values = arrays[key] if key in arrays else columns[key]
        if len(values) != num:
            raise UserError(
                f"{key!r} of {origin} has {len(values)} rows; expected {num}, as {names[0]!r} or the metadata"
            )
        if key not in arrays:
            return column_field(name, f"{origin}, column {key!r}", columns[key], places, settings, corpus)
        parts = {"x": arrays[key]}
        if f"{key}{LENGTH}" in arrays:
            parts["length"] = arrays[f"{key}{LENGTH}"]
        if key == "x" and "y" in arrays:
            parts["y"] = arrays["y"]
        return array_field(name, f"{origin}, {key!r}", parts, places, settings, classes, corpus)

    target, condition = names
    sources = field(target, options), None if condition is None else field(condition, condition_options(options))
    if options.get("resize") is not None:
        refuse_aspects(origin, [array for key, array in arrays.items() if key in names])
    return sources


def refuse_aspects(origin: str, arrays: Sequence[np.ndarray]) -> None:
    """Refuses images of different aspects, which resizing would cut to different parts.

    Args:
      origin: name of the arrays, for the error.
      arrays: the arrays of the target and of the condition, of which those of images have sides.

    Raises:
      UserError: for such images.
    """
    sides = [(array.shape[1], array.shape[2]) for array in arrays if array.ndim in (3, 4)]
    if len(sides) == 2 and not share_aspect(*sides):
        found = " and ".join(f"{width}x{height}" for height, width in sides)
        raise UserError(
            f"images of {origin} have {found} pixels; expected sides of one ratio, because both are resized alike"
        )
