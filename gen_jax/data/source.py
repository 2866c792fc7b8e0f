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


Size = tuple[int, int]  # height and width in pixels
LARGEST_SIDE = 16_384  # pixels of a side, at most


def size_of(options: Mapping[str, Any]) -> Size | None:
    """Returns the height and the width of images after resizing; None keeps their size.

    Args:
      options: the `data` section of a config, of which `resize` (side of a square, or the height if `width` is set),
        `width` and `condition_scale` are read.

    Raises:
      UserError: for a side below 1 or above `LARGEST_SIDE`, of the rows or of their conditions, or a width without a height.
    """
    height, width = options.get("resize"), options.get("width")
    if height is None and width is not None:
        raise UserError(f"data.width is {width} without data.resize; expected the height in pixels as data.resize")
    if height is None:
        return None
    scale = 1 if options.get("condition_scale") is None else options["condition_scale"]
    for setting, side in (("resize", height), ("width", width)):
        if side is not None and not (isinstance(side, (int, np.integer)) and 1 <= side <= LARGEST_SIDE):
            raise UserError(f"data.{setting} is {side}; expected a side of 1 to {LARGEST_SIDE} pixels")
        if side is not None and not (isinstance(scale, (int, np.integer)) and 1 <= scale <= LARGEST_SIDE // side):
            raise UserError(
                f"data.condition_scale is {scale} and data.{setting} is {side}; expected a ratio from 1 to {LARGEST_SIDE // side}"
            )
    return height, height if width is None else width


def share_aspect(sides: Size, others: Size) -> bool:
    """Returns whether two images show the same part after `fit`: whether the ratios of their sides are equal.

    Args:
      sides: height and width of an image.
      others: height and width of the other image.
    """
    return sides[0] * others[1] == sides[1] * others[0]


def crop_box(height: int, width: int, size: Size) -> tuple[int, int, int, int]:
    """Returns the largest centred rectangle of an image that has the aspect of `size`: left, upper, right, lower.

    Args:
      height: height of the image in pixels.
      width: width of the image in pixels.
      size: height and width after resizing.
    """
    crop_height = max(1, min(height, round(width * size[0] / size[1])))
    crop_width = max(1, min(width, round(height * size[1] / size[0])))
    left, upper = (width - crop_width) // 2, (height - crop_height) // 2
    return left, upper, left + crop_width, upper + crop_height


def fit(image: Image.Image, size: Size | None) -> Image.Image:
    """Returns the largest centred rectangle of an image that has the aspect of `size`, resized to `size`.

    Args:
      image: the image.
      size: height and width in pixels; None returns the image unchanged.
    """
    if size is None:
        return image
    width, height = image.size
    return image.resize(size[::-1], Image.Resampling.LANCZOS, box=crop_box(height, width, size))


def resized(x: np.ndarray, size: Size | None) -> np.ndarray:
    """Returns one image of uint8 as `fit` resizes it.

    Args:
      x: image [H, W, C] of uint8.
      size: height and width in pixels; None returns the image unchanged.
    """
    if size is None or x.shape[:2] == size:
        return x
    planes = [np.asarray(fit(Image.fromarray(plane), size)) for plane in np.moveaxis(x, -1, 0)]
    return np.stack(planes, axis=-1)


def sampled(x: np.ndarray, size: Size | None) -> np.ndarray:
    """Returns an image of numbers that have no mean, such as classes, with the rectangle of `fit` and its size.

    A pixel is the pixel in the middle of its cell.

    Args:
      x: image [H, W, ...].
      size: height and width in pixels; None returns the image unchanged.
    """
    if size is None or x.shape[:2] == size:
        return x
    left, upper, right, lower = crop_box(x.shape[0], x.shape[1], size)
    rows = upper + (2 * np.arange(size[0]) + 1) * (lower - upper) // (2 * size[0])
    columns = left + (2 * np.arange(size[1]) + 1) * (right - left) // (2 * size[1])
    return x[rows[:, None], columns[None, :]]


def image_or_vector(name: str, shape: tuple, size: Size | None) -> tuple[str, tuple[int, ...]]:
    """Returns the kind and the shape of rows after resizing.

    Args:
      name: name of the data, for the errors.
      shape: shape of a row. The sides of an image are None if they vary.
      size: height and width of the images in pixels, or None.

    Raises:
      UserError: for a shape of another rank, images without 1 to 4 channels, or varying sides without `size`.
    """
    if len(shape) == 1:
        if size is not None:
            raise UserError(f"data.resize is {size[0]} and {name} holds vectors of {shape[0]} numbers; expected images")
        return "vector", tuple(shape)
    if len(shape) != 3 or not 1 <= (shape[2] or 0) <= 4:
        raise UserError(
            f"shape of the rows of {name} is {tuple(shape)}; expected images [H, W, C] with 1 to 4 channels, or "
            "vectors [D]"
        )
    if size is not None:
        return "image", (*size, shape[2])
    if None in shape:
        raise UserError(
            f"images of {name} differ in size; expected one size. Choose one, for example --config.data.resize=64"
        )
    return "image", tuple(shape)
