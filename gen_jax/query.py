"""CLI: the distribution of one column of a table given others, as a run's model has it.

python -m gen_jax.query --workdir runs/bayes_net_bif --of lung [--given "smoke=yes,xray=no"]
python -m gen_jax.query --workdir runs/forest --of claim --given "age>60,city in Wien,Graz"
python -m gen_jax.query --workdir runs/mixture --of "petal width (cm)" --given species=setosa
"""

import numpy as np

from gen_jax import config
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.spec import columns
from gen_jax.data.tables.evidence import column_names, condition_of, row_filter
from gen_jax.data.tables.values import texts_of
from gen_jax.devices import startup
from gen_jax.errors import UserError, choose
from gen_jax.storage import loading
from gen_jax.training import selection
from gen_jax.verbs.query import DRAWS, QUANTILES, draws, level_probabilities


def main(argv: list[str]) -> None:
    """Prints a line for each level, the likeliest first, or the quantiles of a number.

    Levels given no range are exact; all else is by draws, levels with their standard errors.
    """
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            "of": (None, "the column whose distribution is asked for"),
            "given": (None, "what is known: NAME=VALUE,NAME=VALUE"),
            "seed": (0, "of the draws, for a column of numbers"),
            "step": (None, "checkpoint; the newest, or the selected one, where unset"),
            "replica": ("0", "which of a run's replicas: a number, or best"),
        },
        required="workdir",
    )
    command_line.check_bounds(flags, {"seed": (0, config.LARGEST - 1)})
    startup.start()
    loaded = loading.load(
        flags.workdir, command_line.integer("step", flags.step), selection.replica(flags.workdir, flags.replica)
    )
    names = column_names(loaded.spec)
    of = choose(f"column of {loaded.spec.name} in --of", flags.of or "", names)
    condition = None if flags.given is None else condition_of(loaded.spec, flags.given)
    if condition and condition.done:
        raise UserError(f"--given {flags.given}: do() is not answered here; use gen_jax.sample")
    column, given = columns(loaded.spec)[names.index(of)], f" | {flags.given}" if flags.given else ""
    exact = "levels" in column and row_filter(condition) is None
    x = None if exact else draws(loaded, of, condition, flags.seed)
    if exact:
        shares = level_probabilities(loaded, of, condition)
    elif "levels" in column:
        shares = dict(zip(column["levels"], np.bincount(x.astype(int), minlength=len(column["levels"])) / DRAWS))
    else:
        texts = texts_of(column, np.quantile(x, QUANTILES, method="nearest"))
        for share, text in zip(QUANTILES, texts):
            print(f"{share:4.0%} of {of}{given} is at most {text}")
        shares = {}
    for level, share in sorted(shares.items(), key=lambda item: -item[1]):
        error = "" if exact else f" +- {np.sqrt(share * (1 - share) / DRAWS):.4f}"
        print(f"P({of}={level}{given}) = {share:.4f}{error}")
    if not exact:
        print(f"by {DRAWS} draws of step {loaded.step}")


if __name__ == "__main__":
    command(main)
