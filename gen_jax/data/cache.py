"""The cache folder of the user, and the hashes that name its contents."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from gen_jax.errors import UserError
from gen_jax.files import own_file


def cache_folder() -> Path:
    """Returns the cache folder: `$GEN_JAX_CACHE`, `$XDG_CACHE_HOME/gen_jax` or `~/.cache/gen_jax`.

    Raises:
      UserError: for a user without a home folder, if none of these variables is set.
    """
    if os.environ.get("GEN_JAX_CACHE"):
        return Path(os.environ["GEN_JAX_CACHE"])
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "gen_jax"
    try:
        return Path.home() / ".cache" / "gen_jax"
    except (RuntimeError, KeyError):
        raise UserError(
            "home folder of this user is missing; expected a folder for the cache. Set GEN_JAX_CACHE=FOLDER"
        ) from None


def make_folder(folder: Path) -> Path:
    """Returns a folder of the cache, and creates the folder if it is absent.

    Args:
      folder: the folder.

    Raises:
      UserError: for a folder that cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".writable", "w", opener=own_file):
            return folder
    except OSError as error:
        raise UserError(
            f"cannot write to the cache {folder} ({error.strerror}); expected a folder that can be written. Set "
            "GEN_JAX_CACHE=FOLDER"
        ) from None


def forget_oldest(folder: Path, max_bytes: int) -> None:
    """Deletes the least recently used files of a folder of the cache, until at most `max_bytes` bytes stay.

    Args:
      folder: the folder.
      max_bytes: number of bytes that may stay.
    """
    with suppress(OSError):  # because another process may delete the same files
        facts = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
        total = sum(status.st_size for _, status in facts)
        for path, status in sorted(facts, key=lambda file: max(file[1].st_atime, file[1].st_mtime)):
            if total <= max_bytes:
                return
            path.unlink()
            total -= status.st_size


def content_hash(*parts: Any) -> str:
    """Returns a short hash of plain data or bytes.

    Args:
      *parts: plain data or bytes.
    """
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()


def files_hash(files: list[Path]) -> str:
    """Returns a short hash of the names and the contents of files.

    Args:
      files: the files.
    """
    digest = hashlib.blake2b(digest_size=12)
    for path in files:
        digest.update(path.name.encode())
        with open(path, "rb") as file:
            while chunk := file.read(1 << 24):
                digest.update(chunk)
    return digest.hexdigest()


def folder_hash(folder: Path) -> str:
    """Returns a short hash of the names and the contents of the files of a folder.

    Because a data set may be large, the cache keeps the hash for files with the same size, place and modification time.

    Args:
      folder: the folder.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    statuses = [(path.resolve(), path.stat()) for path in files]
    facts = [(str(path), status.st_size, status.st_mtime_ns, status.st_ino) for path, status in statuses]
    hash_file = make_folder(cache_folder() / "hashes") / content_hash(facts)
    with suppress(OSError):
        return hash_file.read_text()
    digest = content_hash([str(path.relative_to(folder)) for path in files], files_hash(files))
    unfinished = hash_file.with_name(f".{hash_file.name}.{os.getpid()}")
    unfinished.write_text(digest)
    os.replace(unfinished, hash_file)
    return digest
