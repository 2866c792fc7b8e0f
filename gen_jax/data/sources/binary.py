"""Draws black and white images from grey images: a pixel is 1 with probability (grey - low) / (high - low)."""

from collections.abc import Sequence

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.domain import small
from gen_jax.data.kinds import kind_of
from gen_jax.data.source import Source
from gen_jax.errors import UserError

BINARY = ("static_binary", "dynamic_binary")  # drawn once; drawn again at each training step
STATIC, DYNAMIC = 1, 2  # first numbers of the seeds, so that no two uses share their noise


def noise(seed: Sequence[int], limits: Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
    """Draws whole numbers u uniformly from low to high - 1.

    For a grey x, P(u < x) is exactly (x - low) / (high - low).

    Args:
      seed: seed of the draw.
      limits: low and high, the domain of the grey images.
      shape: shape of the numbers.
    """
    low, high = limits
    dtype = np.result_type(np.min_scalar_type(low), np.min_scalar_type(high))
    return np.random.default_rng(seed).integers(low, high, shape, dtype)


def binarised(source: Source, transform: str) -> Source:
    """Returns images whose pixels are 0 or 1, as a fixed draw from grey images. Black and white images do not change.

    The draw of a row depends on its split and its number alone. A dynamic transform also keeps the grey image as
    `grey`. Training draws from `grey` at each step, and measures read the fixed draw.

    Args:
      source: grey images.
      transform: one of `BINARY`.

    Raises:
      UserError: for data other than images of small whole numbers with a known domain.
    """
    if not kind_of(source).pixels or source.limits is None or not small(source.dtype):
        raise UserError(
            f"data.transform is {transform!r} and {source.name} holds {source.kind} data of {source.dtype}; expected "
            "images of whole numbers with a known domain, such as 8 bits"
        )

    limits = [int(limit) for limit in source.limits]

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = source.rows(split, indices)
        seeds = ([STATIC, int(index), *split.encode()] for index in indices)
        u = np.stack([noise(seed, limits, source.shape) for seed in seeds])
        grey = {"grey": batch["x"]} if transform == "dynamic_binary" else {}
        return {**batch, **grey, "x": (u < batch["x"]).astype(np.uint8)}

    return source._replace(
        dtype=np.dtype(np.uint8),
        rows=rows,
        content=content_hash(source.content, transform),
        limits=(0, 1),
        info={**source.info, transform: list(source.limits)},
    )


def drawn_from(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns rows in the form that training reads. `x` is grey if each step draws it again.

    Args:
      rows: rows with `x`, and `grey` if each step draws `x` again.
    """
    rest = {name: value for name, value in rows.items() if name != "grey"}
    return {**rest, "x": rows.get("grey", rows["x"])}
