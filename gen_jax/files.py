"""Writes files completely or not at all, and never through a link. Reads and writes JSON."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gen_jax.errors import UserError


def own_file(path: str, flags: int) -> int:
    """Opens a file of gen_jax, as the `opener` of `open`. A link in its place is not followed.

    Args:
      path: the file.
      flags: flags of `os.open`.

    Raises:
      OSError: if the path is a link.
    """
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Reports in one line that a file or a folder cannot be written.

    Args:
      path: the file or the folder.

    Raises:
      UserError: for any OSError of the body.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}); expected a file that can be written") from None


def write(path: Path, content: bytes | str) -> None:
    """Writes a file completely or not at all.

    Args:
      path: the file.
      content: content of the file.

    Raises:
      UserError: if it cannot be written.
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
    """Writes plain data as indented JSON, completely or not at all. Infinite numbers and NaN are refused.

    Args:
      path: the file.
      value: the plain data.
    """
    write(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict:
    """Returns the object in a JSON file of a run.

    Args:
      path: the file.

    Raises:
      UserError: if it cannot be read.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable ({error}); expected a JSON file") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {content!r}; expected a JSON object")
    return content
