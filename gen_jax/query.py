"""CLI: prints the distribution of one column of a table given other columns, under the model of a run.

python -m gen_jax.query --workdir runs/bayes_net_bif --of lung [--given "smoke=yes,xray=no"]
python -m gen_jax.query --workdir runs/forest --of claim --given "age>60,city in Wien,Graz"
python -m gen_jax.query --workdir runs/mixture --of "petal width (cm)" --given species=setosa
"""

import numpy as np

from gen_jax import config
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import startup
from gen_jax.storage import loading
from gen_jax.verbs import best_replica
from gen_jax.verbs.queries import DRAWS, distribution

FLAGS = {
    "workdir": (None, "directory of the run"),
    "of": (None, "column whose distribution is printed"),
    "given": (None, "condition NAME=VALUE,NAME=VALUE; by default none"),
    "seed": (0, "seed of the samples, for a column of numbers or a range"),
    "step": (None, "step of the checkpoint; by default the selected checkpoint, or else the newest"),
    "replica": ("0", "number of the replica, from 0, or best"),
}


def main(argv: list[str]) -> None:
    """Prints a line for each level, with the likeliest first, or the quantiles of a number.

    The probabilities of levels are exact unless the condition has ranges. Estimates have standard errors.

    Args:
      argv: the command and its arguments.
    """
    flags = command_line.parse(argv, FLAGS, required="workdir")
    command_line.check_bounds(flags, {"seed": (0, config.LARGEST - 1)})
    startup.start()
    step = command_line.integer("step", flags.step)
    loaded = loading.load(flags.workdir, step, best_replica.replica(flags.workdir, flags.replica))
    answer = distribution(loaded, flags.of, flags.given, flags.seed)
    condition = f" | {flags.given}" if flags.given else ""
    for share, text in answer.quantiles.items():
        print(f"{share:4.0%} of {flags.of}{condition} is at most {text}")
    for level, share in answer.levels.items():
        error = "" if answer.exact else f" +- {np.sqrt(share * (1 - share) / DRAWS):.4f}"
        print(f"P({flags.of}={level}{condition}) = {share:.4f}{error}")
    if not answer.exact:
        print(f"by {DRAWS} draws of step {loaded.step}")


if __name__ == "__main__":
    command(main)
