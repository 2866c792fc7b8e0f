"""An array file of the user, .npy or .npz, as a source of rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash, files_hash
from gen_jax.data.kinds import KINDS
from gen_jax.data.npz_files import read_archive, read_array
from gen_jax.data.source import Size, Source, image_or_vector, resized, size_of
from gen_jax.errors import UserError, choose, readable

LIMITS = {"uint8": (0, 255), "bool": (0, 1)}  # domain of images by the type of their pixels
LARGEST_SYMBOL = 2**16 - 1


def array_file(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens an array file as the training split: `x`, and labels `y` if an .npz file has them.

    Args:
      path: the file.
      options: the `data` section of a config. `resize`, `width`, `kind` and `content` (hash of the content, if it is known) are
        read.

    Raises:
      UserError: for a file that cannot be read, or arrays that are not rows.
    """
    arrays = _arrays(path)
    source = source_of_arrays(path.stem, f"data.path {path}", arrays, options, options.get("content") or "")
    if source.content:
        return source
    content = files_hash([path])
    if "vocabulary" in source.info:
        content = content_hash(content, source.kind)
    # Because an earlier version wrote rows with other labels to the cache, the classes are a part of the hash.
    return source._replace(content=content_hash(content, source.classes) if "labels" in source.info else content)


def source_of_arrays(
    name: str, origin: str, arrays: Mapping[str, np.ndarray], options: Mapping[str, Any], content: str
) -> Source:
    """Returns arrays as the training split of a source.

    Args:
      name: name of the data.
      origin: name of the arrays, for messages.
      arrays: `x` [N, ...], labels `y` [N] if there are labels, and `length` [N] of sequences if their lengths differ.
      options: the `data` section of a config, of which `resize`, `width` and `kind` are read.
      content: hash of the content.

    Raises:
      UserError: for arrays that are not rows.
    """
    resize, declared = size_of(options), options.get("kind")
    x = _values(origin, arrays["x"], declared)
    y = checked_labels(origin, arrays["y"], len(x)) if "y" in arrays else None
    if resize is not None and x.dtype != np.uint8:
        raise UserError(f"data.resize is {resize[0]} and {origin} holds {x.dtype}; expected uint8 images")
    if declared is None or KINDS[declared].pixels:
        kind, shape = image_or_vector(origin, x.shape[1:], resize)
    else:
        kind, shape = declared, x.shape[1:]
        if KINDS[kind].film:
            shape = video_shape(origin, shape, arrays.get("length"), len(x), resize)
    limits = LIMITS.get(str(arrays["x"].dtype)) if x.ndim >= 4 else None
    info: dict[str, Any] = {}
    if KINDS[kind].symbols:
        x, vocabulary = _symbols(origin, x)
        info["vocabulary"], limits = vocabulary, (0, len(vocabulary) - 1)
    lengths = arrays.get("length")
    if lengths is not None:
        info["ragged"] = True
    classes: tuple[str, ...] = ()
    codes = None
    if y is not None:
        classes, codes = classes_of(y)
        if classes != tuple(map(str, range(len(classes)))):  # labels are not 0 to K - 1
            info["labels"] = y.dtype.kind

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = {"x": np.stack([resized_row(row, resize) for row in x[indices]]) if resize else x[indices]}
        if lengths is not None:
            batch["length"] = lengths[indices].astype(np.int32)
        return batch if codes is None else {**batch, "y": codes[indices]}

    return Source(
        name=name,
        kind=kind,
        shape=shape,
        dtype=x.dtype,
        sizes={"train": len(x)},
        rows=rows,
        content=content,
        classes=classes,
        limits=limits,
        info=info,
        lengths=None if lengths is None else lambda split: lengths,
    )


def video_shape(
    origin: str, shape: tuple[int, ...], lengths: np.ndarray | None, num: int, resize: Size | None
) -> tuple[int, ...]:
    """Returns the shape of videos after resizing, [F, H, W, C].

    Args:
      origin: name of the arrays, for the error.
      shape: shape of a video.
      lengths: number of frames of each video [N]; None if all videos are full.
      num: number of videos N.
      resize: height and width of a frame in pixels, or None.

    Raises:
      UserError: for frames that are no images, or lengths of another shape or type, or out of 1 to F.
    """
    if lengths is not None:
        whole = lengths.shape == (num,) and lengths.dtype.kind in "iu"
        if not whole or not ((lengths >= 1) & (lengths <= shape[0])).all():
            raise UserError(f"length of {origin} does not fit; expected {num} whole numbers from 1 to {shape[0]}")
    return (shape[0], *image_or_vector(origin, shape[1:], resize)[1])


def resized_row(x: np.ndarray, size: Size | None) -> np.ndarray:
    """Returns an image, or all frames of a video, in another size.

    Args:
      x: image [H, W, C] or frames [F, H, W, C] of uint8.
      size: height and width in pixels.
    """
    return np.stack([resized(frame, size) for frame in x]) if x.ndim == 4 else resized(x, size)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns the array `x` of a file, and `y` if there is a `y`.

    Raises:
      UserError: for a file that cannot be read, or several arrays without an `x`.
    """
    with readable(f"data.path {path}", "an array file"):
        arrays = {"x": read_array(path)} if path.suffix.lower() == ".npy" else read_archive(path)
    if "x" in arrays:
        return arrays
    if len(arrays) != 1:
        raise UserError(f"data.path {path} holds {', '.join(arrays) or 'no array'}; expected an array named 'x'")
    return {"x": next(iter(arrays.values()))}


def _values(origin: str, x: np.ndarray, declared: str | None) -> np.ndarray:
    """Returns rows [N, ...] in a type that JAX takes, and images with their channels, [N, H, W, C].

    Raises:
      UserError: for values that are not real numbers, or a shape that does not fit rows.
    """
    if x.dtype == bool:
        x = x.astype(np.uint8)
    if x.dtype.kind in "iuf":  # because JAX takes only the byte order of the machine, and at most 64 bits
        x = x.astype(np.float64 if x.dtype.itemsize > 8 else x.dtype.newbyteorder("="), copy=False)
    if not np.issubdtype(x.dtype, np.number) or np.iscomplexobj(x):
        raise UserError(f"{origin} holds values of type {x.dtype}; expected integers or real numbers")
    if declared is None and x.ndim not in (2, 3, 4):
        raise UserError(
            f"{origin} has the shape {x.shape}; expected vectors [N, D] or images [N, H, W] or [N, H, W, C]"
        )
    if x.size == 0:
        raise UserError(f"{origin} is empty, shape {x.shape}; expected at least one row")
    if declared is None:
        return x[..., None] if x.ndim == 3 else x
    kind = KINDS[choose("data.kind", declared, [name for name, kind in KINDS.items() if "kind" in kind.options])]
    if kind.pixels and x.ndim == kind.rank:
        x = x[..., None]
    if x.ndim != 1 + kind.rank:
        raise UserError(f"{origin} has the shape {x.shape}; expected {declared} [N, {', '.join(kind.axes)}]")
    return x


def _symbols(origin: str, x: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Returns symbols in their smallest type, and the vocabulary 0, 1, ... up to the largest symbol.

    Raises:
      UserError: for numbers that are not whole, negative, or too large for a vocabulary.
    """
    if x.dtype.kind not in "iu":
        raise UserError(f"{origin} holds tokens of type {x.dtype}; expected whole numbers from 0")
    low, high = int(x.min()), int(x.max())
    if low < 0 or high > LARGEST_SYMBOL:
        raise UserError(
            f"{origin} holds tokens from {low} to {high}; expected whole numbers from 0 to {LARGEST_SYMBOL}"
        )
    return x.astype(np.min_scalar_type(high)), list(range(high + 1))


def checked_labels(origin: str, y: np.ndarray, num: int) -> np.ndarray:
    """Returns labels [num], whole numbers or texts.

    Args:
      origin: name of the arrays, for the error.
      y: the labels.
      num: number of rows.

    Raises:
      UserError: for labels of another shape or type.
    """
    if y.dtype.kind == "f" and (y == np.rint(y)).all():
        y = y.astype(np.int64)
    if y.shape != (num,) or y.dtype.kind not in "biuUS":
        raise UserError(f"labels 'y' of {origin} are {y.dtype}{list(y.shape)}; expected {num} whole numbers or texts")
    return y


def classes_of(y: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names of the classes, sorted by their labels, and the class of each row, [N] int32.

    Args:
      y: labels [N], whole numbers, bool or texts.
    """
    values, codes = np.unique(y.astype(np.uint8) if y.dtype == bool else y, return_inverse=True)
    names = tuple(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values)
    return names, codes.reshape(-1).astype(np.int32)
