"""Tables: rows [D] of named columns, numbers and levels, drawn as the shares of each column's values."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from gen_jax.data.kinds.drawing import PANELS, image_of, panels_of
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.csv_files import to_csv
from gen_jax.data.tables.network_source import open_network
from gen_jax.data.tables.statistics import parts, shares
from gen_jax.data.tables.table_source import open_table
from gen_jax.data.tables.text_columns import SUFFIXES

LETTERS, MOST_NAMES = 22, 20  # under a panel: letters side by side, names of levels


def margins(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns the shares of each column's levels in rows [N, D], or of parts of its range, beside those of the rows learnt.

    One panel a column, up to `PANELS`: grey bars are the rows learnt from, the line is the samples.
    """
    schema = columns(spec)[:PANELS]
    drawn = [shares(column, x[:, at]) for at, column in enumerate(schema)]
    return margins_of(schema, spec.marginals, drawn, "share: grey learnt from, blue samples")


def margins_of(schema: Sequence[Mapping], real: Sequence, drawn: Sequence, label: str) -> Image.Image:
    """Returns the shares of columns, `real` and `drawn`, one panel each; `label` stands at the side."""
    figure, panels = panels_of(len(schema))
    for each in zip(panels, schema, real, drawn):
        margin(*each)
    figure.supylabel(label, fontsize=8)
    return image_of(figure)


def margin(panel, column: Mapping[str, Any], real: Sequence[float], drawn: Sequence[float]) -> None:
    """Draws the shares of a column's levels, or of parts of its range: grey bars, and dots or, of a range, a line."""
    edges, names = parts(column), column.get("levels", ())
    places = (edges[1:] + edges[:-1]) / 2
    panel.stairs(real, edges, fill=True, color="0.8")
    panel.plot(places, drawn, marker=".", markersize=4, linewidth=0 if names else 0.8, color="C0")
    panel.set_title(short(column["name"], 32), fontsize=7)
    panel.locator_params(nbins=4)
    panel.xaxis.get_offset_text().set_fontsize(6)
    if len(names) > MOST_NAMES:
        panel.set_xticks([])
        panel.set_xlabel(f"{len(names)} levels", fontsize=6)
    elif sum(map(len, names)) > LETTERS:
        panel.set_xticks(places, [short(name, 10) for name in names], rotation=90, fontsize=5)
    elif names:
        panel.set_xticks(places, names)


def short(name: str, most: int) -> str:
    """Returns a name of at most so many letters."""
    return name if len(name) <= most else name[: most - 1] + "…"


TABLE = Kind(
    "table",
    "tables",
    "D",
    columns=True,
    default_transform="standard",
    options=("schema", "test_path", "set"),
    read={".bif": open_network, **dict.fromkeys(SUFFIXES, open_table)},
    write={".csv": to_csv},
    picture=margins,
)
