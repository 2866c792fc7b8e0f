"""Images [H, W, C], drawn in a grid. Paths of images are drawn in rows."""

import numpy as np
from PIL import Image

from gen_jax.data.kinds.kind import Kind
from gen_jax.data.spec import Spec

TILE = 56  # smallest longer side of an image in a picture, in pixels


def grid(x: np.ndarray, spec: Spec, columns: int | None = None) -> Image.Image:
    """Returns images in a grid with a border of one pixel, row by row.

    Small images are enlarged. Only the first of two channels is drawn.

    Args:
      x: images [N, H, W, C] in the domain of the data.
      spec: facts of the data.
      columns: number of images in a row; by default the images form a square.
    """
    low, high = float(np.min(spec.low)), float(np.max(spec.high))
    pixels = np.clip((x.astype(np.float64) - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)
    if pixels.shape[-1] == 2:
        pixels = pixels[..., :1]
    factor = max(1, -(-TILE // max(pixels.shape[1:3])))
    pixels = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    num, height, width, colours = pixels.shape
    columns = columns or int(np.ceil(np.sqrt(num)))
    lines = -(-num // columns)
    canvas = np.full((lines, height + 1, columns, width + 1, colours), 64, np.uint8)
    for index, image in enumerate(pixels):
        canvas[index // columns, :height, index % columns, :width] = image
    canvas = canvas.reshape(lines * (height + 1), columns * (width + 1), colours)
    return Image.fromarray(canvas[..., 0] if colours == 1 else canvas)


def rows(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns paths of images, one path a row.

    Args:
      x: paths of images [N, T, H, W, C] in the domain of the data.
      spec: facts of the data.
    """
    return grid(x.reshape(-1, *x.shape[2:]), spec, columns=x.shape[1])


PHOTO_OPTIONS = ("patch", "shrink", "hole", "stride", "channels", "test_path")
IMAGE = Kind(
    "image", "images", "HWC", options=("resize", "width", "test_name", "kind", *PHOTO_OPTIONS), picture=grid, strip=rows
)
