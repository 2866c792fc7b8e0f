"""CLI: entropies and mutual informations of the columns of a table, under the model of a run.

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
    "of": (None, "columns NAME,NAME; all if unset"),
    "about": (None, "columns whose information about the columns of --of is printed; if unset, the entropy of --of is"),
    "given": (None, "columns of the condition"),
    "num": (10_000, "number of samples, for a model that is no Bayesian network"),
    "seed": (0, "of the samples"),
    "step": (None, "checkpoint; the newest, or the selected one, if unset"),
    "replica": ("0", "replica of the run: a number, or best"),
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
