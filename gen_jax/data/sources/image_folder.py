"""A folder of images as a source of rows."""

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from gen_jax.data.cache import content_hash, files_hash
from gen_jax.data.source import Size, Source, fit, image_or_vector, say_once
from gen_jax.data.sources.splits import SPLITS
from gen_jax.errors import UserError, choose, readable

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
# Formats of the content, for any suffix. Pillow's readers of other formats may run a program, so they are not listed.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "WEBP", "TIFF")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # channels -> mode of Pillow
HALVES = ("left", "right")  # names of the halves of an image that holds a pair side by side
ROTATION = 0x0112  # EXIF tag of the orientation of an image; from `SIDEWAYS` on, its sides are exchanged
SIDEWAYS = 5
WAY = "as a viewer shows them"  # part of the hash, because earlier versions ignored the orientation of images


def image_folder(path: Path, resize: Size | None, content: str | None) -> Source:
    """Opens a folder of images and its sub-folders.

    A sub-folder for each class gives the labels, in the order of the names, as `ImageFolder` of torchvision does.
    Sub-folders `train` and `test`, and perhaps `validation`, give the splits. Without them all images are in the
    training split.

    Args:
      path: the folder.
      resize: height and width of the images in pixels; None keeps their size.
      content: hash of the content, if it is known; None reads the files.

    Raises:
      UserError: for a folder without images, a first image that cannot be read, or splits with different classes.
    """
    files = images_in(path)
    roots = split_roots(path, files)
    images = {split: [file for file in files if file.is_relative_to(root)] for split, root in roots.items()}
    folders = {split: [top_folder(file, root) for file in images[split]] for split, root in roots.items()}
    classes = classes_of(path, folders, "images")
    first = images["train"][0]
    with readable(f"{first}", "an image"), opened_image(first) as image:
        channels = channels_of(image)
        width, height = ImageOps.exif_transpose(image).size
    shape = image_or_vector(str(path), (height, width, channels), resize)[1]
    codes = {name: code for code, name in enumerate(classes)}

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = {"x": np.stack([read_image(images[split][index], first, shape, resize) for index in indices])}
        if not classes:
            return batch
        return {**batch, "y": np.array([codes[folders[split][index]] for index in indices], np.int32)}

    # Because files are hashed by their names alone, folders that have a meaning are a part of the hash.
    meaning = [[str(file.relative_to(path)) for file in files]] if classes or len(roots) > 1 else []
    return Source(
        name=path.name,
        kind="image",
        shape=shape,
        dtype=np.dtype(np.uint8),
        sizes={split: len(images[split]) for split in roots},
        rows=rows,
        content=content or content_hash(files_hash(files), WAY, *meaning),
        classes=classes,
        limits=(0, 255),
        info={"labels": "U"} if classes else {},
    )


def split_roots(path: Path, files: list[Path]) -> dict[str, Path]:
    """Returns the folder of each split: sub-folders with the names of splits, or the whole folder as `train`.

    Args:
      path: the folder.
      files: its files.
    """
    tops = {top_folder(file, path) for file in files}
    roots = {split: path / name for name, split in SPLITS.items() if name in tops}
    return roots if "train" in roots and len(roots) == len(tops) else {"train": path}


def classes_of(path: Path, folders: dict[str, list[str]], plural: str) -> tuple[str, ...]:
    """Returns the names of the classes in their order; empty if the rows have no labels.

    Args:
      path: the folder.
      folders: the sub-folder of each row by split; empty for a file outside sub-folders.
      plural: name of the rows, for the message.

    Raises:
      UserError: for a split whose classes are not among the classes of the training split.
    """
    classes = tuple(sorted(set(folders["train"])))
    outside = folders["train"].count("")
    if outside and len(classes) > 1:
        say_once(f"data.path {path}: {plural} have no labels, because {outside} of them lie outside sub-folders")
    if outside or len(classes) == 1:
        return ()
    for split, names in folders.items():
        for name in sorted(set(names)):
            choose(f"class sub-folder in the {split} split of {path}:", name, classes)
    return classes


def top_folder(file: Path, root: Path) -> str:
    """Returns the name of the first folder between a root and a file; empty for a file in the root itself.

    Args:
      file: the file.
      root: the folder.
    """
    parts = file.relative_to(root).parts
    return parts[0] if len(parts) > 1 else ""


def _hidden(file: Path, path: Path) -> bool:
    """Returns whether a file or one of its folders below a path is hidden."""
    return any(part.startswith(".") for part in file.relative_to(path).parts)


def images_in(path: Path, setting: str = "data.path") -> list[Path]:
    """Returns the image files of a folder and its sub-folders, and reports the other files.

    Args:
      path: the folder.
      setting: the setting that names the folder, for messages; by default `data.path`.

    Raises:
      UserError: for a folder without images.
    """
    files, others = visible_files(path)
    if not files:
        raise UserError(f"{setting} {path} holds no images; expected files of {', '.join(SUFFIXES)}")
    report_others(setting, path, others, len(files))
    return files


def visible_files(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> tuple[list[Path], list[Path]]:
    """Returns the files of a folder and its sub-folders with some suffixes, and the other files; both sorted.

    Hidden files are left out.

    Args:
      path: the folder.
      suffixes: the suffixes; by default those of images.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file, path))
    wanted = [file for file in files if file.suffix.lower() in suffixes]
    return wanted, [file for file in files if file.suffix.lower() not in suffixes]


def holds_sounds_alone(path: Path) -> bool:
    """Returns whether a folder and its sub-folders hold .wav files and no images. The first image ends the search.

    Args:
      path: the folder.
    """
    sounds = False
    for file in path.rglob("*"):
        if file.suffix.lower() in (*SUFFIXES, ".wav") and file.is_file() and not _hidden(file, path):
            if file.suffix.lower() != ".wav":
                return False
            sounds = True
    return sounds


def report_others(setting: str, path: Path, files: list[Path], num_images: int) -> None:
    """Prints once how many files of a folder are not read as images.

    Args:
      setting: the setting that names the folder.
      path: the folder.
      files: the files that are not read.
      num_images: number of images.
    """
    if files:
        suffixes = Counter(file.suffix.lower() or "no suffix" for file in files)
        listed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items()))
        say_once(f"{setting} {path}: {num_images} images are read and {len(files)} files left out ({listed})")


def channels_of(image: Image.Image) -> int:
    """Returns the number of channels that an image viewer shows: 1 for grey, 3 for colours, 4 with transparency.

    Args:
      image: the image.
    """
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        return 4
    return 1 if image.mode in ("1", "L") else 3


def sides_of(file: Path) -> tuple[int, int]:
    """Returns the height and the width of a picture as a viewer shows it, without its pixels.

    Args:
      file: the file.

    Raises:
      UserError: for a file that is not an image.
    """
    with readable(f"{file}", "an image"), opened_image(file) as image:
        width, height = image.size
        turned = image.getexif().get(ROTATION, 1) >= SIDEWAYS
    return (width, height) if turned else (height, width)


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
        raise UserError(f"{file} is {width} pixels wide; expected an even width, because it holds two halves")
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
        raise UserError(
            f"pixels of {file} have more than 8 bits ({image.mode}); expected 8 bits. Save the images as a .npy array"
        )
    return image


def read_image(
    file: Path, first: Path | None, shape: tuple[int, ...], resize: Size | None, half: str | None = None
) -> np.ndarray:
    """Reads an image [H, W, C] as an image viewer shows it: rotated by EXIF, with the channels of the first image.

    Args:
      file: the file.
      first: file of the first image, for the errors; None for an image that is a condition of a run.
      shape: shape of the image after resizing.
      resize: height and width in pixels; None keeps the size.
      half: `left` or `right` for one half of the image; by default None, the whole image.

    Raises:
      UserError: for an image that would lose its colours or its transparency, or has another size.
    """
    with readable(f"{file}", "an image"), opened_image(file) as image:
        channels = channels_of(image)
        if channels > shape[2]:
            has, lacks = ("transparency", "none") if channels == 4 else ("colours", "grey pixels")
            if first is None:
                raise UserError(f"{file} has {has}; expected {lacks}, as in the conditions of this run")
            raise UserError(
                f"{file} has {has} and the first image, {first.name}, has {lacks}; expected one mode for all images"
            )
        upright = half_of(ImageOps.exif_transpose(image), half, file)
        x = np.asarray(fit(upright.convert(MODES[shape[2]]), resize))
    x = x if x.ndim == 3 else x[..., None]
    if x.shape != shape:
        sides, expected = (f"{width}x{height}" for height, width in (x.shape[:2], shape[:2]))
        if first is None:
            raise UserError(f"{file} has {sides} pixels; expected {expected}, as the conditions of this run")
        raise UserError(
            f"{file} has {sides} pixels; expected {expected}, as in the first image. "
            f"Choose one size, for example --config.data.resize={min(64, shape[0])}"
        )
    return x
