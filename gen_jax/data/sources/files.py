"""A user's own files as a source of rows: arrays, a folder of images, text, piano rolls, recordings."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from gen_jax.data.arrays import read_archive, read_array
from gen_jax.data.cache import content_hash, files_hash
from gen_jax.data.kinds import KINDS
from gen_jax.data.limits import ask
from gen_jax.data.source import Source, fit, image_or_vector, resized, say_once
from gen_jax.data.tables.cells import suffix_of
from gen_jax.errors import UserError, choose, readable

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
FORMATS = (
    "PNG",
    "JPEG",
    "BMP",
    "DIB",
    "WEBP",
    "TIFF",
)  # whatever the suffix says; no other runs a program of its own
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def open_files(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens what `data.path` names; `options["content"]` is its hash where that is known already.

    Raises:
      UserError: for what does not exist, cannot be read, or holds nothing that can be modelled.
    """
    path = path.expanduser()
    if not path.exists():
        raise UserError(f"data.path {path}: no such file or folder")
    if not path.is_dir() and not path.is_file():
        raise UserError(
            f"data.path {path}: neither a file nor a folder, but a pipe or a device; expected a file or a folder"
        )
    resize, content = options.get("resize"), options.get("content")
    if path.is_dir():
        return _folder(path, resize, content)
    if path.suffix.lower() in (".npy", ".npz"):
        return _arrays(path, resize, content, options.get("kind"))
    ask(path.stat().st_size, f"data.path {path}")
    suffix = suffix_of(path).lower()
    readers = {suffix: read for kind in KINDS.values() for suffix, read in kind.read.items()}
    if suffix not in readers:
        listed = ".npy, .npz, " + ", ".join(readers)
        raise UserError(f"data.path {path}: expected a folder of images or a file of {listed}, got {suffix!r}")
    return readers[suffix](path, options, content or files_hash([path]))


def _arrays(path: Path, resize: int | None, content: str | None, said: str | None) -> Source:
    with readable(f"data.path {path}: not a readable array file"):
        arrays = {"x": read_array(path)} if path.suffix.lower() == ".npy" else read_archive(path)
    if "x" not in arrays:
        if len(arrays) != 1:
            raise UserError(f"data.path {path}: expected an array named 'x', found {', '.join(arrays) or 'none'}")
        arrays = {"x": next(iter(arrays.values()))}
    x, y = arrays["x"], arrays.get("y")
    if x.dtype == bool:
        x = x.astype(np.uint8)
    if x.dtype.kind in "iuf":  # JAX takes no other byte order, and nothing wider than 64 bits
        x = x.astype(np.float64 if x.dtype.itemsize > 8 else x.dtype.newbyteorder("="), copy=False)
    if not np.issubdtype(x.dtype, np.number) or np.iscomplexobj(x):
        raise UserError(f"data.path {path}: values of type {x.dtype}; expected integers or real numbers")
    if said is None and x.ndim not in (2, 3, 4):
        raise UserError(
            f"data.path {path}: shape {x.shape}; expected vectors [N, D] or images [N, H, W] or [N, H, W, C]"
        )
    if x.size == 0:
        raise UserError(f"data.path {path}: it is empty, shape {x.shape}")
    if said is not None:
        choose("data.kind", said, [name for name, kind in KINDS.items() if "kind" in kind.options])
        if x.ndim != 1 + KINDS[said].rank:
            raise UserError(f"data.path {path}: shape {x.shape}; expected {said} [N, {', '.join(KINDS[said].axes)}]")
    x = x[..., None] if x.ndim == 3 and said is None else x
    y = None if y is None else checked_labels(path, y, len(x))
    if resize is not None and x.dtype != np.uint8:
        raise UserError(f"data.resize {resize}: only uint8 images are resized, {path} holds {x.dtype}")
    kind, shape = (said, x.shape[1:]) if said else image_or_vector(str(path), x.shape[1:], resize)

    classes, codes = (None, None) if y is None else labels(y)

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = {"x": np.stack([resized(row, resize) for row in x[indices]]) if resize else x[indices]}
        return batch if y is None else {**batch, "y": codes[indices]}

    limits = {"uint8": (0, 255), "bool": (0, 1)}.get(str(arrays["x"].dtype)) if x.ndim == 4 else None
    if content is None:
        content = files_hash([path])
        if classes and classes != tuple(map(str, range(len(classes)))):
            content = content_hash(content, classes)  # by which rows differ that an earlier version has in its cache
    info = {} if y is None or classes == tuple(map(str, range(len(classes)))) else {"labels": y.dtype.kind}
    return Source(path.stem, kind, shape, x.dtype, {"train": len(x)}, rows, content, classes, limits, info)


def checked_labels(path: Path, y: np.ndarray, num: int) -> np.ndarray:
    """Returns labels [num], whole numbers or texts.

    Raises:
      UserError: for labels of another shape or type.
    """
    if y.dtype.kind == "f" and (y == np.rint(y)).all():
        y = y.astype(np.int64)
    if y.shape != (num,) or y.dtype.kind not in "biuUS":
        raise UserError(f"data.path {path}: labels 'y' {y.dtype}{list(y.shape)}; expected {num} whole numbers or texts")
    return y


def labels(y: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names of the classes in labels y [N], whole numbers or texts in their order, and the class of each [N]."""
    values, codes = np.unique(y.astype(np.uint8) if y.dtype == bool else y, return_inverse=True)
    names = tuple(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values)
    return names, codes.reshape(-1).astype(np.int32)


def _folder(path: Path, resize: int | None, content: str | None) -> Source:
    present = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    files = [file for file in present if file.suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(f"data.path {path}: no images in this folder ({', '.join(SUFFIXES)})")
    left_out(path, [file for file in present if file.suffix.lower() not in SUFFIXES], len(files))
    with readable(f"{files[0]}: not a readable image"), _opened(files[0]) as first:
        channels = channels_of(first)
        width, height = ImageOps.exif_transpose(first).size
    shape = image_or_vector(str(path), (height, width, channels), resize)[1]

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": np.stack([_read(files[index], files[0], shape, resize) for index in indices])}

    if content is None:
        content = content_hash(files_hash(files), "as a viewer shows them")  # earlier versions ignored the orientation
    return Source(path.name, "image", shape, np.dtype(np.uint8), {"train": len(files)}, rows, content, None, (0, 255))


def left_out(path: Path, files: list[Path], read: int) -> None:
    """Prints once how many files of a folder are not read as images."""
    if files:
        suffixes = Counter(file.suffix.lower() or "no suffix" for file in files)
        listed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items()))
        say_once(f"data.path {path}: {read} images are read and {len(files)} files left out ({listed})")


def channels_of(image: Image.Image) -> int:
    """Returns how many channels show an image as a viewer does: 1 grey, 3 colours, 4 with transparency."""
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        return 4
    return 1 if image.mode in ("1", "L") else 3


def _opened(file: Path) -> Image.Image:
    """Opens an image whose pixels have 8 bits a channel.

    Raises:
      UserError: for a file that is no image, or has more bits: Pillow would drop half of those of a colour image.
    """
    Image.init()  # registers the formats, once
    image = Image.open(file, formats=FORMATS)
    if image.mode.startswith(("I", "F")) or any(";16" in str(tile[3]) for tile in image.tile):
        image.close()
        raise UserError(f"{file}: pixels of more than 8 bits ({image.mode}); save them as a .npy array instead")
    return image


def _read(file: Path, first: Path, shape: tuple[int, ...], resize: int | None) -> np.ndarray:
    """Reads an image as a viewer shows it, [H, W, C]: turned as EXIF says, with the channels of the first image.

    Raises:
      UserError: for an image that would lose its colours or its transparency, or has another size.
    """
    with readable(f"{file}: not a readable image"), _opened(file) as image:
        channels = channels_of(image)
        if channels > shape[2]:
            has, lacks = ("transparency", "none") if channels == 4 else ("colours", "grey pixels")
            raise UserError(
                f"{file}: has {has}, and the first image, {first.name}, has {lacks}; save all images in one mode"
            )
        x = np.asarray(fit(ImageOps.exif_transpose(image).convert(MODES[shape[2]]), resize))
    x = x if x.ndim == 3 else x[..., None]
    if x.shape != shape:
        raise UserError(
            f"{file}: {x.shape[1]}x{x.shape[0]} pixels, the first image has {shape[1]}x{shape[0]}; "
            f"choose one size, for example --config.data.resize={min(64, shape[0])}"
        )
    return x
