"""Picture files as a field of paired rows: images, or class maps if the data have a list of classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ImageOps

from gen_jax.data.source import Size, Source, image_or_vector, sampled, share_aspect
from gen_jax.data.sources.class_list import (
    NONE,
    ClassList,
    checked_classes,
    class_map_source,
    classes_of_pixels,
    is_class_map,
)
from gen_jax.data.sources.image_folder import channels_of, half_of, opened_image, read_image, sides_of
from gen_jax.data.sources.splits import Places
from gen_jax.errors import UserError, readable

NUMBERED = ("1", "L", "P")  # modes of Pillow whose pixels are numbers


def picture_field(
    name: str,
    files: Sequence[Path],
    places: Places,
    size: Size | None,
    classes: ClassList | None = None,
    half: str | None = None,
) -> Source:
    """Returns picture files as rows: class maps if the first file is a map of the list of classes, else images.

    Args:
      name: name of the data.
      files: file of each row [N].
      places: numbers of the rows of each split.
      size: height and width in pixels after resizing; None keeps the size.
      classes: the classes of maps, if the data have a list of them.
      half: `left` or `right` for one half of each picture; by default None, whole pictures.

    Raises:
      UserError: for a first file that cannot be read, or a size that cannot be modelled.
    """
    first = files[0]
    sizes = {split: len(rows) for split, rows in places.items()}
    with readable(f"{first}", "an image"), opened_image(first) as image:
        channels = channels_of(image)
        width, height = half_of(ImageOps.exif_transpose(image), half, first).size
    shape = image_or_vector(str(first), (height, width, channels), size)[1]
    if classes is not None and is_class_map(classes, class_pixels(first, classes, half)):
        return _class_map_field(name, files, places, size, classes, half, shape[:2])

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": np.stack([read_image(files[row], first, shape, size, half) for row in places[split][indices]])}

    return Source(
        name=name,
        kind="image",
        shape=shape,
        dtype=np.dtype(np.uint8),
        sizes=sizes,
        rows=rows,
        content="",
        limits=(0, 255),
    )


def _class_map_field(
    name: str,
    files: Sequence[Path],
    places: Places,
    size: Size | None,
    classes: ClassList,
    half: str | None,
    shape: tuple[int, ...],
) -> Source:
    def class_map(file: Path) -> np.ndarray:
        x = read_class_map(file, classes, size, half)
        if x.shape != shape:
            raise UserError(
                f"{file} has {x.shape[1]}x{x.shape[0]} pixels; expected {shape[1]}x{shape[0]}, as in the first map, {files[0].name}. "
                f"Choose one size, for example --config.data.resize={min(64, shape[0])}"
            )
        return x

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": np.stack([class_map(files[row]) for row in places[split][indices]])}

    sizes = {split: len(rows) for split, rows in places.items()}
    return class_map_source(name, shape, sizes, rows, classes)


def read_class_map(file: Path, classes: ClassList, size: Size | None, half: str | None = None) -> np.ndarray:
    """Reads a class map [H, W] from a picture of numbers or colours. Its pixels are not mixed by resizing.

    Args:
      file: the file.
      classes: the classes.
      size: height and width in pixels; None keeps the size.
      half: `left` or `right` for one half of the picture; by default None, the whole picture.

    Raises:
      UserError: for a file that cannot be read, or a pixel without a class.
    """
    return checked_classes(classes, sampled(class_pixels(file, classes, half), size), str(file))


def class_pixels(file: Path, classes: ClassList, half: str | None = None) -> np.ndarray:
    """Reads the pixels of a class map: numbers [H, W] of a grey picture or a palette, or else colours [H, W, 3].

    Because some programs reorder palettes, a palette whose colours are all in the list is read by its colours.

    Args:
      file: the file.
      classes: the classes.
      half: `left` or `right` for one half of the picture; by default None, the whole picture.

    Raises:
      UserError: for a file that cannot be read.
    """
    with readable(f"{file}", "an image"), opened_image(file) as image:
        upright = half_of(ImageOps.exif_transpose(image), half, file)
        numbers = np.asarray(upright).astype(np.uint8) if upright.mode in NUMBERED else None
        if numbers is not None and upright.mode != "P":
            return numbers
        colours = np.asarray(upright.convert("RGB"))
    by_colour = numbers is None or bool((classes_of_pixels(classes, colours) != NONE).all())
    return colours if by_colour or numbers is None else numbers


def refuse_sizes(first: Path, second: Path, size: Size | None) -> None:
    """Refuses a pair of pictures that do not show the same rectangle.

    Args:
      first: a picture.
      second: the other picture of the pair.
      size: height and width in pixels after resizing. If it is set, two pictures may differ in scale.

    Raises:
      UserError: for different sides, or different aspects if `size` is set.
    """
    (height, width), (other_height, other_width) = sides_of(first), sides_of(second)
    if (height, width) == (other_height, other_width):
        return
    if size is None or not share_aspect((height, width), (other_height, other_width)):
        raise UserError(
            f"{first} has {width}x{height} pixels and {second} has {other_width}x{other_height}; expected one size for "
            f"the two pictures of a pair"
        )
