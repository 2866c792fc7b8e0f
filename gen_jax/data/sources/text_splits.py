"""A folder with a text file for each split, such as train.txt, val.txt and test.txt, as a source of rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen_jax.data.cache import files_hash
from gen_jax.data.kinds.text import text_source
from gen_jax.data.source import Source
from gen_jax.data.sources.image_folder import SUFFIXES as PICTURES
from gen_jax.data.sources.records import read_whole_text
from gen_jax.data.sources.splits import SPLITS, split_name
from gen_jax.data.tables.text_columns import OPEN
from gen_jax.errors import readable

SUFFIXES = ("txt", "abc")  # of text files
OTHERS = (*(suffix[1:] for suffix in PICTURES), "csv", "tsv", "npz", "npy", "json")  # suffixes of other data


def split_files(path: Path) -> dict[str, Path]:
    """Returns the text files of a folder by split; none without a training split, or in a folder that holds other data.

    Args:
      path: the folder.
    """
    files: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        parts = [part for part in file.name.split(".") if f".{part}".lower() not in OPEN]
        if file.is_dir() or parts[-1].lower() in OTHERS:
            return {}
        if len(parts) == 2 and parts[0] in SPLITS and parts[1].lower() in SUFFIXES:
            files[split_name(parts[0])] = file
    return files if "train" in files else {}


def open_split_texts(path: Path, options: Mapping[str, Any], files: Mapping[str, Path]) -> Source:
    """Opens a text file for each split. A file is one document, which `data.window` cuts into rows.

    Args:
      path: the folder.
      options: the `data` section of a config. `content` in it is the hash of the content, if it is known.
      files: the files by split, see `split_files`.

    Raises:
      UserError: for a file that cannot be read, and in the cases of `text_source`.
    """
    texts = {}
    for split, file in files.items():
        with readable(f"{file}", "a text file"):
            texts[split] = read_whole_text(file).encode()
    file_hash = options.get("content") or files_hash([*files.values()])
    return text_source(path.name, lambda split: [texts[split]], [*files], options, file_hash)
