"""Reads array files of NumPy that are not trusted: no objects, no file above the size limit, and only arrays."""

import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gen_jax.data.limits import ask


def read_array(path: Path) -> np.ndarray:
    """Returns the array of a .npy file, memory-mapped.

    Args:
      path: the file.

    Raises:
      Exception: of any type, for a file of another format; see `errors.readable`.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        array = np.load(path, allow_pickle=False)  # because an array without values cannot be mapped
        if array.size:
            raise
    if isinstance(array, np.lib.npyio.NpzFile):
        array.close()
        raise TypeError("it is an .npz archive under another name")
    return _checked(array)


def read_archive(file: Path | BinaryIO) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file by name.

    Args:
      file: path or open file.

    Raises:
      UserError: for a file that would take too much memory; see `limits.ask`.
      Exception: of any type, for a file of another format; see `errors.readable`.
    """
    with zipfile.ZipFile(file) as archive:
        ask(sum(info.file_size for info in archive.infolist()), file if isinstance(file, Path) else "array file")
    with np.load(file, allow_pickle=False) as arrays:
        return {name: _checked(arrays[name]) for name in arrays.files}


def _checked(array: np.ndarray) -> np.ndarray:
    if not isinstance(array, np.ndarray):
        raise TypeError("it holds a member that is no array")
    return array
