"""The user's own files as a source of rows, by their suffix: arrays, images, text, piano rolls, recordings, tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen_jax.data.cache import files_hash
from gen_jax.data.kinds.texts import text_file
from gen_jax.data.limits import ask
from gen_jax.data.source import Source
from gen_jax.data.sources.array_file import array_file
from gen_jax.data.sources.image_folder import image_folder
from gen_jax.data.tables.cells import SUFFIXES as TABLES
from gen_jax.data.tables.cells import suffix_of
from gen_jax.data.tables.network_source import open_network
from gen_jax.data.tables.table_source import open_table
from gen_jax.errors import UserError


def open_files(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens the file or the folder that `data.path` names.

    Args:
      path: a file with the suffix of an array or one of `READERS`, or a folder of images.
      options: the `data` section of a config; `content` in it is the hash of the content if it is known.

    Raises:
      UserError: for a file that does not exist, cannot be read, or holds nothing that can be modelled.
    """
    path = path.expanduser()
    if not path.exists():
        raise UserError(f"data.path {path}: no such file or folder")
    if not path.is_dir() and not path.is_file():
        raise UserError(
            f"data.path {path}: neither a file nor a folder, but a pipe or a device; expected a file or a folder"
        )
    if path.is_dir():
        return image_folder(path, options.get("resize"), options.get("content"))
    if path.suffix.lower() in (".npy", ".npz"):
        return array_file(path, options)
    ask(path.stat().st_size, f"data.path {path}")
    suffix = suffix_of(path).lower()
    if suffix not in READERS:
        listed = ".npy, .npz, " + ", ".join(READERS)
        raise UserError(f"data.path {path}: expected a folder of images or a file of {listed}, got {suffix!r}")
    return READERS[suffix](path, options, options.get("content") or files_hash([path]))


def _rolls(path: Path, options: Mapping[str, Any], content: str) -> Source:
    from gen_jax.data.kinds.rolls import rolls

    return rolls(path, content)


def _recordings(path: Path, options: Mapping[str, Any], content: str) -> Source:
    from gen_jax.data.kinds.audio import recordings

    return recordings(path, options, content)


READERS = {  # (path, options, hash of the content) -> source; SciPy's readers are slow to import
    ".txt": text_file,
    ".mat": _rolls,
    ".zip": _recordings,
    ".bif": open_network,
    **dict.fromkeys(TABLES, open_table),
}
