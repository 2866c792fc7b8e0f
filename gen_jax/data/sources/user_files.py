"""Files of a user as a source of rows, by their suffix: arrays, images, text, piano rolls, recordings, tables, pairs."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.cache import files_hash
from gen_jax.data.kinds import KINDS
from gen_jax.data.limits import ask
from gen_jax.data.source import Source, size_of
from gen_jax.data.sources.array_file import array_file
from gen_jax.data.sources.array_pairs import open_array_pairs
from gen_jax.data.sources.folder_pairs import open_folder_of_pairs
from gen_jax.data.sources.image_folder import holds_sounds_alone, image_folder
from gen_jax.data.sources.photo_patches import photo_patches
from gen_jax.data.sources.recordings_file import (
    METADATA,
    RATE,
    SOUNDS,
    recordings_file,
    recordings_folder,
    spoken_folder,
)
from gen_jax.data.sources.text_pairs import TABLES, line_files, open_line_pairs, open_tsv_pairs
from gen_jax.data.sources.text_splits import open_split_texts, split_files
from gen_jax.data.sources.video_folder import video_folder
from gen_jax.data.sources.voices_file import voices_file
from gen_jax.data.tables.text_columns import suffix_of
from gen_jax.errors import UserError, choose

SETTINGS = ("target", "condition", "metadata", "classes", "condition_scale")  # settings of paired data


def open_files(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens the file or the folder that `data.path` names.

    Args:
      path: an array file, a file with a suffix that a kind of data reads, a folder of images, or a folder with a text
        file for each split.
      options: the `data` section of a config. `content` in it is the hash of the content, if it is known.

    Raises:
      UserError: for a file that does not exist, cannot be read, or cannot be modelled.
    """
    path = path.expanduser()
    path = path if path.name else path.resolve()  # because the name of the data is that of the folder
    if not path.exists():
        raise UserError(f"data.path {path} does not exist; expected a file or a folder")
    if not path.is_dir() and not path.is_file():
        raise UserError(f"data.path {path} is a pipe or a device; expected a file or a folder")
    if path.is_dir() and options.get("kind") is not None and KINDS[choose("data.kind", options["kind"], KINDS)].film:
        refuse_pairs(path, options)
        return video_folder(path, options)
    if path.is_dir() and options.get("patch") is not None:
        return photo_patches(path, options)
    settings = [setting for setting in SETTINGS if options.get(setting) is not None]
    if path.is_dir():
        return open_folder(path, options) if settings else open_plain_folder(path, options)
    if path.suffix.lower() in (".npy", ".npz"):
        return open_arrays(path, options, settings)
    ask(path.stat().st_size, f"data.path {path}")
    suffix = suffix_of(path).lower()
    if suffix in TABLES and {"target", "condition"} & {*settings}:
        return open_tsv_pairs(path, options)
    if settings:
        raise UserError(
            f"data.{settings[0]} is {options[settings[0]]!r} and data.path is {path}; expected paired data: a folder, a .npz "
            f"file or a .tsv file"
        )
    readers = {suffix: read for kind in KINDS.values() for suffix, read in kind.read.items()}
    if suffix not in readers:
        listed = ".npy, .npz, " + ", ".join(readers)
        raise UserError(
            f"file type of data.path {path} is {suffix!r}; expected a folder of images or a file of {listed}"
        )
    return readers[suffix](path, options, options.get("content") or files_hash([path]))


def refuse_pairs(path: Path, options: Mapping[str, Any]) -> None:
    """Refuses settings of paired data for a folder of videos.

    Args:
      path: the folder.
      options: the `data` section of a config.

    Raises:
      UserError: for the first such setting that is set.
    """
    for setting in SETTINGS:
        if options.get(setting) is not None:
            raise UserError(
                f"data.{setting} is {options[setting]!r} and data.path is {path}, a folder of videos; expected it unset. "
                "data.first makes the first frames of a clip its condition"
            )


def open_arrays(path: Path, options: Mapping[str, Any], settings: Sequence[str]) -> Source:
    """Opens an array file: rows, rows with a condition, recordings, or pieces of voices.

    Args:
      path: the file.
      options: the `data` section of a config.
      settings: settings of paired data that are set.

    Raises:
      UserError: as the functions that read the file.
    """
    recorded = holds(path, RATE) and number_of_values(path, RATE) == 1 and not {*settings} - {"condition"}
    if recorded and not holds(path, "c"):
        return recordings_file(path, options)
    if settings or holds(path, "c"):
        return open_array_pairs(path, options)
    return voices_file(path, options) if holds(path, "x_train", "length_train") else array_file(path, options)


def open_plain_folder(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens a folder of a text for each split, of recordings, or of images.

    Args:
      path: the folder.
      options: the `data` section of a config.

    Raises:
      UserError: as the functions that read the files.
    """
    texts = split_files(path)
    if texts:
        return open_split_texts(path, options, texts)
    if holds_sounds_alone(path):
        return recordings_folder(path, options)
    return image_folder(path, size_of(options), options.get("content"))


def open_folder(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens a folder of paired data: files of lines that belong together, or pictures.

    Args:
      path: the folder.
      options: the `data` section of a config.

    Raises:
      UserError: for data that cannot be read, or an unknown field.
    """
    if (path / METADATA).is_file() and (path / SOUNDS).is_dir() and options.get("condition") is not None:
        return spoken_folder(path, options)
    names = {options[name] for name in ("target", "condition") if options.get(name) is not None}
    files = line_files(path)
    if names and any(names <= {*by_name} for by_name in files.values()):
        return open_line_pairs(path, options, files)
    return open_folder_of_pairs(path, options)


def number_of_values(path: Path, name: str) -> int:
    """Returns the number of values of an array in an .npz file; 0 if it cannot be read.

    Args:
      path: the file.
      name: name of the array.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return int(arrays[name].size)
    except (OSError, ValueError, zipfile.BadZipFile):  # because the reader of the file reports this fault
        return 0


def holds(path: Path, *names: str) -> bool:
    """Returns whether an .npz file holds some arrays.

    Args:
      path: the file.
      *names: names of the arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{name}.npy" for name in names} <= {*archive.namelist()}
    except (OSError, zipfile.BadZipFile):  # because the reader of the file reports this fault
        return False
