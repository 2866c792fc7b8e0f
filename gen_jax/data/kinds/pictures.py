"""Samples as one picture: a PNG of rows or of paths, or a moving GIF. The kind of the data draws the picture.

The same arrays give the same bytes.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from gen_jax.data.kinds import KINDS
from gen_jax.data.kinds.kind import Draw
from gen_jax.data.spec import Spec
from gen_jax.errors import choose

FRAME = 60  # milliseconds for which an animation shows a frame; a GIF counts in tens of milliseconds


def picture(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns samples as one PNG, see `picture_of`.

    Args:
      samples: samples in the domain of the data.
      spec: facts of the data.

    Raises:
      UserError: for data of a kind without pictures.
    """
    return _file([picture_of(samples, spec)], "PNG")


def picture_of(samples: Mapping[str, np.ndarray], spec: Spec) -> Image.Image:
    """Returns samples as one picture. A sequence is drawn up to its `length`.

    Args:
      samples: samples in the domain of the data.
      spec: facts of the data.

    Raises:
      UserError: for data of a kind without pictures.
    """
    x = samples["x"]
    if "length" in samples:
        x = np.where(_frames(samples["length"], x), x.astype(np.float64), np.nan)
    return _drawing(spec, "picture")(x, spec)


def strip(x: np.ndarray, spec: Spec) -> bytes:
    """Returns paths as one PNG: images in N rows of T images, vectors as N lines.

    Args:
      x: paths [N, T, *shape] in the domain of the data.
      spec: facts of the data.

    Raises:
      UserError: for data of a kind without pictures of paths.
    """
    return _file([_drawing(spec, "strip")(x, spec)], "PNG")


def animate(frames: Sequence[np.ndarray], spec: Spec) -> bytes:
    """Returns samples as a GIF of T pictures that plays endlessly.

    Args:
      frames: T arrays of samples [N, *shape] in the domain of the data.
      spec: facts of the data.

    Raises:
      UserError: for data of a kind without pictures.
    """
    draw = _drawing(spec, "picture")
    return _file([_paletted(draw(x, spec)) for x in frames], "GIF")


def _drawing(spec: Spec, field: str) -> Draw:
    """Returns the function by which the kind of the data draws a `picture` or a `strip`."""
    drawings = {name: getattr(kind, field) for name, kind in KINDS.items() if getattr(kind, field)}
    return drawings[choose("kind of data to draw", spec.kind, drawings)]


def _frames(length: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns whether frames of sequences [N, T, ...] are within their length [N], with as many axes as `x`."""
    within = np.arange(x.shape[1])[None] < length[:, None]
    return within.reshape(*within.shape, *(1,) * (x.ndim - 2))


def _paletted(image: Image.Image) -> Image.Image:
    """Returns the image in the 256 colours of a GIF. A grey image is not changed."""
    return image if image.mode == "L" else image.convert("RGB").quantize()


def _file(images: list[Image.Image], form: str) -> bytes:
    """Returns one image as a PNG, or several as a GIF that plays endlessly."""
    more = {"save_all": True, "append_images": images[1:], "duration": FRAME, "loop": 0} if form == "GIF" else {}
    buffer = io.BytesIO()
    images[0].save(buffer, form, **more)
    return buffer.getvalue()
