"""Random changes of rows in training: of images and their conditions alike, of their light, of the key of music.

The host draws the numbers of a change: the pixels that a changed image shows, the slope and offset of its light, and the
semitones of a piece. The device applies them.
"""

from collections.abc import Sequence

import numpy as np

from gen_jax.data.feed.order import Rows
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError, choose

AUGMENT = 4  # first number of the seeds, so that no two uses share their noise
IMAGES = ("flip", "shift", "zoom", "light")  # changes of images
CHANGES = (*IMAGES, "transpose")
SHARE = 12  # a shift moves an image by at most a twelfth of its side
ZOOM = 1.4  # largest enlargement
LOWEST, HIGHEST = -5, 6  # semitones by which a piece moves; the twelve keys
CONTRAST, BRIGHTNESS, TINT = 0.3, 0.3, 0.1  # largest changes of the light of a photo in [-1, 1]


def changes_of(spec: Spec, text: str | None) -> tuple[str, ...]:
    """Returns the changes that `data.augment` names.

    Args:
      spec: facts of the data.
      text: names in `CHANGES` between commas; None for no change.

    Raises:
      UserError: for an unknown change, a change of images for other rows, a row and a condition of different sides,
        light without a photo of its own as condition, or transpose for rows that are no whole pieces of music.
    """
    if text is None:
        return ()
    changes = tuple(choose("data.augment", change.strip(), CHANGES) for change in text.split(","))
    if "transpose" in changes:
        if kind_of(spec).transpose is None or spec.pieces or len(changes) > 1:
            raise UserError(
                f"data.augment is {text} and {spec.name} holds {spec.kind} data; expected transpose alone, for whole "
                "pieces of music without data.window"
            )
        return changes
    if not changeable(spec):
        raise UserError(f"data.augment is {text} and {spec.name} holds {spec.kind} data; expected images or clips")
    sides = {sides_of(field) for field in spec.fields.values() if changeable(field)}
    if len(sides) > 1:
        raise UserError(
            f"data.augment is {text} and the images of a row have sides {' and '.join(map(str, sides))}; "
            "expected equal sides"
        )
    if "light" in changes and not lit_condition(spec):
        raise UserError(
            f"data.augment is {text} and no condition of {spec.name} is a photo of its own; expected flip, shift or "
            "zoom, because light changes the photo that a row is made from"
        )
    return changes


def changeable(spec: Spec) -> bool:
    """Returns whether rows are images, class maps or clips, whose pixels may move.

    Args:
      spec: facts of the rows.
    """
    return kind_of(spec).still or kind_of(spec).film


def sides_of(spec: Spec) -> tuple[int, ...]:
    """Returns the height and the width of images, class maps or clips.

    Args:
      spec: facts of the rows.
    """
    return tuple(spec.shape[1:3] if kind_of(spec).film else spec.shape[:2])


def lit_condition(spec: Spec) -> bool:
    """Returns whether the condition is a photo of its own, whose light may change.

    A condition that is derived from the row, by `data.hole` or `data.shrink`, has the light of the row.

    Args:
      spec: facts of the data.
    """
    derived = {"hole", "shrink"} & spec.info.keys()
    return spec.condition is not None and kind_of(spec.condition).pixels and not derived


def changes_of_step(spec: Spec, changes: Sequence[str], seed: int, step: int, num: int) -> Rows:
    """Returns the numbers of the changes of a step.

    `lines` [num, H] and `columns` [num, W] are the pixels that a changed image shows. An image that is shifted repeats
    the pixels of its border, and an enlarged image shows the nearest pixels of its middle. `slope` [num] and `offset`
    [num, C] are the light of a condition, if it changes. `semitones` [num] move pieces of music.

    Args:
      spec: facts of the data.
      changes: names in `CHANGES`.
      seed: seed of the run.
      step: number of the step.
      num: number of rows.
    """
    if not changes:
        return {}
    random = np.random.default_rng([AUGMENT, seed, step])
    if "transpose" in changes:
        return {"semitones": random.integers(LOWEST, HIGHEST + 1, num).astype(np.int32)}
    zoom = random.uniform(1, ZOOM, (num, 1)) if "zoom" in changes else np.ones((num, 1))
    places = []
    for side in sides_of(spec):
        most = side // SHARE if "shift" in changes else 0
        offset = random.integers(-most, most + 1, (num, 1))
        middle = (side - 1) / 2
        pixel = np.rint(middle + (np.arange(side)[None] - middle) / zoom).astype(np.int32)
        places.append((pixel + offset).clip(0, side - 1).astype(np.int32))
    lines, columns = places
    if "flip" in changes:
        columns = np.where(random.random((num, 1)) < 0.5, columns[:, ::-1], columns)
    pixels: Rows = {"lines": lines, "columns": columns}
    if "light" not in changes:
        return pixels
    assert spec.condition is not None
    slope = random.uniform(1 - CONTRAST, 1 + CONTRAST, num)
    tint = random.uniform(-TINT, TINT, (num, spec.condition.shape[-1]))
    light = random.uniform(-BRIGHTNESS, BRIGHTNESS, (num, 1)) + tint
    return {**pixels, "slope": slope.astype(np.float32), "offset": light.astype(np.float32)}


def changed(spec: Spec, batch: Rows) -> Rows:
    """Returns a batch with the pixels that `changes_of_step` names, and without these numbers. On the device.

    Args:
      spec: facts of the data.
      batch: `x`, `c` and other arrays; `lines` and `columns` if images are changed, `semitones` if music is.
    """
    if "semitones" in batch:
        batch = dict(batch)
        move = kind_of(spec).transpose
        assert move is not None  # because `changes_of` refuses other rows
        return {**batch, "x": move(batch["x"], batch.pop("semitones"), spec)}
    if "lines" not in batch:
        return batch
    batch = dict(batch)
    lines, columns = batch.pop("lines"), batch.pop("columns")
    rows = np.arange(len(lines))[:, None, None]
    for name, field in spec.fields.items():
        if kind_of(field).still:
            batch[name] = batch[name][rows, lines[:, :, None], columns[:, None, :]]
        elif kind_of(field).film:
            frames = np.arange(field.shape[0])[None, :, None, None]
            batch[name] = batch[name][rows[..., None], frames, lines[:, None, :, None], columns[:, None, None, :]]
    return batch


def lit(batch: Rows) -> Rows:
    """Returns a batch whose condition has another light, slope c + offset, clipped to [-1, 1]. On the device.

    Args:
      batch: `c` [N, H, W, C] in model space and other arrays; `slope` and `offset` if the light changes.
    """
    if "slope" not in batch:
        return batch
    batch = dict(batch)
    slope, offset = batch.pop("slope"), batch.pop("offset")
    c = batch["c"] * slope[:, None, None, None] + offset[:, None, None]
    return {**batch, "c": c.clip(-1, 1)}
