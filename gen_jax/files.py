"""Files that are written whole or not at all, and not through a link; JSON."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gen_jax.errors import UserError


def own_file(path: str, flags: int) -> int:
    """Opens a file of ours, as the `opener` of `open`: a link in its place is not written through.

    Raises:
      OSError: where it is one.
    """
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says in one line that a file or a folder cannot be written.

    Raises:
      UserError: for any OSError of the body.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def write(path: Path, content: bytes | str) -> None:
    """Writes a file whole or not at all.

    Raises:
      UserError: where it cannot be written.
    """
    content = content.encode() if isinstance(content, str) else content
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(unfinished, "xb", opener=own_file) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise


def write_json(path: Path, value: Any) -> None:
    """Writes plain data as indented JSON, whole or not at all; strictly: infinite numbers and NaN are no JSON."""
    write(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict:
    """The object that a JSON file of a run holds.

    Raises:
      UserError: where it cannot be read.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} cannot be read: expected an object, not {found!r}")
    return found
