"""Vectors [D], drawn as points in a plane. Paths of vectors are drawn as lines."""

import numpy as np
from PIL import Image

from gen_jax.data.kinds.drawing import image_of, new_figure
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.spec import Spec


def scatter(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns a scatter plot of the first two entries of vectors, or a histogram if vectors have one entry.

    Args:
      x: vectors [N, D].
      spec: facts of the data.
    """
    figure, panel = plane(spec)
    if x.shape[1] == 1:
        panel.hist(x[:, 0], bins=60)
    else:
        panel.scatter(x[:, 0], x[:, 1], s=4, alpha=0.5, linewidths=0)
    return image_of(figure)


def lines(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns paths of vectors as lines through their first two entries. A circle marks the beginning of a path.

    If vectors have one entry, the line goes through the entry and t.

    Args:
      x: paths of vectors [N, T, D].
      spec: facts of the data.
    """
    figure, panel = plane(spec)
    second = x[..., 1] if x.shape[2] > 1 else np.broadcast_to(np.linspace(0, 1, x.shape[1]), x.shape[:2])  # [N, T]
    for index in range(len(x)):
        panel.plot(x[index, :, 0], second[index], marker=".", markersize=3, linewidth=1, color=f"C{index % 10}")
        panel.plot(x[index, 0, 0], second[index, 0], marker="o", fillstyle="none", color=f"C{index % 10}")
    if x.shape[2] == 1:
        panel.set_ylabel("t")
    return image_of(figure)


def plane(spec: Spec):
    """Returns a square figure and its single panel, with the limits of the domain of the data.

    Args:
      spec: facts of the data.
    """
    figure, ((panel,),) = new_figure((5, 5), 1, 1)
    low, high = (np.broadcast_to(limit, spec.shape)[:2] for limit in (spec.low, spec.high))
    margin = 0.05 * (high - low)
    panel.set_xlim(low[0] - margin[0], high[0] + margin[0])
    panel.set_xlabel("x[0]")
    if len(low) > 1:
        panel.set_ylim(low[1] - margin[1], high[1] + margin[1])
        panel.set_ylabel("x[1]")
    panel.grid(alpha=0.3)
    return figure, panel


VECTOR = Kind("vector", "vectors", "D", columns=True, options=("test_name", "kind"), picture=scatter, strip=lines)
