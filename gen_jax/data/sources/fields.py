"""Fields of paired rows, from arrays and texts: each field is a source of its own, and two fields make one source."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gen_jax.data.kinds.text import text_source
from gen_jax.data.source import Source, sampled, size_of
from gen_jax.data.sources.array_file import source_of_arrays
from gen_jax.data.sources.class_list import ClassList, checked_classes, class_map_source, is_class_map
from gen_jax.data.sources.splits import Places, regrouped
from gen_jax.data.tables.text_columns import is_number
from gen_jax.errors import UserError

TEXTS = "US"  # NumPy kinds of texts


def paired(source: Source, condition: Source, content: str) -> Source:
    """Returns rows with a condition.

    Args:
      source: rows of `x`.
      condition: rows of `c` as `x`, in the same order.
      content: hash of both.
    """

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        conditions = condition.rows(split, indices)
        lengths = {"c_length": conditions["length"]} if "length" in conditions else {}
        return {**source.rows(split, indices), "c": conditions["x"], **lengths}

    return source._replace(rows=rows, content=content, condition=condition)


def text_field(
    name: str,
    origin: str,
    texts: Sequence[str],
    places: Places,
    options: Mapping[str, Any],
    corpus: Sequence[str] = (),
) -> Source:
    """Returns texts as rows of tokens, which are words unless `data.vocabulary` is set.

    Args:
      name: name of the data.
      origin: place of the texts, for errors.
      texts: text of each row [N].
      places: numbers of the rows of each split.
      options: the `data` section of a config.
      corpus: texts from which subwords are learnt; by default the texts of the training split.

    Raises:
      UserError: for a row without text, and in the cases of `text_source`.
    """
    for row, text in enumerate(texts):
        if not text.strip():
            raise UserError(f"row {row + 1} of {origin} has no text; expected at least one word in each row")
    settings = {**options, "vocabulary": options.get("vocabulary") or "words"}

    def documents(split: str) -> list[bytes]:
        return [texts[row].encode("utf-8", "replace") for row in places[split]]

    return text_source(name, documents, [*places], settings, "", corpus)


def array_field(
    name: str,
    origin: str,
    arrays: Mapping[str, np.ndarray],
    places: Places,
    options: Mapping[str, Any],
    classes: ClassList | None,
    corpus: Sequence[str] = (),
) -> Source:
    """Returns the rows of an array: images, vectors, class maps, tokens or texts.

    Args:
      name: name of the data.
      origin: name of the array, for errors.
      arrays: `x` [N, ...], labels `y` [N] if there are labels, and `length` [N] if `x` holds tokens [N, T].
      places: numbers of the rows of each split.
      options: the `data` section of a config.
      classes: the classes of maps, if the data have a list of them.
      corpus: texts from which subwords are learnt, see `text_field`.

    Raises:
      UserError: for an array that does not hold rows.
    """
    x = arrays["x"]
    if x.dtype.kind in TEXTS and x.ndim == 1:
        return text_field(name, origin, texts_in(x), places, options, corpus)
    if "length" in arrays:
        return regrouped(_tokens(name, origin, x, arrays["length"]), places)
    if classes is not None and x.dtype.kind in "iu" and x.ndim == 3 and len(x) and 0 <= x.min() and x.max() <= 255:
        maps = x.astype(np.uint8)
        if is_class_map(classes, maps[0]):
            return regrouped(_class_maps(name, origin, maps, options, classes), places)
    settings = options if x.ndim > 2 else {**options, "resize": None, "width": None}  # because vectors have no size
    return regrouped(source_of_arrays(name, origin, arrays, settings, ""), places)


def texts_in(values: Any) -> list[str]:
    """Returns the texts of an array or of a column; none if it holds anything else.

    Args:
      values: array [N, ...], or the value of each row [N].
    """
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in TEXTS or values.ndim != 1:
            return []
        return (np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values).tolist()
    texts = all(isinstance(value, str) for value in values) and not all(is_number(value.strip()) for value in values)
    return [*values] if texts else []


def condition_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a condition: those of its data with its own sides, and its texts do not end with a symbol.

    Args:
      options: the `data` section of a config.
    """
    scale = options.get("condition_scale") or 1
    sides = {name: options[name] * scale for name in ("resize", "width") if options.get(name) is not None}
    return {**options, **sides, "condition_scale": None, "kind": None, "end": None}


def column_field(
    name: str,
    origin: str,
    values: Sequence[Any],
    places: Places,
    options: Mapping[str, Any],
    corpus: Sequence[str] = (),
) -> Source:
    """Returns a column of metadata as rows: texts, or numbers [D].

    Args:
      name: name of the data.
      origin: name of the column, for errors.
      values: value of each row [N]: a text, a number, or a list of D numbers.
      places: numbers of the rows of each split.
      options: the `data` section of a config.
      corpus: texts from which subwords are learnt, see `text_field`.

    Raises:
      UserError: for values that are neither texts nor numbers.
    """
    if texts_in(values):
        return text_field(name, origin, texts_in(values), places, options, corpus)
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.ndim not in (1, 2) or not numbers.size:
        raise UserError(f"{origin} holds {str(values[0])[:60]!r}; expected texts, numbers, or lists of as many numbers")
    rows = {"x": numbers.reshape(len(values), -1)}
    return regrouped(source_of_arrays(name, origin, rows, {**options, "resize": None, "width": None}, ""), places)


def _class_maps(name: str, origin: str, maps: np.ndarray, options: Mapping[str, Any], classes: ClassList) -> Source:
    size = size_of(options)

    def class_map(row: int) -> np.ndarray:
        return checked_classes(classes, sampled(maps[row], size), f"{origin}, row {row + 1}")

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": np.stack([class_map(row) for row in indices])}

    return class_map_source(name, size or maps.shape[1:], {"train": len(maps)}, rows, classes)


def _tokens(name: str, origin: str, x: np.ndarray, length: np.ndarray) -> Source:
    """Returns rows of numbered tokens, whose symbols are their numbers.

    Raises:
      UserError: for tokens or lengths of another type or shape.
    """
    if x.dtype.kind not in "iu" or x.ndim != 2 or not x.size or x.min() < 0:
        raise UserError(f"{origin} has lengths and is {x.dtype}{list(x.shape)}; expected tokens [N, T] from 0 up")
    if length.shape != (len(x),) or length.dtype.kind not in "iu" or length.min() < 1 or length.max() > x.shape[1]:
        raise UserError(f"lengths of {origin} do not fit; expected {len(x)} whole numbers from 1 to {x.shape[1]}")
    num = int(x.max()) + 1
    tokens, lengths = x.astype(np.min_scalar_type(num - 1)), length.astype(np.int32)
    return Source(
        name=name,
        kind="text",
        shape=x.shape[1:],
        dtype=tokens.dtype,
        sizes={"train": len(x)},
        rows=lambda split, indices: {"x": tokens[indices], "length": lengths[indices]},
        content="",
        limits=(0, num - 1),
        info={"vocabulary": [str(token) for token in range(num)], "words": True, "ragged": True},
        lengths=lambda split: lengths,
    )
