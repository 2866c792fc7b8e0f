"""The user's cache folder, and the hashes by which rows in it are known."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from gen_jax.errors import UserError
from gen_jax.files import own_file


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
