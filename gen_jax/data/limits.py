"""How much memory a file may take: readers ask before they allocate, and stop a stream that expands beyond it."""

import io
import os
from typing import Any, BinaryIO

from gen_jax.errors import UserError, whole_number

SETTING = "GEN_JAX_LARGEST"  # an environment variable, in bytes
LARGEST = 8 << 30


def largest() -> int:
    """Returns the bytes that one file may take in memory.

    Raises:
      UserError: for a setting that is no number.
    """
    said = os.environ.get(SETTING)
    if said is None:
        return LARGEST
    number = whole_number(said)
    if number is None:
        raise UserError(f"{SETTING}={said[:80]}: expected a number of bytes")
    return number


def ask(size: int, what: Any) -> None:
    """Refuses what would take too many bytes.

    Raises:
      UserError: naming it, and the setting that allows more.
    """
    most = largest()
    if size > most:
        raise UserError(
            f"{what}: it takes {size / 1e9:,.1f} GB of memory; expected at most {most / 1e9:.1f} GB, which the environment "
            f"variable {SETTING} raises (bytes)"
        )


class Bounded(io.RawIOBase):
    """A stream of which no more may be read than a file may take: compressed files do not say how large they get."""

    def __init__(self, file: BinaryIO, what: Any) -> None:
        self.file, self.what, self.size = file, what, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Reads the next bytes, all that are allowed where `size` is -1.

        Raises:
          UserError: as `ask`.
        """
        content = self.file.read(largest() - self.size + 1 if size < 0 else size)
        self.size += len(content)
        ask(self.size, self.what)
        return content

    def close(self) -> None:
        self.file.close()
        super().close()
