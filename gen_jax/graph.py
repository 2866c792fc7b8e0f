"""CLI: the network that a Bayesian network's run has learnt, as a picture or as a BIF file.

python -m gen_jax.graph --workdir runs/bayes_net --out network.png
"""

import io
from pathlib import Path

import numpy as np

from gen_jax import files
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.tables.bif import write_bif
from gen_jax.data.tables.networks import Network, topological_order
from gen_jax.devices import startup
from gen_jax.errors import UserError
from gen_jax.storage import loading
from gen_jax.training import selection

SWEEPS = 8  # over the layers, each putting the variables of a layer near their neighbours in the one before


def layers(network: Network) -> list[list[int]]:
    """The variables by the longest path that leads to them, each layer in an order that crosses few edges.

    A variable stands where its neighbours of the layers above, or on the way back below, stand on average.
    """
    depth = [0] * len(network.names)
    for each in topological_order(network.parents):
        depth[each] = 1 + max((depth[above] for above in network.parents[each]), default=-1)
    found = [[i for i, at in enumerate(depth) if at == level] for level in range(max(depth) + 1)]
    children = [[i for i, above in enumerate(network.parents) if each in above] for each in range(len(depth))]
    for sweep in range(SWEEPS):
        near = children if sweep % 2 else network.parents
        for level in reversed(range(len(found))) if sweep % 2 else range(len(found)):
            place = positions(found)
            middle = {i: np.mean([place[each][0] for each in near[i]] or [place[i][0]]) for i in found[level]}
            found[level].sort(key=lambda i: (middle[i], i))
    return found


def positions(found: list[list[int]]) -> dict[int, tuple[float, float]]:
    """Where each variable stands, (x, y) in units of a label, the first layer on top; layers are centred."""
    return {
        i: (at - (len(layer) - 1) / 2, -float(level)) for level, layer in enumerate(found) for at, i in enumerate(layer)
    }


def picture(network: Network, confidence: np.ndarray) -> bytes:
    """A PNG of the graph. Edges are as strong as they are certain in either direction, by their `confidence` [D, D].

    Where there is any, each is labelled by its share of the bootstrap samples and that of both directions.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = layers(network)
    place, widest = positions(found), max(map(len, found))
    label = max(map(len, network.names))
    figure = Figure(figsize=(1 + widest * max(1.0, 0.11 * label), 1 + 1.1 * len(found)), dpi=120)
    FigureCanvasAgg(figure)
    panel = figure.add_subplot()
    for child, parents in enumerate(network.parents):
        for parent in parents:
            either = np.minimum(confidence + confidence.T, 1)[parent, child] if confidence.any() else 1.0
            arrow = {
                "arrowstyle": "-|>",
                "alpha": 0.25 + 0.75 * either,
                "lw": 0.6 + 1.2 * either,
                "shrinkA": 9,
                "shrinkB": 9,
            }
            panel.annotate("", place[child], place[parent], arrowprops={**arrow, "color": "tab:blue"})
            if confidence.any():
                middle = np.mean([place[parent], place[child]], 0)
                panel.text(
                    *middle,
                    f"{confidence[parent, child]:.2f} of {either:.2f}",
                    fontsize=6,
                    color="0.35",
                    ha="center",
                    va="center",
                )
    for name, at in zip(network.names, (place[i] for i in range(len(place)))):
        panel.text(
            *at, name, fontsize=8, ha="center", va="center", bbox={"boxstyle": "round", "fc": "white", "ec": "0.6"}
        )
    panel.set_xlim(-widest / 2, widest / 2)
    panel.set_ylim(-len(found) + 0.5, 0.5)
    panel.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


def main(argv: list[str]) -> None:
    """Writes the network of `--workdir` into `--out`."""
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            "step": (None, "checkpoint to read; the newest, or the selected one, where unset"),
            "replica": ("0", "which of a run's replicas to read: a number, or best"),
            "out": (None, "file to write: .png, or .bif"),
        },
        required="workdir",
    )
    out = command_line.output_file(flags.out, "network.png", (".png", ".bif"))
    startup.start()
    loaded = loading.load(
        flags.workdir, command_line.integer("step", flags.step), selection.replica(flags.workdir, flags.replica)
    )
    if "network" not in loaded.model.extras:
        raise UserError(
            f"{flags.workdir} holds a model {loaded.config['model']['name']!r}; expected a bayes_net, which has a graph"
        )
    network, confidence = loaded.model.extras["network"](loaded.state)
    files.write(Path(out), write_bif(network) if out.suffix == ".bif" else picture(network, confidence))
    edges = sum(map(len, network.parents))
    print(f"{len(network.names)} variables, {edges} edges of step {loaded.step} in {out}")


if __name__ == "__main__":
    command(main)
