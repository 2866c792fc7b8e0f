"""Sets of images on disk, .npy arrays and folders of PNG files: read in chunks, written completely or not at all."""

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from gen_jax.coding.chunks import Damaged
from gen_jax.coding.container import TYPES, Header
from gen_jax.data.npz_files import read_array
from gen_jax.errors import UserError, readable

MODES = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4}  # modes of PNG files that arrays hold without loss -> channels
DEPTH = 24  # position of the bit depth in a PNG file, because Pillow reads 16 bits as 8


class Images(NamedTuple):
    """A set of images on disk, not read yet."""

    num: int
    shape: tuple[int, ...]  # H, W, C of an image; empty if there are no images
    dims: int  # dimensions of the array: 4, or 3 without channels; 0 for a folder
    dtype: str  # type of the array, one of `TYPES`
    names: tuple[str, ...]  # names of the images in a folder, in their order
    read: Callable[[int, int], np.ndarray]  # (start, stop) -> [stop - start, H, W, C] uint8


def open_images(path: Path) -> Images:
    """Opens a set of images.

    Args:
      path: a .npy array [N, H, W, C] or [N, H, W] of uint8 or bool, or a folder of PNG files.

    Raises:
      UserError: for any other path.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; expected a file or a folder")
    return _folder(path) if path.is_dir() else _array(path)


def _array(path: Path) -> Images:
    with readable(f"{path}", "a .npy array or a folder of PNG files"):
        array = read_array(path)
    if array.dtype.name not in TYPES or array.ndim not in (3, 4):
        raise UserError(
            f"{path} holds {array.dtype}{list(array.shape)}; expected images [N, H, W, C] or [N, H, W], uint8 or bool"
        )
    images = array if array.ndim == 4 else array[..., None]

    def read(start: int, stop: int) -> np.ndarray:
        return np.ascontiguousarray(images[start:stop]).view(np.uint8)

    return Images(len(images), images.shape[1:], array.ndim, array.dtype.name, (), read)


def _folder(path: Path) -> Images:
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    other = [file for file in files if file.suffix.lower() != ".png"]
    if other:
        raise UserError(f"{other[0]} is no PNG file; expected PNG files (.png) alone, because nothing is left out")
    shape = _read(files[0]).shape if files else ()

    def read(start: int, stop: int) -> np.ndarray:
        images = [_read(file) for file in files[start:stop]]
        for file, image in zip(files[start:stop], images):
            if image.shape != shape:
                raise UserError(f"{file} is {describe(image.shape)}; expected {describe(shape)}, as {files[0].name}")
        return np.stack(images)

    return Images(len(files), shape, 0, "uint8", tuple(file.relative_to(path).as_posix() for file in files), read)


def _read(file: Path) -> np.ndarray:
    """Returns the pixels [H, W, C] of a PNG file; refuses a file with content that the pixels do not hold."""
    with readable(f"{file}", "a PNG file"):
        content = file.read_bytes()
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            mode, pixels, frames = image.mode, np.asarray(image), getattr(image, "n_frames", 1)
            more = "transparency" in image.info or frames > 1 or content[DEPTH] > 8
    if mode not in MODES or more:
        raise UserError(
            f"{file} holds several pictures, or one of mode {mode}; expected one picture of 8 bits of "
            f"{', '.join(MODES)}"
        )
    return (pixels * np.uint8(255) if mode == "1" else pixels).reshape(*pixels.shape[:2], MODES[mode])


def describe(shape: tuple[int, ...]) -> str:
    """Returns the shape of an image in words.

    Args:
      shape: H, W, C.
    """
    return f"{shape[1]}x{shape[0]} pixels of {shape[2]} channel{'s' * (shape[2] > 1)}"


def to_png(image: np.ndarray, file, **options) -> None:
    """Writes an image as a PNG file.

    Args:
      image: image [H, W, C] of uint8, or of bool as 1 bit per pixel.
      file: path or file object to write to.
      **options: options of Pillow's PNG writer.
    """
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG", **options)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to, which replaces `path` if the body succeeds. If it fails, nothing remains.

    Args:
      path: the file or folder to write.

    Raises:
      UserError: if the path cannot be written, or is a device or a pipe, which must not be replaced.
    """
    path, folder = path.resolve(), None
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"cannot write {path}; expected the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        target = folder / path.name
        yield target
        if target.is_file():
            with open(target, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(target, path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}); expected a place that can be written") from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def save(path: Path, header: Header, chunks: Iterator[np.ndarray]) -> None:
    """Writes images as the array or the folder that the header describes.

    Args:
      path: the file or folder to write.
      header: facts of the images.
      chunks: images in chunks [n, H, W, C].

    Raises:
      UserError: for a wrong type of file, or a path that cannot be written.
    """
    if header.dims and path.suffix != ".npy":
        raise UserError(
            f"name of the output is {path}; expected a name that ends in .npy, because the file holds an array"
        )
    if not header.dims and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} exists; expected a new name, because the file holds a folder")
    with whole(path) as target:
        (_save_array if header.dims else _save_folder)(target, header, chunks)


def _save_array(path: Path, header: Header, chunks: Iterator[np.ndarray]) -> None:
    facts = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(header.dtype)),
        "fortran_order": False,
        "shape": (header.num, *header.shape)[: header.dims],
    }
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, facts)
        file.writelines(chunk.tobytes() for chunk in chunks)


def refuse_names(folder: Path, names: Sequence[str]) -> None:
    """Refuses unsafe names of images in a received file.

    A name must be unique, end in .png, and lie inside the folder.

    Args:
      folder: the folder to write to.
      names: names of the images.

    Raises:
      Damaged: for the first such name.
    """
    home, places = folder.resolve(), set()
    for name in names:
        place = (home / name).resolve() if "\0" not in name else home
        if home not in place.parents or place != home / name or PurePosixPath(name).suffix.lower() != ".png":
            raise Damaged(f"the file holds the name {name!r}; expected the name of a PNG file inside the folder")
        if place in places:
            raise Damaged(f"the file holds the name {name!r} twice; expected it once")
        places.add(place)


def _save_folder(path: Path, header: Header, chunks: Iterator[np.ndarray]) -> None:
    refuse_names(path, header.names)
    path.mkdir()
    names = iter(header.names)
    for chunk in chunks:
        for image, name in zip(chunk, names):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            to_png(image, path / name)
