"""Random flips and shifts of images, the same for the images of a row and its condition. On the host.

The host sends the numbers of the pixels that a changed image shows; the device gathers them.
"""

from collections.abc import Sequence

import numpy as np

from gen_jax.data.feed.order import Rows
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError, choose

AUGMENT = 4  # first number of the seeds, so that no two uses share their noise
CHANGES = ("flip", "shift")
SHARE = 12  # a shift moves an image by at most a twelfth of its side


def changes_of(spec: Spec, text: str | None) -> tuple[str, ...]:
    """Returns the changes that `data.augment` names.

    Args:
      spec: facts of the data.
      text: names in `CHANGES` between commas; None for no change.

    Raises:
      UserError: for an unknown change, rows without images, or a row and a condition of different sides.
    """
    if text is None:
        return ()
    changes = tuple(choose("data.augment", change.strip(), CHANGES) for change in text.split(","))
    fields = [field for field in spec.fields.values() if kind_of(field).still]
    if not kind_of(spec).still:
        raise UserError(f"data.augment is {text} and {spec.name} holds {spec.kind} data; expected images")
    sides = {tuple(field.shape[:2]) for field in fields}
    if len(sides) > 1:
        raise UserError(
            f"data.augment is {text} and the images of a row have sides {' and '.join(map(str, sides))}; "
            "expected equal sides"
        )
    return changes


def pixels_of_step(spec: Spec, changes: Sequence[str], seed: int, step: int, num: int) -> Rows:
    """Returns the numbers of the lines [num, H] and of the columns [num, W] that the changed images of a step show.

    An image that is shifted repeats the pixels of its border.

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
    places = []
    for side in spec.shape[:2]:
        most = side // SHARE if "shift" in changes else 0
        offset = random.integers(-most, most + 1, (num, 1))
        places.append((np.arange(side)[None] + offset).clip(0, side - 1).astype(np.int32))
    lines, columns = places
    if "flip" in changes:
        columns = np.where(random.random((num, 1)) < 0.5, columns[:, ::-1], columns)
    return {"lines": lines, "columns": columns}


def changed(spec: Spec, batch: Rows) -> Rows:
    """Returns a batch with the pixels that `pixels_of_step` names, and without these numbers. On the device.

    Args:
      spec: facts of the data.
      batch: `x`, `c` and other arrays; `lines` and `columns` if images are changed.
    """
    if "lines" not in batch:
        return batch
    batch = dict(batch)
    lines, columns = batch.pop("lines"), batch.pop("columns")
    rows = np.arange(len(lines))[:, None, None]
    for name, field in spec.fields.items():
        if kind_of(field).still:
            batch[name] = batch[name][rows, lines[:, :, None], columns[:, None, :]]
    return batch
