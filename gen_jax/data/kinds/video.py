"""Clips [frames, H, W, C] of one length: a moving GIF, and a picture with one clip a line."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from gen_jax.data.kinds.drawing import PANELS
from gen_jax.data.kinds.image import IMAGE, grid
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.spec import Spec

DURATION = 80  # milliseconds for which a GIF shows a frame; a GIF counts in tens of milliseconds
COLUMNS = 8  # most clips beside one another in a GIF


def gif(images: Sequence[Image.Image], duration: int) -> bytes:
    """Returns images as a GIF that plays endlessly.

    Args:
      images: the images, of one size.
      duration: milliseconds for which an image is shown.
    """
    first, *others = [image if image.mode == "L" else image.convert("RGB").quantize() for image in images]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=duration, loop=0)
    return buffer.getvalue()


def with_first_frames(samples: Mapping[str, np.ndarray], spec: Spec) -> np.ndarray:
    """Returns clips after the frames that are their condition; without such a condition, the clips alone.

    Args:
      samples: `x` [N, frames, H, W, C] in the domain of the data, and `c` if there is a condition.
      spec: facts of the data.
    """
    x, condition = samples["x"], spec.condition
    follows = "c" in samples and condition is not None and condition.shape[1:] == spec.shape[1:]
    return np.concatenate([samples["c"].astype(x.dtype), x], 1) if follows else x


def moving(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns clips as one GIF, in a grid.

    Args:
      samples: `x` [N, frames, H, W, C] in the domain of the data, and the first frames `c` if they are the condition.
      spec: facts of the data.
    """
    clips = with_first_frames(samples, spec)
    columns = min(COLUMNS, int(np.ceil(np.sqrt(len(clips)))))
    return gif([grid(clips[:, frame], spec, columns) for frame in range(clips.shape[1])], DURATION)


def lines(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns at most `PANELS` clips, each as a line of its frames.

    Args:
      x: clips [N, frames, H, W, C] in the domain of the data.
      spec: facts of the data.
    """
    assert IMAGE.strip is not None  # because paths of images are drawn
    return IMAGE.strip(x[:PANELS], spec)


VIDEO = Kind(
    "video",
    "clips",
    "FHWC",
    options=("kind", "resize", "width", "frames", "every", "stride", "first"),
    write={".gif": moving},
    picture=lines,
)
