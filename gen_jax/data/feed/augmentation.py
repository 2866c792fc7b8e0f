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
EXACT = ("flip", "turn")  # changes of images that commute with shrinking
IMAGES = (*EXACT, "shift", "zoom", "light")  # changes of images
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
      UserError: for an unknown change, a change of images for other rows, a row and a condition of different sides
        (unless those of the condition are a multiple, or it is the shrunk row, which flip and turn serve), turn without
        squares, light without a photo of its own as condition, or transpose for rows that are no whole pieces of music.
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
    sides = [sides_of(field) for field in spec.fields.values() if changeable(field)]
    if not (in_proportion(sides) or ("shrink" in spec.info and {*changes} <= {*EXACT})):
        raise UserError(
            f"data.augment is {text} and the images of a row have sides {' and '.join(map(str, sides))}; "
            "expected equal sides, a multiple of them for the condition, or flip and turn alone for images beside their "
            "shrunk images"
        )
    if "turn" in changes and any(height != width for height, width in sides):
        raise UserError(f"data.augment is {text} and the sides of an image are {sides[0]}; expected a square for turn")
    if "light" in changes and not lit_condition(spec):
        raise UserError(
            f"data.augment is {text} and no condition of {spec.name} is a photo of its own; expected flip, turn, shift or "
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


def in_proportion(sides: Sequence[tuple[int, ...]]) -> bool:
    """Returns whether the sides of each image are those of the first, times one whole number.

    Args:
      sides: height and width of the images of a row; the modelled image is the first.
    """
    height, width = sides[0]
    return all(other == (other[0] // height * height, other[0] // height * width) for other in sides)


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
    the pixels of its border, and an enlarged image shows the nearest pixels of its middle. A condition of other sides
    has `c_lines` and `c_columns`, and is shifted by as large a share of its sides. Images are transposed where `transposed` [num] is 1; this and two mirrors make the
    eight ways to lay a square. `slope` [num] and `offset` [num, C] are the light of a condition, if it changes.
    `semitones` [num] move pieces of music.

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
    most = [side // SHARE if "shift" in changes else 0 for side in sides_of(spec)]
    offsets = [random.integers(-largest, largest + 1, (num, 1)) for largest in most]
    mirrored = [np.zeros((num, 1), bool)] * 2  # lines and columns
    if "flip" in changes:
        mirrored[1] = random.random((num, 1)) < 0.5
    pixels: Rows = {}
    if "turn" in changes:
        mirrored = [random.random((num, 1)) < 0.5 for _ in mirrored]
        pixels["transposed"] = random.integers(0, 2, num).astype(np.int32)
    for name, field in spec.fields.items():
        if changeable(field) and (name == "x" or sides_of(field) != sides_of(spec)):
            prefix = "" if name == "x" else f"{name}_"
            scale = sides_of(field)[0] // sides_of(spec)[0]
            for axis, side, offset, mirror in zip(("lines", "columns"), sides_of(field), offsets, mirrored):
                pixels[f"{prefix}{axis}"] = shown_pixels(side, zoom, scale * offset, mirror)
    if "light" not in changes:
        return pixels
    assert spec.condition is not None
    slope = random.uniform(1 - CONTRAST, 1 + CONTRAST, num)
    tint = random.uniform(-TINT, TINT, (num, spec.condition.shape[-1]))
    light = random.uniform(-BRIGHTNESS, BRIGHTNESS, (num, 1)) + tint
    return {**pixels, "slope": slope.astype(np.float32), "offset": light.astype(np.float32)}


def shown_pixels(side: int, zoom: np.ndarray, offset: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Returns the pixels that changed images show along one axis, [num, side] int32.

    Args:
      side: number of pixels.
      zoom: enlargement about the middle [num, 1].
      offset: number of pixels by which an image is shifted [num, 1].
      mirror: whether an image is mirrored [num, 1].
    """
    middle = (side - 1) / 2
    pixel = np.rint(middle + (np.arange(side)[None] - middle) / zoom).astype(np.int32)
    pixel = (pixel + offset).clip(0, side - 1).astype(np.int32)
    return np.where(mirror, pixel[:, ::-1], pixel)


def changed(spec: Spec, batch: Rows) -> Rows:
    """Returns a batch with the pixels that `changes_of_step` names, and without these numbers. On the device.

    Args:
      spec: facts of the data.
      batch: `x`, `c` and other arrays, and the numbers of `changes_of_step`.
    """
    if "semitones" in batch:
        batch = dict(batch)
        move = kind_of(spec).transpose
        assert move is not None  # because `changes_of` refuses other rows
        return {**batch, "x": move(batch["x"], batch.pop("semitones"), spec)}
    if "lines" not in batch:
        return batch
    batch = dict(batch)
    axes = [name for name in batch if name.endswith(("lines", "columns"))]
    pixels, transposed = {name: batch.pop(name) for name in axes}, batch.pop("transposed", None)
    rows = np.arange(len(pixels["lines"]))[:, None, None]
    for name, field in spec.fields.items():
        if not changeable(field):
            continue
        prefix = f"{name}_" if f"{name}_lines" in pixels else ""
        lines, columns = pixels[f"{prefix}lines"][:, :, None], pixels[f"{prefix}columns"][:, None, :]
        if transposed is not None:  # a line of the one is a column of the other
            swap = transposed[:, None, None]
            lines = lines * (1 - swap) + lines.swapaxes(1, 2) * swap
            columns = columns * (1 - swap) + columns.swapaxes(1, 2) * swap
        if kind_of(field).film:
            frames = np.arange(field.shape[0])[None, :, None, None]
            batch[name] = batch[name][rows[..., None], frames, lines[:, None], columns[:, None]]
        else:
            batch[name] = batch[name][rows, lines, columns]
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
