"""Where rows come from: TFDS sets, a user's .npy/.npz file, a folder of images. No order, no device, no transform.

A source is random access by index. It is opened from plain options, so that a worker process can open it again.
"""

import fcntl
import hashlib
import json
import os
import shlex
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gen_jax.data.builders import BUILDERS, find
from gen_jax.errors import UserError, choose

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Source(NamedTuple):
    """Rows of raw values; `rows(split, indices)` returns {"x": [n, *shape], "y": [n] int32 where there are labels}."""

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype
    sizes: dict[str, int]
    rows: Callable[[str, np.ndarray], dict[str, np.ndarray]]
    content: str  # hash of what the rows depend on
    classes: tuple[str, ...] | None = None
    limits: tuple[float, float] | None = None  # the domain, where it is known without reading the rows
    info: Mapping[str, Any] = {}


def cache_folder() -> Path:
    """The user's cache folder of this project: `$GEN_JAX_CACHE`, `$XDG_CACHE_HOME/gen_jax` or `~/.cache/gen_jax`."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("GEN_JAX_CACHE") or Path(home) / "gen_jax")


def open_source(options: Mapping[str, Any]) -> Source:
    """Opens what the `data` section of a config names; `path` beats `name`.

    A user's files are read once to know their content, unless `options["content"]` says that it is known.

    Raises:
      UserError: for what does not exist, is not prepared, or holds neither images nor vectors.
    """
    path, resize = options.get("path"), options.get("resize")
    if resize is not None and resize < 1:
        raise UserError(f"data.resize {resize}: expected a side of at least 1 pixel")
    if path is None:
        return _tfds(options["name"], options.get("variant"), options.get("data_dir"), resize)
    path = Path(path)
    if not path.exists():
        raise UserError(f"data.path {path}: no such file or folder")
    if path.is_dir():
        return _folder(path, resize, options.get("content"))
    if path.suffix not in (".npy", ".npz"):
        raise UserError(f"data.path {path}: expected a .npy or .npz file or a folder of images, got {path.suffix!r}")
    return _arrays(path, resize, options.get("content"))


def content_hash(*parts: Any) -> str:
    """A short hash of plain data or bytes."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()


def files_hash(files: list[Path]) -> str:
    """A short hash of the names and the contents of files."""
    digest = hashlib.blake2b(digest_size=12)
    for path in files:
        digest.update(path.name.encode())
        with open(path, "rb") as file:
            while chunk := file.read(1 << 24):
                digest.update(chunk)
    return digest.hexdigest()


def fit(image: Image.Image, side: int | None) -> Image.Image:
    """The largest centred square of an image, resized to `side` pixels; unchanged where `side` is None."""
    if side is None:
        return image
    width, height = image.size
    edge = min(width, height)
    box = ((width - edge) // 2, (height - edge) // 2)
    box = (*box, box[0] + edge, box[1] + edge)
    return image.resize((side, side), Image.Resampling.LANCZOS, box=box)


def resized(x: np.ndarray, side: int | None) -> np.ndarray:
    """One image [H, W, C] of uint8 as `fit` makes it."""
    if side is None or x.shape[:2] == (side, side):
        return x
    planes = [np.asarray(fit(Image.fromarray(plane), side)) for plane in np.moveaxis(x, -1, 0)]
    return np.stack(planes, axis=-1)


def image_or_vector(name: str, shape: tuple, resize: int | None) -> tuple[str, tuple[int, ...]]:
    """Kind and row shape of rows shaped `shape`, after resizing.

    Raises:
      UserError: for any other rank, for colours other than 1 to 4, for sides that vary without `resize`.
    """
    if len(shape) == 1:
        if resize is not None:
            raise UserError(f"data.resize {resize}: {name} holds vectors of {shape[0]}, not images")
        return "vector", tuple(shape)
    if len(shape) != 3 or not 1 <= (shape[2] or 0) <= 4:
        raise UserError(
            f"{name}: rows of shape {tuple(shape)}; expected images [H, W, C] with 1 to 4 channels, or vectors [D]"
        )
    if resize is not None:
        return "image", (resize, resize, shape[2])
    if None in shape:
        raise UserError(f"{name}: its images differ in size; choose one, for example --config.data.resize=64")
    return "image", tuple(shape)


def _tfds(name: str, variant: str | None, data_dir: str | None, resize: int | None) -> Source:
    builder = _own_builder(name, variant) if name in BUILDERS else _prepared_builder(name, variant, data_dir)
    features = builder.info.features
    if features is None or not hasattr(features, "items"):
        raise UserError(f"{name}: its features are not named: {features}")
    labels = [key for key, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    shapes = {key: feature.shape for key, feature in features.items() if key not in labels}
    usable = [key for key, shape in shapes.items() if shape is not None and len(shape) in (1, 3)]
    if not usable:
        raise UserError(f"{name}: none of its features ({', '.join(features)}) is an image or a vector")
    x_key = max(usable, key=lambda key: len(shapes[key]))  # an image before a vector
    kind, shape = image_or_vector(name, shapes[x_key], resize)
    sources = {
        split: lru_cache(lambda split=split: builder.as_data_source(split=split)) for split in builder.info.splits
    }

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        records = sources[split]().__getitems__([int(index) for index in indices])
        batch = {"x": np.stack([resized(record[x_key], resize) for record in records])}
        if labels:
            batch["y"] = np.array([record[labels[0]] for record in records], np.int32)
        return batch

    info = dict(builder.info.metadata or {})
    dtype = np.dtype(features[x_key].np_dtype)
    known = (0, 255) if dtype == np.uint8 else None
    limits = (info.pop("low"), info.pop("high")) if "low" in info else known
    sizes = {split: facts.num_examples for split, facts in builder.info.splits.items()}
    content = content_hash(
        builder.info.full_name, sizes, {k: facts.num_bytes for k, facts in builder.info.splits.items()}
    )
    classes = tuple(features[labels[0]].names) if labels else None
    return Source(builder.info.full_name, kind, shape, dtype, sizes, rows, content, classes, limits, info)


def _own_builder(name: str, variant: str | None) -> Any:
    _tfds_module()
    cls = find(name)
    variants = [config.name for config in cls.BUILDER_CONFIGS]
    if variant is not None:
        choose(f"data.variant of {name}:", variant, variants)
    home = made(cache_folder() / "tfds")
    open_builder = partial(cls, data_dir=str(home), config=variant, file_format="array_record")
    with open(home / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits here, and then finds it prepared
        builder = open_builder()
        if not (Path(builder.data_dir) / "dataset_info.json").exists():
            print(f"preparing {name} in {builder.data_dir}")
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                builder.download_and_prepare()
            builder = open_builder()
    return builder


def made(folder: Path) -> Path:
    """A folder of the cache, made where it is absent.

    Raises:
      UserError: where it cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".writable", "w"):
            return folder
    except OSError as error:
        raise UserError(
            f"cannot write to the cache {folder}: {error.strerror}; choose another by GEN_JAX_CACHE"
        ) from None


def _tfds_module() -> ModuleType:
    import tensorflow_datasets  # takes a second, and a run whose arrays are cached in memory never needs it
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # it advises OpenCV for every decoded image
    tensorflow_datasets.disable_progress_bar()
    return tensorflow_datasets


def _prepared_builder(name: str, variant: str | None, data_dir: str | None) -> Any:
    tfds = _tfds_module()
    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets").expanduser()
    full = f"{name}/{variant}" if variant else name
    versions = _versions(root / full)
    python = shlex.quote(sys.executable)
    if not versions:
        variants = [path.name for path in (root / name).glob("*") if _versions(path)]
        if variants and variant is None:
            raise UserError(f"{name} has variants in {root}: choose one by --config.data.variant={variants[0]}")
        raise UserError(
            f"data set {full!r} is not prepared in {root}; built in: {', '.join(BUILDERS)}. Prepare it once, with network: "
            f'{python} -m pip install tensorflow && {python} -c "import tensorflow_datasets as tfds; '
            f"tfds.builder('{full}', data_dir='{root}', file_format='array_record').download_and_prepare()\""
        )
    try:
        builder = tfds.builder_from_directory(versions[-1])
        written = builder.info.file_format.value
    except (ValueError, AttributeError, KeyError, OSError) as error:
        raise UserError(f"{versions[-1]} is not a whole TFDS data set: {error}") from None
    if written != "array_record":
        raise UserError(
            f"{versions[-1]} is written as {written}, which cannot be read by index. Convert it once: {python} -m pip "
            f"install tensorflow && tfds convert_format --dataset_version_dir={versions[-1]} "
            f"--out_file_format=array_record --out_dir=CONVERTED/{versions[-1].relative_to(root)} "
            f"and then give --config.data.data_dir=CONVERTED"
        )
    return builder


def _versions(folder: Path) -> list[Path]:
    """The prepared versions of a data set, the newest last."""
    found = (path for path in folder.glob("*") if (path / "dataset_info.json").exists())
    return sorted(found, key=lambda path: [int(part) for part in path.name.split(".") if part.isdecimal()])


def _arrays(path: Path, resize: int | None, content: str | None) -> Source:
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
    x = x[..., None] if x.ndim == 3 else x
    if y is not None and (y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer) or y.min() < 0):
        raise UserError(f"data.path {path}: labels 'y' {y.dtype}{list(y.shape)}; expected {len(x)} integers from 0 up")
    if resize is not None and x.dtype != np.uint8:
        raise UserError(f"data.resize {resize}: only uint8 images are resized, {path} holds {x.dtype}")
    kind, shape = image_or_vector(str(path), x.shape[1:], resize)

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = {"x": np.stack([resized(row, resize) for row in x[indices]]) if resize else x[indices]}
        return batch if y is None else {**batch, "y": y[indices].astype(np.int32)}

    limits = (0, 255) if x.dtype == np.uint8 and x.ndim == 4 and arrays["x"].dtype != bool else None
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
