"""Divides the rows of paired data into splits: by a column of names, or by a hash of the names of the rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.source import Source, say_once
from gen_jax.errors import check_share

Places = Mapping[str, np.ndarray]  # split -> numbers of its rows [n]
SPLITS = {  # name of a folder or a file -> its split
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


def split_name(name: str) -> str:
    """Returns the name of a split in this project.

    Args:
      name: name of the split in the data.
    """
    return SPLITS.get(name, name)


def splits_by_name(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the rows of each split, in the order in which the splits occur.

    Args:
      names: name of the split of each row [N].
    """
    rows = np.array([split_name(name) for name in names], object)
    return {name: np.flatnonzero(rows == name) for name in dict.fromkeys(rows.tolist())}


def held_out(
    origin: str, names: Sequence[str], options: Mapping[str, Any], plural: str = "pairs"
) -> dict[str, np.ndarray]:
    """Returns a training split and a test split of rows without splits.

    The test split has a share `data.holdout` of the rows, at least one, with the smallest hashes of their names. So it
    does not depend on the order of the rows.

    Args:
      origin: name of the data, for messages.
      names: name of each row [N].
      options: the `data` section of a config, of which `holdout`, `split` and `test_split` are read.
      plural: name of the rows, for the message; by default `pairs`.

    Raises:
      UserError: for a share below 0, or a share of 1 or more.
    """
    share, train, test = options.get("holdout") or 0, options["split"], options.get("test_split") or "test"
    check_share("data.holdout", share)
    num = len(names)
    if not share or num < 2 or train == test:
        return {train: np.arange(num)}
    size = min(max(1, round(share * num)), num - 1)
    order = sorted(range(num), key=lambda row: (content_hash(names[row]), row))
    say_once(
        f"{origin}: {size:,} of its {num:,} {plural} are the {test} split; --config.data.holdout=0 trains on all of them"
    )
    return {train: np.array(sorted(order[size:])), test: np.array(sorted(order[:size]))}


def regrouped(source: Source, places: Places) -> Source:
    """Returns a source whose rows, all in `train`, are divided into splits.

    Args:
      source: the source.
      places: numbers of the rows of each split.
    """
    lengths = source.lengths
    return source._replace(
        sizes={split: len(rows) for split, rows in places.items()},
        rows=lambda split, indices: source.rows("train", places[split][indices]),
        lengths=None if lengths is None else lambda split: lengths("train")[places[split]],
        condition=None if source.condition is None else regrouped(source.condition, places),
    )
