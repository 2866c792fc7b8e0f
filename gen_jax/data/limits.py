"""Limits the memory that a file may take. Readers check the limit before they allocate memory.

A stream that expands beyond the limit is stopped.
"""

import io
import os
from pathlib import Path
from typing import BinaryIO

from gen_jax.errors import UserError, whole_number

SETTING = "GEN_JAX_LARGEST"  # environment variable with the largest number of bytes
LARGEST = 8 << 30


def largest() -> int:
    """Returns the largest number of bytes that a file may take in memory.

    Raises:
      UserError: for a setting that is not a whole number.
    """
    setting = os.environ.get(SETTING)
    if setting is None:
        return LARGEST
    number = whole_number(setting)
    if number is None:
        raise UserError(f"{SETTING} is {setting[:80]}; expected a number of bytes")
    return number


def ask(size: int, file_name: Path | str) -> None:
    """Refuses a file that would take too many bytes.

    Args:
      size: number of bytes.
      file_name: name of the file, for the error.

    Raises:
      UserError: with the setting that raises the limit.
    """
    most = largest()
    if size > most:
        raise UserError(
            f"{file_name} takes {size / 1e9:,.1f} GB of memory; expected at most {most / 1e9:.1f} GB. Set the environment "
            f"variable {SETTING} to more bytes"
        )


class Bounded(io.RawIOBase):
    """Reads a stream, and stops if the file takes too much memory.

    Compressed files do not state their full size.
    """

    def __init__(self, file: BinaryIO, file_name: Path | str) -> None:
        self.file, self.file_name, self.size = file, file_name, 0

    def readable(self) -> bool:
        """Returns True: the stream can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Reads the next bytes.

        Args:
          size: number of bytes; -1, the default, for all bytes up to the limit.

        Raises:
          UserError: if the file has more bytes than the limit.
        """
        content = self.file.read(largest() - self.size + 1 if size < 0 else size)
        self.size += len(content)
        ask(self.size, self.file_name)
        return content

    def close(self) -> None:
        """Closes the file."""
        self.file.close()
        super().close()
