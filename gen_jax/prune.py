"""CLI: scores a trained run after its smallest weights are removed.

python -m gen_jax.prune --workdir runs/gan --sparsity 0,0.5,0.8,0.9 --metrics high_quality,modes --out curve.png

The run itself is not changed. The remaining weights are not trained again, and the model gets neither smaller nor
faster. The curve shows which share of its weights a net needs for its samples.
"""

from gen_jax import files
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import startup
from gen_jax.storage import loading
from gen_jax.verbs import best_replica
from gen_jax.verbs.prune import draw_curves, measure, parse_sparsity, show


def main(argv: list[str]) -> None:
    """Scores `--workdir` at every `--sparsity`, prints a table, and writes a curve with its numbers.

    Args:
      argv: the command and its arguments.
    """
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            "sparsity": ("0,0.5,0.8,0.9", "shares of the weights to remove, separated by commas"),
            "metrics": (None, "names of metrics, separated by commas; by default as in the config"),
            "num": (None, "number of samples; by default as in the config"),
            "step": (None, "step of the checkpoint; by default the selected checkpoint, or else the newest"),
            "replica": ("0", "number of the replica, from 0, or best"),
            "out": (
                None,
                "file to write: curves (.png, with the figures in a .json file beside it) or figures alone (.json)",
            ),
        },
        required="workdir",
    )
    out = command_line.output_file(flags.out, "curve.png", (".png", ".json"))
    shares = parse_sparsity(flags.sparsity)
    startup.start()
    loaded = loading.load(
        flags.workdir, command_line.integer("step", flags.step), best_replica.replica(flags.workdir, flags.replica)
    )
    settings = loaded.config["evaluate"]
    names = flags.metrics.split(",") if flags.metrics else settings["metrics"]
    figures = measure(loaded, shares, names, command_line.integer("num", flags.num, 1) or settings["num"])
    show(figures)
    if out.suffix == ".png":
        files.write(out, draw_curves(figures))
    files.write_json(out.with_suffix(".json"), figures)


if __name__ == "__main__":
    command(main)
