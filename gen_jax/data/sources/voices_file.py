"""An .npz file of pieces of several voices as a source of rows, with a split for each pair of arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.cache import files_hash
from gen_jax.data.kinds.voices import SILENT
from gen_jax.data.npz_files import read_archive
from gen_jax.data.source import Source
from gen_jax.errors import UserError, readable

PARTS = {"train": "train", "validation": "val", "test": "test"}  # split -> end of the names of its arrays
HIGHEST = 127  # highest MIDI pitch


def voices_file(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens pieces of V voices as rows [T, V] of symbols: `SILENT`, and each pitch from the lowest to the highest.

    The arrays of a split, such as train, are `x_train` [frames, V], MIDI pitches or -1 for a silent voice, with the
    pieces one after the other, and `length_train` [N], the frames of each piece.

    Args:
      path: the file.
      options: the `data` section of a config, of which `content` is read, the hash of the content if it is known.

    Raises:
      UserError: for a file that cannot be read, or arrays that are no such pieces.
    """
    with readable(f"data.path {path}", "an array file"):
        arrays = read_archive(path)
    known = {f"{array}_{part}" for array in ("x", "length") for part in PARTS.values()}
    others = sorted({*arrays} - known)
    if others:
        raise UserError(f"data.path {path} holds the array {others[0]!r}; expected {', '.join(sorted(known))} alone")
    pieces = {split: pieces_of(path, arrays, part) for split, part in PARTS.items() if f"x_{part}" in arrays}
    voices = {piece.shape[1] for split in pieces.values() for piece in split}
    if len(voices) != 1 or not pieces.get("train"):
        raise UserError(
            f"data.path {path} has pieces of {sorted(voices)} voices; expected one number, and a piece to train on"
        )
    sounding = np.concatenate([piece[piece != SILENT] for split in pieces.values() for piece in split])
    if not sounding.size:
        raise UserError(f"data.path {path} holds silence alone; expected pitches")
    low, high = int(sounding.min()), int(sounding.max())
    longest = max(len(piece) for split in pieces.values() for piece in split)
    lengths = {split: np.array([len(piece) for piece in rows], int) for split, rows in pieces.items()}
    (num_voices,) = voices

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        x = np.zeros((len(indices), longest, num_voices), np.uint8)
        for row, index in enumerate(indices):
            piece = pieces[split][index]
            x[row, : len(piece)] = np.where(piece == SILENT, 0, piece - low + 1)
        return {"x": x, "length": lengths[split][indices].astype(np.int32)}

    vocabulary = [SILENT, *range(low, high + 1)]
    return Source(
        name=path.stem,
        kind="voices",
        shape=(longest, num_voices),
        dtype=np.dtype(np.uint8),
        sizes={split: len(rows) for split, rows in pieces.items()},
        rows=rows,
        content=options.get("content") or files_hash([path]),
        limits=(0, len(vocabulary) - 1),
        info={"ragged": True, "vocabulary": vocabulary},
        lengths=lengths.__getitem__,
    )


def pieces_of(path: Path, arrays: Mapping[str, np.ndarray], part: str) -> list[np.ndarray]:
    """Returns the pieces of a split, arrays [T, V] of int.

    Args:
      path: the file, for the errors.
      arrays: all arrays of the file.
      part: end of the names of the arrays.

    Raises:
      UserError: for arrays that are no such pieces.
    """
    x, length = arrays[f"x_{part}"], arrays.get(f"length_{part}")
    if length is None or length.ndim != 1 or length.dtype.kind not in "iu" or (length < 1).any():
        raise UserError(
            f"length_{part} of data.path {path} is missing or wrong; expected the frames of each piece, [N]"
        )
    if x.ndim != 2 or not x.shape[1] or x.dtype.kind not in "iu":
        raise UserError(f"x_{part} of data.path {path} is {x.dtype}{[*x.shape]}; expected whole numbers [frames, V]")
    if int(length.sum()) != len(x):
        raise UserError(
            f"length_{part} of data.path {path} sums to {int(length.sum())}; expected {len(x)}, the frames of x_{part}"
        )
    x = x.astype(int)
    wrong = x[(x < SILENT) | (x > HIGHEST)]
    if wrong.size:
        raise UserError(
            f"x_{part} of data.path {path} holds {wrong[0]}; expected MIDI pitches up to {HIGHEST}, or {SILENT} for silence"
        )
    return np.split(x, np.cumsum(length)[:-1]) if len(length) else []
