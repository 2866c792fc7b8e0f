"""Tables: rows [D] of named columns that hold numbers and levels, drawn as the shares of the values of each column."""

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
from gen_jax.data.tables.table_source import is_table, open_table, table_in_memory
from gen_jax.data.tables.text_columns import SUFFIXES

LETTERS, MOST_NAMES = 22, 20  # largest numbers of letters side by side and of names of levels, below a panel


def margins(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns the shares of the values of each column in samples and in the training rows.

    The values are levels, or parts of the range of a column. At most `PANELS` columns have a panel. Grey bars are the
    training rows, and the line is the samples.

    Args:
      x: samples [N, D].
      spec: facts of the data.
    """
    schema = columns(spec)[:PANELS]
    drawn = [shares(column, x[:, at]) for at, column in enumerate(schema)]
    return margins_of(schema, spec.marginals, drawn, "share: grey learnt from, blue samples")


def margins_of(schema: Sequence[Mapping], real: Sequence, synthetic: Sequence, label: str) -> Image.Image:
    """Returns a picture of the shares of columns, with one panel a column.

    Args:
      schema: facts of the columns.
      real: shares of each column in the data.
      synthetic: shares of each column in the samples.
      label: text at the left side.
    """
    figure, panels = panels_of(len(schema))
    for each in zip(panels, schema, real, synthetic):
        margin(*each)
    figure.supylabel(label, fontsize=8)
    return image_of(figure)


def margin(panel, column: Mapping[str, Any], real: Sequence[float], synthetic: Sequence[float]) -> None:
    """Draws the shares of a column's levels or of the parts of its range.

    Grey bars are the data. The samples are dots for levels, and a line for a range.

    Args:
      panel: the panel of Matplotlib.
      column: facts of the column.
      real: shares in the data.
      synthetic: shares in the samples.
    """
    edges, names = parts(column), column.get("levels", ())
    places = (edges[1:] + edges[:-1]) / 2
    panel.stairs(real, edges, fill=True, color="0.8")
    panel.plot(places, synthetic, marker=".", markersize=4, linewidth=0 if names else 0.8, color="C0")
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


def short(name: str, max_length: int) -> str:
    """Returns a name, cut to a number of letters.

    Args:
      name: the name.
      max_length: largest number of letters.
    """
    return name if len(name) <= max_length else name[: max_length - 1] + "…"


TABLE = Kind(
    "table",
    "tables",
    "D",
    columns=True,
    default_transform="standard",
    options=("schema", "test_path", "set"),
    read={".bif": open_network, **dict.fromkeys(SUFFIXES, open_table)},
    hold=table_in_memory,
    recognises=is_table,
    write={".csv": to_csv},
    picture=margins,
)
