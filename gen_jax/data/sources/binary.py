"""Images in black and white, drawn from grey ones: a pixel is 1 with the probability of its place in their domain."""

from collections.abc import Sequence

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds import kind_of
from gen_jax.data.source import Source
from gen_jax.data.spec import small
from gen_jax.errors import UserError

BINARY = ("static_binary", "dynamic_binary")  # drawn once and for all; for training anew at every step
STATIC, DYNAMIC = 1, 2  # begin the seeds, so that no two uses share their noise


def noise(seed: Sequence[int], limits: Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
    """Whole numbers u from low to high - 1, uniform, so that P(u < x) = (x - low) / (high - low) exactly for grey x."""
    dtype = np.result_type(*(np.min_scalar_type(limit) for limit in limits))
    return np.random.default_rng(seed).integers(*limits, shape, dtype)


def binarised(source: Source, transform: str) -> Source:
    """Images whose pixels are 0 or 1, a fixed draw from the grey ones of `source`; binary ones stay what they are.

    What a row becomes depends on its split and number alone. Where the transform is dynamic, rows have their `grey` too,
    from which `load` draws what is learnt from, and all that is measured is the fixed draw.

    Raises:
      UserError: for anything but images of small whole numbers with a known domain.
    """
    if not kind_of(source).pixels or source.limits is None or not small(source.dtype):
        raise UserError(
            f"data.transform {transform!r}: expected images of whole numbers with a known domain, such as 8 bits; "
            f"{source.name} holds {source.kind} data of {source.dtype}"
        )

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = source.rows(split, indices)
        seeds = ([STATIC, int(index), *split.encode()] for index in indices)
        u = np.stack([noise(seed, source.limits, source.shape) for seed in seeds])
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
    """Rows as training reads them: `x` is grey where every step draws it anew."""
    rest = {name: value for name, value in rows.items() if name != "grey"}
    return {**rest, "x": rows.get("grey", rows["x"])}
