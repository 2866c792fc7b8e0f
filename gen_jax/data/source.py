"""The record of a source of rows, and functions that several sources share: messages, resizing and kinds."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gen_jax.errors import UserError


class Source(NamedTuple):
    """Describes rows of raw values.

    `rows(split, indices)` returns `x` [n, *shape], and `y` [n] int32 if there are labels. If there is a condition, it
    also returns `c`, and `c_length` [n] if the lengths of `c` differ.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype
    sizes: dict[str, int]
    rows: Callable[[str, np.ndarray], dict[str, np.ndarray]]
    content: str  # hash of everything that the rows depend on
    classes: tuple[str, ...] = ()  # names of the labels `y`; none if the rows have no labels
    limits: tuple[float, float] | None = None  # the domain, if it is known without reading the rows
    info: Mapping[str, Any] = {}
    lengths: Callable[[str], np.ndarray] | None = None  # split -> frames of each row; None if all rows are full
    condition: "Source | None" = None  # the rows of `c` alone, as `x`, in the order of these rows; None without one

    @property
    def tabular(self) -> bool:
        """Returns whether rows are cells of named columns that hold numbers and levels."""
        return "columns" in self.info


@lru_cache(maxsize=256)
def say_once(text: str) -> None:
    """Prints a line once in a process, because a source is opened several times.

    Args:
      text: the line.
    """
    print(text)


def fit(image: Image.Image, side: int | None) -> Image.Image:
    """Returns the largest centred square of an image, resized to `side` pixels.

    Args:
      image: the image.
      side: side in pixels; None returns the image unchanged.
    """
    if side is None:
        return image
    width, height = image.size
    edge = min(width, height)
    left, upper = (width - edge) // 2, (height - edge) // 2
    box = (left, upper, left + edge, upper + edge)
    return image.resize((side, side), Image.Resampling.LANCZOS, box=box)


def resized(x: np.ndarray, side: int | None) -> np.ndarray:
    """Returns one image of uint8 as `fit` resizes it.

    Args:
      x: image [H, W, C] of uint8.
      side: side in pixels; None returns the image unchanged.
    """
    if side is None or x.shape[:2] == (side, side):
        return x
    planes = [np.asarray(fit(Image.fromarray(plane), side)) for plane in np.moveaxis(x, -1, 0)]
    return np.stack(planes, axis=-1)


def image_or_vector(name: str, shape: tuple, resize: int | None) -> tuple[str, tuple[int, ...]]:
    """Returns the kind and the shape of rows after resizing.

    Args:
      name: name of the data, for the errors.
      shape: shape of a row. The sides of an image are None if they vary.
      resize: side of the images in pixels, or None.

    Raises:
      UserError: for a shape of another rank, images without 1 to 4 channels, or varying sides without `resize`.
    """
    if len(shape) == 1:
        if resize is not None:
            raise UserError(f"data.resize is {resize} and {name} holds vectors of {shape[0]} numbers; expected images")
        return "vector", tuple(shape)
    if len(shape) != 3 or not 1 <= (shape[2] or 0) <= 4:
        raise UserError(
            f"shape of the rows of {name} is {tuple(shape)}; expected images [H, W, C] with 1 to 4 channels, or "
            "vectors [D]"
        )
    if resize is not None:
        return "image", (resize, resize, shape[2])
    if None in shape:
        raise UserError(
            f"images of {name} differ in size; expected one size. Choose one, for example --config.data.resize=64"
        )
    return "image", tuple(shape)
