"""A page about samples of a table: the columns and the associations of all pairs, real rows beside samples."""

import io

import numpy as np
from PIL import Image

from gen_jax.data.kinds.drawing import image_of, panels_of
from gen_jax.data.kinds.table import margins_of, short
from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.statistics import shares
from gen_jax.metrics.tables.pairwise import associations

COLUMNS = 25  # columns that are drawn, at most; the matrices show all columns
LABEL = "share: grey real, blue samples"


def page(spec: Spec, real: np.ndarray, samples: np.ndarray) -> bytes:
    """Returns a PNG of the columns of real rows in grey and of samples in blue, with their associations below.

    A column is drawn by the shares of its levels, or of the parts of its range.

    Args:
      spec: facts of the table.
      real: raw rows [N, D].
      samples: raw rows [M, D].
    """
    schema = columns(spec)[:COLUMNS]
    real_shares, sample_shares = (
        [shares(column, x[:, place]) for place, column in enumerate(schema)] for x in (real, samples)
    )
    above = margins_of(schema, real_shares, sample_shares, LABEL)
    below = matrices(spec, real, samples, above.width)
    whole = Image.new("RGB", (above.width, above.height + below.height))
    whole.paste(above, (0, 0))
    whole.paste(below, (0, above.height))
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()


def matrices(spec: Spec, real: np.ndarray, samples: np.ndarray, width: int) -> Image.Image:
    """Returns the matrices of associations of real rows, of samples, and of their difference, side by side.

    Args:
      spec: facts of the table.
      real: raw rows [N, D].
      samples: raw rows [M, D].
      width: of the image, in pixels.
    """
    names = [short(column["name"], 16) for column in columns(spec)]
    side = width / 300  # inches of a panel
    of_real, of_samples = (associations(spec, x) for x in (real, samples))
    titled = {"real": of_real, "samples": of_samples, "difference": of_samples - of_real}
    figure, panels = panels_of(3, 3, (side, side + 0.3))
    for panel, (title, matrix) in zip(panels, titled.items()):
        image = panel.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
        panel.set_title(f"associations, {title}", fontsize=7)
        panel.set_xticks([])
        panel.set_yticks(range(len(names)), names if title == "real" else [], fontsize=min(6, 50 * side / len(names)))
    scale = figure.colorbar(image, ax=panels, orientation="horizontal", fraction=0.04, pad=0.04, aspect=60)
    scale.ax.tick_params(labelsize=6)
    return image_of(figure)
