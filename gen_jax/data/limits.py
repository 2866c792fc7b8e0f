"""Limits the memory that a file may take: readers ask before they allocate, and stop a stream that expands beyond it."""

import io
import os
from pathlib import Path
from typing import BinaryIO

from gen_jax.errors import UserError, whole_number

SETTING = "GEN_JAX_LARGEST"  # an environment variable, in bytes
LARGEST = 8 << 30


def largest() -> int:
    """Returns the number of bytes that a file may take in memory.

    Raises:
      UserError: for a setting that is no whole number.
    """
    setting = os.environ.get(SETTING)
    if setting is None:
        return LARGEST
    number = whole_number(setting)
    if number is None:
        raise UserError(f"{SETTING}={setting[:80]}: expected a number of bytes")
    return number


def ask(size: int, what: Path | str) -> None:
    """Refuses a file that would take too many bytes.

    Args:
      size: number of bytes.
      what: the file, for the error.

    Raises:
      UserError: with the setting that allows more.
    """
    most = largest()
    if size > most:
        raise UserError(
            f"{what}: it takes {size / 1e9:,.1f} GB of memory; expected at most {most / 1e9:.1f} GB, which the environment "
            f"variable {SETTING} raises (bytes)"
        )


class Bounded(io.RawIOBase):
    """A stream that stops if a file takes too much memory, because compressed files do not say how large they get."""

    def __init__(self, file: BinaryIO, what: Path | str) -> None:
        self.file, self.what, self.size = file, what, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Reads the next `size` bytes; all bytes that are allowed if it is -1.

        Raises:
          UserError: for more bytes than a file may take.
        """
        content = self.file.read(largest() - self.size + 1 if size < 0 else size)
        self.size += len(content)
        ask(self.size, self.what)
        return content

    def close(self) -> None:
        self.file.close()
        super().close()
