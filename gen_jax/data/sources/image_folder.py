"""A folder of images as a source of rows."""

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from gen_jax.data.cache import content_hash, files_hash
from gen_jax.data.source import Size, Source, fit, image_or_vector, say_once
from gen_jax.errors import UserError, readable

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
# Formats of the content, for any suffix. Pillow's readers of other formats may run a program, so they are not listed.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "WEBP", "TIFF")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # channels -> mode of Pillow
HALVES = ("left", "right")  # names of the halves of an image that holds a pair side by side
WAY = "as a viewer shows them"  # part of the hash, because earlier versions ignored the orientation of images


def image_folder(path: Path, resize: Size | None, content: str | None) -> Source:
    """Opens a folder of images and its subfolders as the training split.

    Args:
      path: the folder.
      resize: height and width of the images in pixels; None keeps their size.
      content: hash of the content, if it is known; None reads the files.

    Raises:
      UserError: for a folder without images, or a first image that cannot be read.
    """
    present = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    files = [file for file in present if file.suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(f"data.path {path}: no images in this folder ({', '.join(SUFFIXES)})")
    report_others(path, [file for file in present if file.suffix.lower() not in SUFFIXES], len(files))
    with readable(f"{files[0]}: not a readable image"), opened_image(files[0]) as first:
        channels = channels_of(first)
        width, height = ImageOps.exif_transpose(first).size
    shape = image_or_vector(str(path), (height, width, channels), resize)[1]

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": np.stack([read_image(files[index], files[0], shape, resize) for index in indices])}

    return Source(
        name=path.name,
        kind="image",
        shape=shape,
        dtype=np.dtype(np.uint8),
        sizes={"train": len(files)},
        rows=rows,
        content=content or content_hash(files_hash(files), WAY),
        limits=(0, 255),
    )


def report_others(path: Path, files: list[Path], num_images: int) -> None:
    """Prints once how many files of a folder are not read as images.

    Args:
      path: the folder.
      files: the files that are not read.
      num_images: number of images.
    """
    if files:
        suffixes = Counter(file.suffix.lower() or "no suffix" for file in files)
        listed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items()))
        say_once(f"data.path {path}: {num_images} images are read and {len(files)} files left out ({listed})")


def channels_of(image: Image.Image) -> int:
    """Returns the number of channels that an image viewer shows: 1 for grey, 3 for colours, 4 with transparency.

    Args:
      image: the image.
    """
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        return 4
    return 1 if image.mode in ("1", "L") else 3


def half_of(image: Image.Image, half: str | None, file: Path) -> Image.Image:
    """Returns the left or the right half of an image.

    Args:
      image: the image.
      half: `left` or `right`; None returns the image unchanged.
      file: file of the image, for the error.

    Raises:
      UserError: for an odd width.
    """
    if half is None:
        return image
    width, height = image.size
    if width % 2:
        raise UserError(f"{file}: {width} pixels wide; expected two halves side by side, so an even width")
    start = 0 if half == HALVES[0] else width // 2
    return image.crop((start, 0, start + width // 2, height))


def opened_image(file: Path) -> Image.Image:
    """Opens an image whose pixels have 8 bits a channel.

    Args:
      file: the file.

    Raises:
      UserError: for a file that is not an image, or an image with more bits, of which Pillow would drop some.
    """
    Image.init()  # registers the formats at its first call
    image = Image.open(file, formats=FORMATS)
    if image.mode.startswith(("I", "F")) or any(";16" in str(tile[3]) for tile in image.tile):
        image.close()
        raise UserError(f"{file}: pixels of more than 8 bits ({image.mode}); save them as a .npy array instead")
    return image


def read_image(
    file: Path, first: Path, shape: tuple[int, ...], resize: Size | None, half: str | None = None
) -> np.ndarray:
    """Reads an image [H, W, C] as an image viewer shows it: rotated by EXIF, with the channels of the first image.

    Args:
      file: the file.
      first: file of the first image, for the errors.
      shape: shape of the image after resizing.
      resize: height and width in pixels; None keeps the size.
      half: `left` or `right` for one half of the image; by default None, the whole image.

    Raises:
      UserError: for an image that would lose its colours or its transparency, or has another size.
    """
    with readable(f"{file}: not a readable image"), opened_image(file) as image:
        channels = channels_of(image)
        if channels > shape[2]:
            has, lacks = ("transparency", "none") if channels == 4 else ("colours", "grey pixels")
            raise UserError(
                f"{file}: has {has}, and the first image, {first.name}, has {lacks}; save all images in one mode"
            )
        upright = half_of(ImageOps.exif_transpose(image), half, file)
        x = np.asarray(fit(upright.convert(MODES[shape[2]]), resize))
    x = x if x.ndim == 3 else x[..., None]
    if x.shape != shape:
        raise UserError(
            f"{file}: {x.shape[1]}x{x.shape[0]} pixels, the first image has {shape[1]}x{shape[0]}; "
            f"choose one size, for example --config.data.resize={min(64, shape[0])}"
        )
    return x
