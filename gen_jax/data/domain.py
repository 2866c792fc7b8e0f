"""Values of the data and of model space, by facts that are plain data. Exported samplers hold this file, so it needs NumPy alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

FULL = 17  # number of decimals that stands for all digits of a float64
Facts = Mapping[str, Any]  # plain data, see `data.spec.domain`


def small(dtype: DTypeLike) -> bool:
    """Returns whether raw values of a type are sent to the device as they are: integers of at most 16 bits.

    Args:
      dtype: the type.
    """
    return np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize <= 2


def in_model_space(facts: Facts, raw: Any) -> Any:
    """Returns values of the domain of the data in model space: float32, or int32 tokens, which do not change.

    Small integers are exact in float32, so that this function runs on the device. Other types are scaled on the host in
    float64, so that a large offset costs no digits.

    Args:
      facts: facts of the values.
      raw: values [..., *shape] in the domain of the data.
    """
    if facts["tokens"]:
        return raw.astype(np.int32)
    wide = np.float32 if small(raw.dtype) else np.float64
    shift, scale = (aligned(np.asarray(facts[name], wide), raw) for name in ("shift", "scale"))
    return ((raw.astype(wide) - shift) / scale).astype(np.float32)


def in_domain(facts: Facts, x: ArrayLike) -> np.ndarray:
    """Returns values of model space in the domain of the data. Integers are rounded and clipped; floats are not.

    The numbers of a table have the decimals of their column. They stay within its range, unless its schema sets
    `bounded` to false.

    Args:
      facts: facts of the values.
      x: values [..., *shape] in model space.
    """
    x = np.asarray(x, np.float64)
    raw = x * aligned(np.asarray(facts["scale"]), x) + aligned(np.asarray(facts["shift"]), x)
    if facts["columns"] is not None:
        return np.stack([in_column(column, raw[..., at]) for at, column in enumerate(facts["columns"])], -1)
    dtype = np.dtype(facts["dtype"])
    if np.issubdtype(dtype, np.floating):
        return raw.astype(dtype)
    low, high = (aligned(np.asarray(facts[name]), x) for name in ("low", "high"))
    whole = np.clip(np.rint(raw), low, high)
    if dtype.itemsize == 8:  # because float64 rounds up the largest number of the type
        whole = np.minimum(whole, np.nextafter(float(np.iinfo(facts["dtype"]).max), 0))
    return whole.astype(dtype)


def in_column(column: Facts, x: np.ndarray) -> np.ndarray:
    """Returns the numbers of a column of a table with its decimals, and within its range.

    Args:
      column: facts of the column.
      x: numbers.
    """
    if column["kind"] != "continuous":
        x = np.rint(x)
    elif column["decimals"] < FULL:
        x = np.round(x, column["decimals"])
    return np.clip(x, column["low"], column["high"]) if column.get("bounded", True) else x


def drawn_in_domain(facts: Facts, chunks: Sequence[Mapping[str, np.ndarray]], num: int) -> dict[str, np.ndarray]:
    """Returns the first samples of chunks in the domain of the data.

    Args:
      facts: facts of the samples.
      chunks: arrays of consecutive samples, by name.
      num: number of samples.
    """
    samples = {name: np.concatenate([chunk[name] for chunk in chunks])[:num] for name in chunks[0]}
    x = in_domain(facts, samples["x"])
    if facts["end"] is not None and "length" not in samples:  # because few families end a text themselves
        ends = x == facts["end"]
        length = np.where(ends.any(1), ends.argmax(1) + 1, x.shape[1])
        samples["length"] = length.astype(np.int32)
        x = np.where(np.arange(x.shape[1])[None] < length[:, None], x, 0)
    if facts["condition"] is not None and "c" in samples:
        samples["c"] = in_domain(facts["condition"], samples["c"])
    return {**samples, "x": x}


def aligned(value: np.ndarray, x: Any) -> np.ndarray:
    """Returns a number or numbers of columns with as many axes as `x`, so that nothing is broadcast by accident.

    Args:
      value: numbers [] or [*shape].
      x: values [..., *shape].
    """
    return value.reshape((1,) * (x.ndim - value.ndim) + value.shape)


def named_labels(classes: Sequence[str], label_type: str | None, y: np.ndarray) -> np.ndarray:
    """Returns labels as in the data, such as 5, 6, 7, 9, or texts; as they are if the labels of the data are 0 to K - 1.

    Args:
      classes: names of the labels.
      label_type: NumPy kind of the labels in the data, see `Spec.label_type`.
      y: labels [N] from 0.
    """
    if not label_type:
        return y
    names = np.array(classes)
    return (names.astype(np.int64) if label_type in "biu" else names)[y]


def class_number(classes: Sequence[str], label_type: str | None, text: str) -> int | None:
    """Returns the number of the class that a text names, from 0; None if it names none.

    A class has a name. Its number names it too, unless the names are numbers themselves.

    Args:
      classes: names of the classes.
      label_type: NumPy kind of the labels in the data, see `Spec.label_type`.
      text: the text.
    """
    if text in classes:
        return classes.index(text)
    numbered = (label_type or "U") not in "biu" and text.isdecimal() and len(text) <= FULL
    return int(text) if numbered and int(text) < len(classes) else None
