"""A user's own files as a source of rows: arrays, a folder of images, text, piano rolls, recordings."""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gen_jax.data.bif import open_network
from gen_jax.data.cells import SUFFIXES as TABLES
from gen_jax.data.cells import suffix_of
from gen_jax.data.source import Source, fit, image_or_vector, resized
from gen_jax.data.tables import open_table
from gen_jax.data.texts import text_file
from gen_jax.errors import UserError, choose

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
KINDS = ("series",)  # what an array file may be said to hold, where its shape leaves that open


def open_files(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens what `data.path` names; `options["content"]` is its hash where that is known already.

    Raises:
      UserError: for what does not exist, cannot be read, or holds nothing that can be modelled.
    """
    if not path.exists():
        raise UserError(f"data.path {path}: no such file or folder")
    resize, content = options.get("resize"), options.get("content")
    if path.is_dir():
        return _folder(path, resize, content)
    if path.suffix in (".npy", ".npz"):
        return _arrays(path, resize, content, options.get("kind"))
    suffix = suffix_of(path)
    if suffix not in READERS:
        listed = ".npy, .npz, " + ", ".join(READERS)
        raise UserError(f"data.path {path}: expected a folder of images or a file of {listed}, got {suffix!r}")
    return READERS[suffix](path, options, content or files_hash([path]))


def _rolls(path: Path, options: Mapping[str, Any], known: str) -> Source:
    from gen_jax.data.rolls import rolls

    return rolls(path, known)


def _recordings(path: Path, options: Mapping[str, Any], known: str) -> Source:
    from gen_jax.data.audio import recordings

    return recordings(path, options, known)


READERS = {  # SciPy's readers are slow to import
    ".txt": text_file,
    ".mat": _rolls,
    ".zip": _recordings,
    ".bif": open_network,
    **dict.fromkeys(TABLES, open_table),
}


def files_hash(files: list[Path]) -> str:
    """A short hash of the names and the contents of files."""
    digest = hashlib.blake2b(digest_size=12)
    for path in files:
        digest.update(path.name.encode())
        with open(path, "rb") as file:
            while chunk := file.read(1 << 24):
                digest.update(chunk)
    return digest.hexdigest()


def _arrays(path: Path, resize: int | None, content: str | None, said: str | None) -> Source:
    try:
        loaded = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        named = isinstance(loaded, np.lib.npyio.NpzFile)
        arrays = {key: loaded[key] for key in loaded.files} if named else {"x": loaded}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"data.path {path}: not a readable array file ({error})") from None
    if "x" not in arrays:
        if len(arrays) != 1:
            raise UserError(f"data.path {path}: expected an array named 'x', found {', '.join(arrays) or 'none'}")
        arrays = {"x": next(iter(arrays.values()))}
    x, y = arrays["x"], arrays.get("y")
    if x.dtype == bool:
        x = x.astype(np.uint8)
    if not np.issubdtype(x.dtype, np.number) or np.iscomplexobj(x):
        raise UserError(f"data.path {path}: values of type {x.dtype}; expected integers or real numbers")
    if x.ndim not in (2, 3, 4):
        raise UserError(
            f"data.path {path}: shape {x.shape}; expected vectors [N, D] or images [N, H, W] or [N, H, W, C]"
        )
    if x.size == 0:
        raise UserError(f"data.path {path}: it is empty, shape {x.shape}")
    if said is not None:
        choose("data.kind", said, KINDS)
    if said == "series" and x.ndim != 3:
        raise UserError(f"data.path {path}: shape {x.shape}; expected series [N, T, D]")
    x = x[..., None] if x.ndim == 3 and said is None else x
    if y is not None and (y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer) or y.min() < 0):
        raise UserError(f"data.path {path}: labels 'y' {y.dtype}{list(y.shape)}; expected {len(x)} integers from 0 up")
    if resize is not None and x.dtype != np.uint8:
        raise UserError(f"data.resize {resize}: only uint8 images are resized, {path} holds {x.dtype}")
    kind, shape = (said, x.shape[1:]) if said else image_or_vector(str(path), x.shape[1:], resize)

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = {"x": np.stack([resized(row, resize) for row in x[indices]]) if resize else x[indices]}
        return batch if y is None else {**batch, "y": y[indices].astype(np.int32)}

    limits = {"uint8": (0, 255), "bool": (0, 1)}.get(str(arrays["x"].dtype)) if x.ndim == 4 else None
    classes = None if y is None else tuple(str(label) for label in range(int(y.max()) + 1))
    return Source(
        path.stem, kind, shape, x.dtype, {"train": len(x)}, rows, content or files_hash([path]), classes, limits
    )


def _folder(path: Path, resize: int | None, content: str | None) -> Source:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise UserError(f"data.path {path}: no images in this folder ({', '.join(SUFFIXES)})")
    with _opened(files[0]) as first:
        channels = {"L": 1, "1": 1, "LA": 1, "RGBA": 4}.get(first.mode, 3)
        width, height = first.size
    shape = image_or_vector(str(path), (height, width, channels), resize)[1]

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": np.stack([_read(files[index], shape, resize) for index in indices])}

    return Source(
        path.name,
        "image",
        shape,
        np.dtype(np.uint8),
        {"train": len(files)},
        rows,
        content or files_hash(files),
        None,
        (0, 255),
    )


def _opened(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except OSError as error:
        raise UserError(f"{file}: not a readable image ({error})") from None


def _read(file: Path, shape: tuple[int, ...], resize: int | None) -> np.ndarray:
    with _opened(file) as image:
        if image.mode.startswith(("I", "F")):
            raise UserError(f"{file}: pixels of more than 8 bits ({image.mode}); save them as a .npy array instead")
        try:
            x = np.asarray(fit(image.convert(MODES[shape[2]]), resize))
        except OSError as error:
            raise UserError(f"{file}: not a readable image ({error})") from None
    x = x if x.ndim == 3 else x[..., None]
    if x.shape != shape:
        raise UserError(
            f"{file}: {x.shape[1]}x{x.shape[0]} pixels, the first image has {shape[1]}x{shape[0]}; "
            f"choose one size, for example --config.data.resize={min(64, shape[0])}"
        )
    return x
