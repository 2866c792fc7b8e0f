"""Finds the network of a run, and draws its graph in layers."""

import io
from typing import Any

import numpy as np

from gen_jax.data.tables.networks import Network, topological_order
from gen_jax.errors import UserError
from gen_jax.storage import loading

SWEEPS = 8  # over the layers; each sweep moves the variables of a layer near their neighbours


def network_of(loaded: loading.Loaded) -> tuple[Network, np.ndarray]:
    """Returns the network of a run, and the confidence in each edge [D, D].

    Raises:
      UserError: for a model without a graph.
    """
    if "network" not in loaded.model.extras:
        raise UserError(
            f"{loaded.workdir} holds a model {loaded.config['model']['name']!r}; expected a bayes_net, which has a graph"
        )
    return loaded.model.extras["network"](loaded.state)


def layers(network: Network) -> list[list[int]]:
    """Returns the variables by the longest path that leads to them, each layer in an order with few crossing edges.

    A downward sweep sorts each layer by the mean position of the parents, an upward sweep by that of the children.
    """
    depth = [0] * len(network.names)
    for variable in topological_order(network.parents):
        depth[variable] = 1 + max((depth[parent] for parent in network.parents[variable]), default=-1)
    rows = [[variable for variable in range(len(depth)) if depth[variable] == row] for row in range(max(depth) + 1)]
    children = [
        [child for child, parents in enumerate(network.parents) if variable in parents]
        for variable in range(len(depth))
    ]
    for sweep in range(SWEEPS):
        upward = sweep % 2 == 1
        neighbours = children if upward else network.parents
        for row in reversed(rows) if upward else rows:
            place = positions(rows)
            middle = {}
            for variable in row:
                near = [place[neighbour][0] for neighbour in neighbours[variable]]
                middle[variable] = np.mean(near or [place[variable][0]])
            row.sort(key=lambda variable: (middle[variable], variable))
    return rows


def positions(rows: list[list[int]]) -> dict[int, tuple[float, float]]:
    """Returns the position (x, y) of each variable in units of a label; layers are centred, the first is on top."""
    return {
        variable: (column - (len(row) - 1) / 2, -float(depth))
        for depth, row in enumerate(rows)
        for column, variable in enumerate(row)
    }


def picture(network: Network, confidence: np.ndarray) -> bytes:
    """Returns a PNG of the graph.

    An edge is as strong as the confidence in it in either direction. It is labelled by its share of the bootstrap
    samples and the share of both directions, if there is any.

    Args:
      network: the network.
      confidence: share [D, D] of the bootstrap samples that have each edge; zeros if there are none.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = layers(network)
    place, widest = positions(rows), max(map(len, rows))
    label = max(map(len, network.names))
    figure = Figure(figsize=(1 + widest * max(1.0, 0.11 * label), 1 + 1.1 * len(rows)), dpi=120)
    FigureCanvasAgg(figure)
    panel = figure.add_subplot()
    for child, parents in enumerate(network.parents):
        for parent in parents:
            _draw_edge(panel, place[parent], place[child], confidence, parent, child)
    box = {"boxstyle": "round", "fc": "white", "ec": "0.6"}
    for variable, name in enumerate(network.names):
        panel.text(*place[variable], name, fontsize=8, ha="center", va="center", bbox=box)
    panel.set_xlim(-widest / 2, widest / 2)
    panel.set_ylim(-len(rows) + 0.5, 0.5)
    panel.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


def _draw_edge(
    panel: Any,
    start: tuple[float, float],
    end: tuple[float, float],
    confidence: np.ndarray,
    parent: int,
    child: int,
) -> None:
    labelled = confidence.any()
    either = np.minimum(confidence + confidence.T, 1)[parent, child] if labelled else 1.0
    arrow = {
        "arrowstyle": "-|>",
        "alpha": 0.25 + 0.75 * either,
        "lw": 0.6 + 1.2 * either,
        "shrinkA": 9,
        "shrinkB": 9,
        "color": "tab:blue",
    }
    panel.annotate("", end, start, arrowprops=arrow)
    if labelled:
        text = f"{confidence[parent, child]:.2f} of {either:.2f}"
        panel.text(*np.mean([start, end], 0), text, fontsize=6, color="0.35", ha="center", va="center")
