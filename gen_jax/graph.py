"""CLI: draws the graph of a Bayesian network, or writes the network to a BIF file.

python -m gen_jax.graph --workdir runs/bayes_net --out network.png
"""

from gen_jax import files
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.tables.bif import write_bif
from gen_jax.devices import startup
from gen_jax.storage import loading
from gen_jax.verbs import best_replica
from gen_jax.verbs.graphs import network_of, picture

FLAGS = {
    "workdir": (None, "directory of the run"),
    "step": (None, "step of the checkpoint; by default the selected checkpoint, or else the newest"),
    "replica": ("0", "number of the replica, from 0, or best"),
    "out": (None, "file to write: picture (.png) or network (.bif)"),
}


def main(argv: list[str]) -> None:
    """Writes the network of `--workdir` into `--out`."""
    flags = command_line.parse(argv, FLAGS, required="workdir")
    out = command_line.output_file(flags.out, "network.png", (".png", ".bif"))
    startup.start()
    step = command_line.integer("step", flags.step)
    loaded = loading.load(flags.workdir, step, best_replica.replica(flags.workdir, flags.replica))
    network, confidence = network_of(loaded)
    files.write(out, write_bif(network) if out.suffix == ".bif" else picture(network, confidence))
    edges = sum(map(len, network.parents))
    print(f"{len(network.names)} variables, {edges} edges of step {loaded.step} in {out}")


if __name__ == "__main__":
    command(main)
