"""Makes sources from other sources: stacked images, shrunk images beside images, a test split of another data set."""

from collections.abc import Callable
from functools import lru_cache
from itertools import product

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds import kind_of
from gen_jax.data.resizing import shrunk
from gen_jax.data.source import Source
from gen_jax.errors import UserError, choose

UNLABELLED = "without labels"  # part of the hash, because an earlier version kept the labels
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


Derive = Callable[[str, np.ndarray, np.ndarray], np.ndarray]  # (split, row numbers, images of 8 bits) -> conditions


def with_derived(source: Source, setting: str, value: float, shape: tuple[int, ...], derive: Derive) -> Source:
    """Returns images with the condition `c`, which is derived from the images. Labels are left out.

    Whoever repairs or enlarges an image does not know its label, so that a model must not read it.

    Args:
      source: images.
      setting: name of the setting of the `data` section, which becomes a fact of the data.
      value: value of the setting.
      shape: shape of a condition.
      derive: function that derives the conditions.
    """

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        x = source.rows(split, indices)["x"]
        return {"x": x, "c": derive(split, indices, x)}

    condition = source._replace(shape=shape, rows=lambda split, indices: {"x": rows(split, indices)["c"]}, classes=())
    return source._replace(
        rows=rows,
        content=content_hash(source.content, setting, value, *([UNLABELLED] if source.classes else [])),
        classes=(),
        info={**source.info, setting: value},
        condition=condition,
    )


def refuse_other_rows(source: Source, setting: str, value: float) -> None:
    """Refuses rows from which no condition can be derived.

    Args:
      source: the rows.
      setting: name of the setting of the `data` section.
      value: value of the setting.

    Raises:
      UserError: for rows that are not images of 8 bits, or rows with a condition.
    """
    if not kind_of(source).pixels or source.dtype != np.uint8 or source.condition is not None:
        raise UserError(
            f"data.{setting} is {value} and {source.name} holds other rows; expected images of 8 bits without a condition"
        )


def with_shrunk(source: Source, scale: int) -> Source:
    """Returns images with the condition `c`, their shrunk images.

    Args:
      source: images.
      scale: ratio of the sides of an image and its shrunk image.

    Raises:
      UserError: for a scale that does not divide the sides, and as `refuse_other_rows`.
    """
    low, high = source.limits or (0, 255)

    def derive(split: str, indices: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.stack([np.clip(shrunk(image, scale), low, high) for image in x]).astype(np.uint8)

    refuse_other_rows(source, "shrink", scale)
    height, width, channels = source.shape
    if scale < 2 or height % scale or width % scale:
        raise UserError(f"data.shrink is {scale}; expected 2 or more that divides the sides {height} and {width}")
    return with_derived(source, "shrink", scale, (height // scale, width // scale, channels), derive)


def with_hole(source: Source, share: float) -> Source:
    """Returns images with the condition `c`, the same images with a hole and a further channel that shows the hole.

    The hole is grey, and the channel has the largest value inside. The place of the hole depends on the split and the
    number of the row alone.

    Args:
      source: images of at most 3 channels.
      share: ratio of the sides of the hole and of the image.

    Raises:
      UserError: for a share that is not between 0 and 1, images of 4 channels, and as `refuse_other_rows`.
    """
    low, high = source.limits or (0, 255)

    def derive(split: str, indices: np.ndarray, x: np.ndarray) -> np.ndarray:
        c = np.concatenate([x, np.full_like(x[..., :1], low)], -1)
        holes = [max(1, round(share * side)) for side in x.shape[1:3]]
        for row, index in enumerate(indices):
            random = np.random.default_rng([HOLE, int(index), *split.encode()])
            top, left = (int(random.integers(side - hole + 1)) for side, hole in zip(x.shape[1:3], holes))
            c[row, top : top + holes[0], left : left + holes[1]] = [*[(low + high) // 2] * x.shape[3], high]
        return c

    refuse_other_rows(source, "hole", share)
    height, width, channels = source.shape
    if not 0 < share < 1 or channels > 3:
        raise UserError(
            f"data.hole is {share} for images of {channels} channels; expected a share of the sides between 0 and 1, and at "
            "most 3 channels"
        )
    return with_derived(source, "hole", share, (height, width, channels + 1), derive)


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
