"""Array files of NumPy's, read without trust: no objects, nothing larger than it may be, every fault one ValueError."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gen_jax.data.limits import ask
from gen_jax.errors import UserError


def read_array(path: Path) -> np.ndarray:
    """Returns the array of a .npy file, mapped.

    Raises:
      ValueError: for anything else.
    """
    return _read(lambda: _checked(_mapped(path)))


def read_archive(file: Path | BinaryIO) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file by name.

    Raises:
      ValueError: for anything else.
      UserError: for one that would take too much memory; see `limits.ask`.
    """

    def read() -> dict[str, np.ndarray]:
        with zipfile.ZipFile(file) as archive:
            ask(sum(info.file_size for info in archive.infolist()), file if isinstance(file, Path) else "array file")
        with np.load(file, allow_pickle=False) as arrays:
            return {name: _checked(arrays[name]) for name in arrays.files}

    return _read(read)


def _mapped(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        array = np.load(path, allow_pickle=False)  # one without values cannot be mapped
        if array.size:
            raise
    if isinstance(array, np.lib.npyio.NpzFile):
        array.close()
        raise TypeError("it is an .npz archive under another name")
    return array


def _checked(array: np.ndarray) -> np.ndarray:
    if not isinstance(array, np.ndarray):
        raise TypeError("it holds a member that is no array")
    return array


def _read(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 (of a torn, encrypted or senseless file NumPy and zipfile raise all kinds)
        raise ValueError(" ".join(f"{type(error).__name__}: {error}".split())[:200]) from None
