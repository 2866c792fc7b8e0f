"""Samples as one picture: a PNG of rows or of paths, or a moving GIF. The kind of the data draws the picture.

The same arrays give the same bytes.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from gen_jax.data.kinds import KINDS, kind_of
from gen_jax.data.kinds.kind import Draw
from gen_jax.data.kinds.video import gif, with_first_frames
from gen_jax.data.spec import Spec
from gen_jax.errors import choose

LINES = 8  # largest number of samples below one another beside their conditions
GAP = 8  # pixels between two groups of lines
GROUND = (64, 64, 64)  # colour behind the images
TEXT_WIDTH, LETTERS, FONT = 150, 24, 15  # width of a text in pixels and in letters, and height of a line of text
FRAME = 60  # milliseconds for which an animation shows a frame; a GIF counts in tens of milliseconds


def picture(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns samples as one PNG, see `picture_of`.

    Args:
      samples: samples in the domain of the data.
      spec: facts of the data.

    Raises:
      UserError: for data of a kind without pictures.
    """
    return png(picture_of(samples, spec))


def picture_of(samples: Mapping[str, np.ndarray], spec: Spec) -> Image.Image:
    """Returns samples as one picture. A sequence is drawn up to its `length`.

    Samples with a condition `c` are drawn one below the other: the condition, the sample and, if there is one, `truth`.

    Args:
      samples: samples in the domain of the data.
      spec: facts of the data.

    Raises:
      UserError: for data of a kind without pictures.
    """
    x = samples["x"]
    if "c" in samples and spec.condition is not None and kind_of(spec).still:
        return beside_condition(samples, spec)
    if kind_of(spec).film:
        x = with_first_frames(samples, spec)
    if "length" in samples:
        x = np.where(_frames(samples["length"], x), x.astype(np.float64), np.nan)
    return _drawing(spec, "picture")(x, spec)


def beside_condition(samples: Mapping[str, np.ndarray], spec: Spec) -> Image.Image:
    """Returns images beside their conditions, in groups of lines that stand side by side.

    Args:
      samples: `x`, `c`, and `truth` if it is known, in the domain of the data; `c_length` if the lengths of `c` differ.
      spec: facts of the data.
    """
    num = len(samples["x"])
    groups = -(-num // LINES)
    lines = -(-num // groups)
    columns = []
    for start in range(0, num, lines):
        rows = {name: value[start : start + lines] for name, value in samples.items()}
        columns += [column_of(rows["x"], spec)]
        columns[-1:-1] = [condition_column(rows, spec, columns[-1].height // len(rows["x"]))]
        if "truth" in rows:
            columns.append(column_of(rows["truth"], spec))
        columns.append(Image.new("RGB", (GAP, 1), GROUND))
    columns.pop()
    height = max(column.height for column in columns)
    canvas = Image.new("RGB", (sum(column.width for column in columns), height), GROUND)
    left = 0
    for column in columns:
        canvas.paste(column, (left, 0))
        left += column.width
    return canvas


def column_of(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns images one below the other.

    Args:
      x: images or class maps [N, ...] in the domain of the data.
      spec: facts of the data.
    """
    return _drawing(spec, "picture")(x, spec, 1).convert("RGB")  # type: ignore[call-arg]


def condition_column(samples: Mapping[str, np.ndarray], spec: Spec, line: int) -> Image.Image:
    """Returns conditions one below the other: images, enlarged to the height of a line, or texts.

    Args:
      samples: `c`, and `c_length` if the lengths differ.
      spec: facts of the data.
      line: height of a line in pixels.
    """
    condition, c = spec.condition, samples["c"]
    assert condition is not None
    num = len(c)
    if kind_of(condition).still:
        column = column_of(c, condition)
        height = num * line
        return column.resize((round(column.width * height / column.height), height), Image.Resampling.NEAREST)
    canvas = Image.new("RGB", (TEXT_WIDTH, num * line), GROUND)
    draw = ImageDraw.Draw(canvas)
    for number in range(num):
        length = samples["c_length"][number] if "c_length" in samples else len(c[number])
        value = c[number][:length]
        read = kind_of(condition).read_tokens
        text = ", ".join(f"{entry:g}" for entry in value.ravel()) if read is None else read(condition, value)
        lines = textwrap.wrap(text, LETTERS)[: max(1, line // FONT)]
        draw.multiline_text((2, number * line), "\n".join(lines), fill="white")
    return canvas


def strip(x: np.ndarray, spec: Spec) -> bytes:
    """Returns paths as one PNG: images in N rows of T images, vectors as N lines.

    Args:
      x: paths [N, T, *shape] in the domain of the data.
      spec: facts of the data.

    Raises:
      UserError: for data of a kind without pictures of paths.
    """
    return png(_drawing(spec, "strip")(x, spec))


def animate(frames: Sequence[np.ndarray], spec: Spec) -> bytes:
    """Returns samples as a GIF of T pictures that plays endlessly.

    Args:
      frames: T arrays of samples [N, *shape] in the domain of the data.
      spec: facts of the data.

    Raises:
      UserError: for data of a kind without pictures.
    """
    draw = _drawing(spec, "picture")
    return gif([draw(x, spec) for x in frames], FRAME)


def _drawing(spec: Spec, field: str) -> Draw:
    """Returns the function by which the kind of the data draws a `picture` or a `strip`."""
    drawings = {name: getattr(kind, field) for name, kind in KINDS.items() if getattr(kind, field)}
    return drawings[choose("kind of data to draw", spec.kind, drawings)]


def _frames(length: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns whether frames of sequences [N, T, ...] are within their length [N], with as many axes as `x`."""
    within = np.arange(x.shape[1])[None] < length[:, None]
    return within.reshape(*within.shape, *(1,) * (x.ndim - 2))


def png(image: Image.Image) -> bytes:
    """Returns an image as a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
