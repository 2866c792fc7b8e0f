"""CLI: prints entropies and mutual informations of the columns of a table, under the model of a run.

python -m gen_jax.information --workdir runs/bayes_net_bif --of lung --about smoke [--given bronc,xray]
"""

from gen_jax import config
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import startup
from gen_jax.storage import loading
from gen_jax.verbs import best_replica
from gen_jax.verbs.queries import information_between, places_of

FLAGS = {
    "workdir": (None, "directory of the run"),
    "of": (None, "columns NAME,NAME whose entropy is printed; by default all columns"),
    "about": (
        None,
        "columns whose mutual information with the columns of --of is printed; by default the entropy of --of is printed",
    ),
    "given": (None, "columns NAME,NAME of the condition; by default none"),
    "num": (10_000, "number of samples, for a model other than a Bayesian network"),
    "seed": (0, "seed of the samples"),
    "step": (None, "step of the checkpoint; by default the selected checkpoint, or else the newest"),
    "replica": ("0", "number of the replica, from 0, or best"),
}


def main(argv: list[str]) -> None:
    """Prints one number: H(of), H(of | given), I(of; about) or I(of; about | given).

    Args:
      argv: the command and its arguments.
    """
    flags = command_line.parse(argv, FLAGS, required="workdir")
    command_line.check_bounds(flags, {"num": (2, config.LARGEST - 1), "seed": (0, config.LARGEST - 1)})
    startup.start()
    step = command_line.integer("step", flags.step)
    loaded = loading.load(flags.workdir, step, best_replica.replica(flags.workdir, flags.replica))
    of, about, given = (places_of(loaded.spec, flag, flags[flag].value) for flag in ("of", "about", "given"))
    of = of or [*range(loaded.spec.shape[0])]
    answer = information_between(loaded, of, about, given, flags.num, flags.seed)
    if answer.error is None:
        print(f"{answer.title} = {answer.nats:.6f} nats, exactly")
    else:
        print(f"{answer.title} = {answer.nats:.6f} nats, standard error {answer.error:.6f} ({flags.num} samples)")


if __name__ == "__main__":
    command(main)
