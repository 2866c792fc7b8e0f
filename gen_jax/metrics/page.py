"""One page about samples of a table: each column and the associations of all pairs, real rows beside samples."""

import io

import numpy as np

from gen_jax.data.pictures import image_of, margin, panels_of
from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables import shares
from gen_jax.metrics.pairwise import associations

COLUMNS = 21  # drawn, at most; the associations are those of all


def page(spec: Spec, real: np.ndarray, samples: np.ndarray) -> bytes:
    """A PNG of raw rows `real` and `samples` [N, D]: grey bars and blue lines are the shares of levels, or parts of the range.

    The last three panels are the associations of real rows, of samples, and their difference.
    """
    schema, names = columns(spec)[:COLUMNS], [column["name"] for column in columns(spec)]
    figure, panels = panels_of(len(schema) + 3)
    for at, (panel, column) in enumerate(zip(panels, schema)):
        margin(panel, column, shares(column, real[:, at]), shares(column, samples[:, at]))
    one, other = (associations(spec, x) for x in (real, samples))
    for panel, matrix, title in zip(
        panels[len(schema) :], (one, other, other - one), ("real", "samples", "difference")
    ):
        panel.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
        panel.set_title(f"associations, {title}", fontsize=7)
        panel.set_yticks(range(len(names)), names if title == "real" and len(names) <= 20 else [], fontsize=4)
        panel.set_xticks([])
    figure.supylabel("share: grey real, blue samples", fontsize=8)
    buffer = io.BytesIO()
    image_of(figure).save(buffer, "PNG")
    return buffer.getvalue()
