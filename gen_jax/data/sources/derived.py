"""Makes sources from other sources: stacked images, shrunk images beside images, a test split of another data set."""

from functools import lru_cache
from itertools import product

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds import kind_of
from gen_jax.data.resizing import shrunk
from gen_jax.data.source import Source
from gen_jax.errors import UserError, choose

HOLE = 5  # first number of the seeds, so that no two uses share their noise
STACKED_ROWS = {"train": 128_000}  # rows of a stacked set, as in PacGAN's experiments; other splits have 26,000 rows


def stacked(source: Source, channels: int) -> Source:
    """Returns images whose channels are random grey images of a source, such as Stacked-MNIST.

    The label is the number that the labels of the channels spell. So K classes become K^channels classes (Metz et al.
    2017, arXiv 1611.02163, section 3.3.1). The images of a row depend on its split and its number alone.

    Args:
      source: grey images.
      channels: number of channels, 2 to 4.

    Raises:
      UserError: for images that are not grey, or another number of channels.
    """
    if not kind_of(source).pixels or source.shape[2] != 1:
        raise UserError(f"data.stack is {channels} and {source.name} has rows of {source.shape}; expected grey images")
    if not 2 <= channels <= 4:
        raise UserError(f"data.stack is {channels}; expected 2 to 4 channels")
    sizes = {split: STACKED_ROWS.get(split, 26_000) for split, rows in source.sizes.items() if rows}

    @lru_cache
    def parts(split: str) -> np.ndarray:
        seed = [channels, *split.encode()]
        return np.random.default_rng(seed).integers(source.sizes[split], size=(sizes[split], channels))

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        needed, where = np.unique(parts(split)[indices], return_inverse=True)
        batch, where = source.rows(split, needed), where.reshape(-1, channels)  # [n, channels]
        together = {"x": np.concatenate([batch["x"][where[:, channel]] for channel in range(channels)], axis=-1)}
        if "y" in batch:
            places = len(source.classes) ** np.arange(channels)[::-1]
            together["y"] = (batch["y"][where] * places[None]).sum(1).astype(np.int32)
        return together

    classes = tuple(" ".join(names) for names in product(source.classes, repeat=channels)) if source.classes else ()
    return source._replace(
        name=f"{source.name}, {channels} stacked",
        shape=(*source.shape[:2], channels),
        sizes=sizes,
        rows=rows,
        content=content_hash(source.content, channels, sizes),
        classes=classes,
        info={**source.info, "stacked": channels},
    )


def with_shrunk(source: Source, scale: int) -> Source:
    """Returns images with the condition `c`, their shrunk images.

    Args:
      source: images.
      scale: ratio of the sides of an image and its shrunk image.

    Raises:
      UserError: for rows that are not images of 8 bits, rows with a condition, or sides that the scale does not divide.
    """
    if not kind_of(source).pixels or source.dtype != np.uint8 or source.condition is not None:
        raise UserError(
            f"data.shrink is {scale} and {source.name} holds other rows; expected images of 8 bits without a condition"
        )
    height, width, channels = source.shape
    if scale < 2 or height % scale or width % scale:
        raise UserError(f"data.shrink is {scale}; expected 2 or more that divides the sides {height} and {width}")
    low, high = source.limits or (0, 255)

    def small(x: np.ndarray) -> np.ndarray:
        return np.stack([np.clip(shrunk(image, scale), low, high) for image in x]).astype(np.uint8)

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = source.rows(split, indices)
        return {**batch, "c": small(batch["x"])}

    condition = source._replace(
        shape=(height // scale, width // scale, channels),
        rows=lambda split, indices: {"x": rows(split, indices)["c"]},
        classes=(),
    )
    return source._replace(
        rows=rows,
        content=content_hash(source.content, "shrink", scale),
        info={**source.info, "shrink": scale},
        condition=condition,
    )


def with_hole(source: Source, share: float) -> Source:
    """Returns images with the condition `c`, the same images with a square hole and a channel that shows the hole.

    The hole is grey, and the channel is 255 inside. Its place depends on the split and the number of the row alone.

    Args:
      source: images.
      share: ratio of the sides of the hole and of the image.

    Raises:
      UserError: for rows that are not images of 8 bits with at most 3 channels, rows with a condition, or a share that is
        not between 0 and 1.
    """
    eight_bits = kind_of(source).pixels and source.dtype == np.uint8 and source.shape[2] <= 3
    if not eight_bits or source.condition is not None:
        raise UserError(
            f"data.hole is {share} and {source.name} holds other rows; expected images of 8 bits without a condition"
        )
    if not 0 < share < 1:
        raise UserError(f"data.hole is {share}; expected a share of the sides between 0 and 1")
    height, width, channels = source.shape
    sides = [max(1, round(share * side)) for side in (height, width)]
    low, high = source.limits or (0, 255)

    def broken(split: str, indices: np.ndarray, x: np.ndarray) -> np.ndarray:
        c = np.concatenate([x, np.full_like(x[..., :1], low)], -1)
        for row, index in enumerate(indices):
            random = np.random.default_rng([HOLE, int(index), *split.encode()])
            top, left = (int(random.integers(side - hole + 1)) for side, hole in zip((height, width), sides))
            c[row, top : top + sides[0], left : left + sides[1]] = [*[(low + high) // 2] * channels, high]
        return c

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = source.rows(split, indices)
        return {**batch, "c": broken(split, indices, batch["x"])}

    condition = source._replace(
        shape=(height, width, channels + 1),
        rows=lambda split, indices: {"x": rows(split, indices)["c"]},
        classes=(),
    )
    return source._replace(
        rows=rows,
        content=content_hash(source.content, "hole", share),
        info={**source.info, "hole": share},
        condition=condition,
    )


def joined(source: Source, test: Source, split: str) -> Source:
    """Returns a source with one split replaced by the split of another source.

    Labels stay if both sources have the same classes.

    Args:
      source: source of all other splits.
      test: source of the replaced split.
      split: name of the replaced split.

    Raises:
      UserError: if `test` lacks the split, or has rows of another kind, shape or domain.
    """
    choose(f"data.test_split of {test.name}:", split, test.sizes)
    for fact, field in {"kind": "kind", "shape": "shape", "domain": "limits"}.items():
        expected, value = getattr(source, field), getattr(test, field)
        if value != expected:
            raise UserError(
                f"{fact} of data.test_name {test.name} is {value}; expected {expected}, as in {source.name}"
            )
    labelled = source.classes == test.classes

    def rows(part: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = (test if part == split else source).rows(part, indices)
        return batch if labelled else {name: value for name, value in batch.items() if name != "y"}

    return source._replace(
        name=f"{source.name}, tested on {test.name}",
        sizes={**source.sizes, split: test.sizes[split]},
        rows=rows,
        content=content_hash(source.content, test.content, split),
        classes=source.classes if labelled else (),
    )
