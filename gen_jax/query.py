"""CLI and function: the distribution of one column of a table given others, as a run's model has it.

python -m gen_jax.query --workdir runs/bayes_net_bif --of lung [--given "smoke=yes,xray=no"]
python -m gen_jax.query --workdir runs/forest --of claim --given "age>60,city in Wien,Graz"
python -m gen_jax.query --workdir runs/mixture --of "petal width (cm)" --given species=setosa
"""

import numpy as np

from gen_jax import best, command_line, config, run, sharding
from gen_jax.data.evidence import as_given, known, parsed, said, said_cells, said_within
from gen_jax.data.spec import columns
from gen_jax.data.tables import texts_of
from gen_jax.errors import UserError, choose, command
from gen_jax.keys import root
from gen_jax.sample import draw

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DRAWS = 4096  # for what is not exact: quantiles of numbers, and all given ranges


def level_probabilities(loaded: run.Run, of: str, given: str | None = None) -> dict[str, float]:
    """Returns P(level | given) for each level of a column: exact, as P(level, given) by P(given), which is summed.

    Args:
      of: name of a column with levels.
      given: what is known, `smoke=yes,age=40`; nothing if None.

    Raises:
      UserError: for a model without an exact likelihood, a column of numbers, or conditions that cannot be.
    """
    spec, model = loaded.spec, loaded.model
    if model.log_prob is None or "mask" not in model.given:
        raise UserError(
            "this model has no exact likelihood of a part of a row: query a bayes_net, mixture, forest or bernoulli"
        )
    names = known(spec)
    at = names.index(choose(f"column of {spec.name} in --of", of, names))
    levels = columns(spec)[at].get("levels")
    if levels is None:
        raise UserError(f"column {of!r} holds numbers; expected a column with levels")
    rows = np.full((len(levels), len(names)), np.nan) if given is None else said_cells(spec, given, len(levels))
    if not np.isnan(rows[:, at]).all():
        raise UserError(f"column {of!r} stands in --of and in --given; expected it in one of them")
    rows[:, at] = np.arange(len(levels))
    log_p = np.asarray(model.log_prob(root(0, "scores"), loaded.state, as_given(spec, rows)), np.float64)
    if np.isneginf(log_p).all():
        raise UserError(f"--given {given}: impossible under this model")
    p = np.exp(log_p - log_p.max())
    return dict(zip(levels, (p / p.sum()).tolist()))


def draws(loaded: run.Run, of: str, given: str | None, seed: int) -> np.ndarray:
    """Returns `DRAWS` values of a column, levels as their places, in rows drawn given what is known."""
    spec = loaded.spec
    cells = None if given is None else said_cells(spec, given, DRAWS)
    asked = None if given is None else said(spec, given, DRAWS)
    fits = said_within(spec, given)
    rows = draw(loaded.model, loaded.state, spec, seed, DRAWS, asked, known=cells, fits=fits)["x"]
    return rows[:, known(spec).index(of)]


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
    sharding.start()
    loaded = run.load(
        flags.workdir, command_line.integer("step", flags.step), best.replica(flags.workdir, flags.replica)
    )
    names = known(loaded.spec)
    of = choose(f"column of {loaded.spec.name} in --of", flags.of or "", names)
    if flags.given is not None and parsed(loaded.spec, flags.given)[1]:
        raise UserError(f"--given {flags.given}: do() is not answered here; use gen_jax.sample")
    column, condition = columns(loaded.spec)[names.index(of)], f" | {flags.given}" if flags.given else ""
    exact = "levels" in column and said_within(loaded.spec, flags.given) is None
    x = None if exact else draws(loaded, of, flags.given, flags.seed)
    if exact:
        shares = level_probabilities(loaded, of, flags.given)
    elif "levels" in column:
        shares = dict(zip(column["levels"], np.bincount(x.astype(int), minlength=len(column["levels"])) / DRAWS))
    else:
        texts = texts_of(column, np.quantile(x, QUANTILES, method="nearest"))
        for share, text in zip(QUANTILES, texts):
            print(f"{share:4.0%} of {of}{condition} is at most {text}")
        shares = {}
    for level, share in sorted(shares.items(), key=lambda item: -item[1]):
        error = "" if exact else f" +- {np.sqrt(share * (1 - share) / DRAWS):.4f}"
        print(f"P({of}={level}{condition}) = {share:.4f}{error}")
    if not exact:
        print(f"by {DRAWS} draws of step {loaded.step}")


if __name__ == "__main__":
    command(main)
