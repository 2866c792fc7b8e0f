"""Cuts sequences into windows, so that they can be read in lanes."""

from functools import cache

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.source import Source
from gen_jax.errors import UserError


def windowed(source: Source, window: int) -> Source:
    """Returns rows that are consecutive pieces of the rows of a source.

    A piece has `window` frames, and the last piece of a row has the rest. A piece has its `length`, the label of its
    row if there are labels, and `reset`: whether it begins a row of the source.

    Args:
      source: sequences.
      window: number of frames of a piece.

    Raises:
      UserError: for a window below 1.
    """
    if window < 1:
        raise UserError(f"data.window is {window}; expected at least 1 frame a row, or none for whole sequences")

    @cache
    def places(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns for each piece its row in the source, its first frame in this row, and its length."""
        whole = np.full(source.sizes[split], source.shape[0])
        lengths = source.lengths(split) if source.lengths else whole
        pieces = -(-lengths // window)
        row = np.repeat(np.arange(len(lengths)), pieces)
        start = window * (np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces))
        return row, start, np.minimum(lengths[row] - start, window)

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        row, start, length = (facts[indices] for facts in places(split))
        needed, where = np.unique(row, return_inverse=True)
        whole = source.rows(split, needed)
        x = np.zeros((len(row), window, *source.shape[1:]), source.dtype)
        for piece in range(len(row)):
            x[piece, : length[piece]] = whole["x"][where[piece], start[piece] :][: length[piece]]
        labels = {"y": whole["y"][where]} if "y" in whole else {}
        return {"x": x, "length": length.astype(np.int32), "reset": start == 0, **labels}

    return source._replace(
        shape=(window, *source.shape[1:]),
        sizes={split: len(places(split)[0]) for split in source.sizes},
        rows=rows,
        content=content_hash(source.content, window),
        info={**source.info, "ragged": True, "pieces": True},
        lengths=lambda split: places(split)[2],
    )
