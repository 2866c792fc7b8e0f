"""Series [T, D] of numbers, drawn as lines over time."""

import numpy as np
from PIL import Image

from gen_jax.data.kinds.drawing import PANELS, image_of, new_panels
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.spec import Spec


def plots(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns plots of at most `PANELS` series, in one panel each. Each column is a line over time.

    Args:
      x: series [N, T, D].
      spec: facts of the data.
    """
    figure, panels = new_panels(min(len(x), PANELS))
    low, high = float(np.min(spec.low)), float(np.max(spec.high))
    for panel, row in zip(panels, x):
        panel.plot(row, linewidth=0.8)
        panel.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    figure.supxlabel("t", fontsize=8)
    return image_of(figure)


SERIES = Kind("series", "series", "TD", columns=True, options=("window", "kind"), picture=plots)
