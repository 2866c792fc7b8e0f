"""Samples as files: arrays in the data's own domain, grids of images, scatter plots. The spec decides."""

import io

import numpy as np
from PIL import Image

from gen_jax.data.spec import Spec
from gen_jax.errors import choose

TILE = 56  # pixels a small image is enlarged to, at least


def encode(samples: dict[str, np.ndarray], spec: Spec, suffix: str) -> bytes:
    """Samples of the data's own domain as the bytes of a file: `.npz` arrays, or a `.png` picture of them.

    Raises:
      UserError: for another suffix, or data that has no picture.
    """
    if suffix == ".npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **samples)
        return buffer.getvalue()
    choose("file type of samples", suffix, (".npz", ".png"))
    return PICTURES[spec.kind](samples["x"], spec)


def grid(x: np.ndarray, spec: Spec) -> bytes:
    """Images [N, H, W, C] as one PNG, row by row, with a border of one pixel; small ones enlarged."""
    low, high = float(np.min(spec.low)), float(np.max(spec.high))
    pixels = np.clip((x.astype(np.float64) - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)
    if pixels.shape[-1] == 2:
        pixels = pixels[..., :1]
    factor = max(1, -(-TILE // max(pixels.shape[1:3])))
    pixels = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    num, height, width, colours = pixels.shape
    columns = int(np.ceil(np.sqrt(num)))
    lines = -(-num // columns)
    canvas = np.full((lines, height + 1, columns, width + 1, colours), 64, np.uint8)
    for index, image in enumerate(pixels):
        canvas[index // columns, :height, index % columns, :width] = image
    canvas = canvas.reshape(lines * (height + 1), columns * (width + 1), colours)
    return _png(Image.fromarray(canvas[..., 0] if colours == 1 else canvas))


def scatter(x: np.ndarray, spec: Spec) -> bytes:
    """Vectors [N, D] as a scatter plot of their first two entries (a histogram where there is one), as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    panel = figure.subplots()
    if x.shape[1] == 1:
        panel.hist(x[:, 0], bins=60)
    else:
        panel.scatter(x[:, 0], x[:, 1], s=4, alpha=0.5, linewidths=0)
        low, high = np.asarray(spec.low)[:2], np.asarray(spec.high)[:2]
        margin = 0.05 * (high - low)
        panel.set_xlim(low[0] - margin[0], high[0] + margin[0])
        panel.set_ylim(low[1] - margin[1], high[1] + margin[1])
        panel.set_xlabel("x[0]")
        panel.set_ylabel("x[1]")
    panel.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100, format="png")
    return buffer.getvalue()


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = {"image": grid, "vector": scatter}
