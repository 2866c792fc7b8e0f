"""The record of a source of rows, and what all sources share: the cache folder, hashes, kinds, resizing."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gen_jax.errors import UserError, choose
from gen_jax.files import own_file

STACKED_ROWS = {"train": 128_000}  # rows of a stacked set, as in PacGAN's experiments; other splits have 26,000


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
    lengths: Callable[[str], np.ndarray] | None = None  # split -> frames of each row; None where all are whole


def cache_folder() -> Path:
    """The user's cache folder of this project: `$GEN_JAX_CACHE`, `$XDG_CACHE_HOME/gen_jax` or `~/.cache/gen_jax`.

    Raises:
      UserError: for a user without a home, in none of these.
    """
    chosen = os.environ.get("GEN_JAX_CACHE") or os.environ.get("XDG_CACHE_HOME")
    if chosen:
        return Path(chosen) / ("" if os.environ.get("GEN_JAX_CACHE") else "gen_jax")
    try:
        return Path.home() / ".cache" / "gen_jax"
    except (RuntimeError, KeyError):
        raise UserError("this user has no home for the cache: name a folder by GEN_JAX_CACHE") from None


def made(folder: Path) -> Path:
    """A folder of the cache, made where it is absent.

    Raises:
      UserError: where it cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".writable", "w", opener=own_file):
            return folder
    except OSError as error:
        raise UserError(
            f"cannot write to the cache {folder}: {error.strerror}; choose another by GEN_JAX_CACHE"
        ) from None


def forget_oldest(folder: Path, most: int) -> None:
    """Deletes what was used longest ago in a folder of the cache, until at most `most` bytes stay."""
    with suppress(OSError):  # of another process that does the same
        facts = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
        total = sum(each.st_size for _, each in facts)
        for path, each in sorted(facts, key=lambda file: max(file[1].st_atime, file[1].st_mtime)):
            if total <= most:
                return
            path.unlink()
            total -= each.st_size


@lru_cache(maxsize=256)
def say_once(text: str) -> None:
    """Prints a line once in a process, because a source is opened more than once."""
    print(text)


def content_hash(*parts: Any) -> str:
    """A short hash of plain data or bytes."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()


def files_hash(files: list[Path]) -> str:
    """Returns a short hash of the names and the contents of files."""
    digest = hashlib.blake2b(digest_size=12)
    for path in files:
        digest.update(path.name.encode())
        with open(path, "rb") as file:
            while chunk := file.read(1 << 24):
                digest.update(chunk)
    return digest.hexdigest()


def folder_hash(folder: Path) -> str:
    """Returns a short hash of the names and the contents of the files of a folder.

    It is kept in the cache for files of that size, place and time of change: a prepared set may be large.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    facts = [
        (str(path.resolve()), each.st_size, each.st_mtime_ns, each.st_ino) for path in files for each in [path.stat()]
    ]
    kept = made(cache_folder() / "hashes") / content_hash(facts)
    with suppress(OSError):
        return kept.read_text()
    found = content_hash([str(path.relative_to(folder)) for path in files], files_hash(files))
    unfinished = kept.with_name(f".{kept.name}.{os.getpid()}")
    unfinished.write_text(found)
    os.replace(unfinished, kept)
    return found


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


def stacked(source: Source, channels: int) -> Source:
    """Images whose channels are each a grey image of `source`, drawn at random: Stacked-MNIST and its like.

    The label is the number that the labels of the channels spell, so that K classes become K^channels (Metz et al. 2017,
    arXiv 1611.02163, section 3.3.1). Which images a row holds depends on its split and number alone.

    Raises:
      UserError: for images that are not grey, or a number of channels other than 2 to 4.
    """
    if source.kind != "image" or source.shape[2] != 1:
        raise UserError(f"data.stack {channels}: expected grey images, {source.name} has rows of {source.shape}")
    if not 2 <= channels <= 4:
        raise UserError(f"data.stack {channels}: expected 2 to 4 channels")
    sizes = {split: STACKED_ROWS.get(split, 26_000) for split, rows in source.sizes.items() if rows}

    @lru_cache
    def parts(split: str) -> np.ndarray:
        seed = [channels, *split.encode()]
        return np.random.default_rng(seed).integers(source.sizes[split], size=(sizes[split], channels))

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        needed, where = np.unique(parts(split)[indices], return_inverse=True)
        batch, where = source.rows(split, needed), where.reshape(-1, channels)  # [n, channels]
        together = {"x": np.concatenate([batch["x"][where[:, each]] for each in range(channels)], axis=-1)}
        if "y" in batch:
            places = len(source.classes) ** np.arange(channels)[::-1]
            together["y"] = (batch["y"][where] * places[None]).sum(1).astype(np.int32)
        return together

    names = source.classes and tuple(" ".join(each) for each in product(source.classes, repeat=channels))
    return source._replace(
        name=f"{source.name}, {channels} stacked",
        shape=(*source.shape[:2], channels),
        sizes=sizes,
        rows=rows,
        content=content_hash(source.content, channels, sizes),
        classes=names,
        info={**source.info, "stacked": channels},
    )


def joined(source: Source, test: Source, split: str) -> Source:
    """`source` with the rows of `test` in the place of its own `split`; labels stay where both have the same classes.

    Raises:
      UserError: where `test` has no such split, or rows of another kind, shape or domain.
    """
    choose(f"data.test_split of {test.name}:", split, test.sizes)
    for fact, field in {"kind": "kind", "shape": "shape", "domain": "limits"}.items():
        mine, other = getattr(source, field), getattr(test, field)
        if mine != other:
            raise UserError(f"data.test_name: {test.name} has {fact} {other}; expected {mine}, as {source.name}")
    labelled = source.classes == test.classes

    def rows(part: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = (test if part == split else source).rows(part, indices)
        return batch if labelled else {name: value for name, value in batch.items() if name != "y"}

    return source._replace(
        name=f"{source.name}, tested on {test.name}",
        sizes={**source.sizes, split: test.sizes[split]},
        rows=rows,
        content=content_hash(source.content, test.content, split),
        classes=source.classes if labelled else None,
    )
