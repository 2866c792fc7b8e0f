"""One page about samples of a table: each column and the associations of all pairs, real rows beside samples."""

import io

import numpy as np
from PIL import Image

from gen_jax.data.kinds.drawing import image_of, panels_of
from gen_jax.data.kinds.table import margins_of, short
from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.statistics import shares
from gen_jax.metrics.tables.pairwise import associations

COLUMNS = 25  # drawn, at most; the associations are those of all
LABEL = "share: grey real, blue samples"


def page(spec: Spec, real: np.ndarray, samples: np.ndarray) -> bytes:
    """A PNG of raw rows `real` and `samples` [N, D]: the shares of levels, or parts of the range, in grey and blue.

    Below them the associations of real rows, of samples, and their difference.
    """
    schema = columns(spec)[:COLUMNS]
    each = ([shares(column, x[:, at]) for at, column in enumerate(schema)] for x in (real, samples))
    above = margins_of(schema, *each, LABEL)
    below = matrices(spec, real, samples, above.width)
    whole = Image.new("RGB", (above.width, above.height + below.height))
    whole.paste(above, (0, 0))
    whole.paste(below, (0, above.height))
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()


def matrices(spec: Spec, real: np.ndarray, samples: np.ndarray, width: int) -> Image.Image:
    """Three matrices of associations side by side, so many pixels wide."""
    names, side = [short(column["name"], 16) for column in columns(spec)], width / 300  # inches of a panel
    one, other = (associations(spec, x) for x in (real, samples))
    figure, panels = panels_of(3, 3, (side, side + 0.3))
    for panel, matrix, title in zip(panels, (one, other, other - one), ("real", "samples", "difference")):
        drawn = panel.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
        panel.set_title(f"associations, {title}", fontsize=7)
        panel.set_xticks([])
        panel.set_yticks(range(len(names)), names if title == "real" else [], fontsize=min(6, 50 * side / len(names)))
    scale = figure.colorbar(drawn, ax=panels, orientation="horizontal", fraction=0.04, pad=0.04, aspect=60)
    scale.ax.tick_params(labelsize=6)
    return image_of(figure)
