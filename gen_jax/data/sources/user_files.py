"""Files of a user as a source of rows, by their suffix: arrays, images, text, piano rolls, recordings, tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen_jax.data.cache import files_hash
from gen_jax.data.kinds import KINDS
from gen_jax.data.limits import ask
from gen_jax.data.source import Source, size_of
from gen_jax.data.sources.array_file import array_file
from gen_jax.data.sources.image_folder import image_folder
from gen_jax.data.tables.text_columns import suffix_of
from gen_jax.errors import UserError


def open_files(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens the file or the folder that `data.path` names.

    Args:
      path: an array file, a file with a suffix that a kind of data reads, or a folder of images.
      options: the `data` section of a config. `content` in it is the hash of the content, if it is known.

    Raises:
      UserError: for a file that does not exist, cannot be read, or cannot be modelled.
    """
    path = path.expanduser()
    if not path.exists():
        raise UserError(f"data.path {path}: no such file or folder")
    if not path.is_dir() and not path.is_file():
        raise UserError(
            f"data.path {path}: neither a file nor a folder, but a pipe or a device; expected a file or a folder"
        )
    if path.is_dir():
        return image_folder(path, size_of(options), options.get("content"))
    if path.suffix.lower() in (".npy", ".npz"):
        return array_file(path, options)
    ask(path.stat().st_size, f"data.path {path}")
    suffix = suffix_of(path).lower()
    readers = {suffix: read for kind in KINDS.values() for suffix, read in kind.read.items()}
    if suffix not in readers:
        listed = ".npy, .npz, " + ", ".join(readers)
        raise UserError(f"data.path {path}: expected a folder of images or a file of {listed}, got {suffix!r}")
    return readers[suffix](path, options, options.get("content") or files_hash([path]))
