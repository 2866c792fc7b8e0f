"""CLI: entropies and mutual informations of the columns of a table as a run's model has them.

python -m gen_jax.information --workdir runs/bayes_net_bif --of lung --about smoke [--given bronc,xray]
"""

from collections.abc import Sequence

from gen_jax import config
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.spec import columns
from gen_jax.data.tables.evidence import column_names
from gen_jax.devices import startup
from gen_jax.errors import UserError, choose
from gen_jax.models.bayes_net import information
from gen_jax.storage import loading
from gen_jax.training import selection
from gen_jax.verbs.draw import draw

SIZE = 8192  # samples drawn together


def estimated(
    loaded: loading.Run, of: Sequence[int], about: Sequence[int], given: Sequence[int], num: int, seed: int
) -> tuple[float, float]:
    """I(of; about | given) in nats of the model's samples, H(of | given) where `about` is `of`, with its standard error.

    Raises:
      UserError: for a column of numbers.
    """
    for at in (*of, *about, *given):
        column = columns(loaded.spec)[at]
        if "levels" not in column:
            raise UserError(f"column {column['name']!r} holds numbers: expected levels; a bayes_net would bin them")
    codes = draw(loaded.model, loaded.state, loaded.spec, seed, num, size=SIZE)["x"]
    return information.information_of_samples(codes, of, about, given)


def exact(loaded: loading.Run, of: Sequence[int], about: Sequence[int], given: Sequence[int]) -> float:
    """As `estimated`, of a Bayesian network, without error; numbers are their bins.

    Raises:
      UserError: where the columns together are too many.
    """
    network, _ = loaded.model.extras["network"](loaded.state)
    if of != about:
        return information.network_information(network, of, about, given)
    if len(of) == len(network.names):
        return information.network_entropy(network)
    table = information.marginal(network, (*of, *given))
    return information.conditional_entropy(table, range(len(of)), range(len(of), table.ndim))


def main(argv: list[str]) -> None:
    """Prints one figure: H(of), H(of | given), I(of; about) or I(of; about | given)."""
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            "of": (None, "columns NAME,NAME; all where unset"),
            "about": (None, "columns whose information about those is asked for; where unset, their entropy is"),
            "given": (None, "columns that are known"),
            "num": (10_000, "how many samples, where the model is no Bayesian network"),
            "seed": (0, "of the draw"),
            "step": (None, "checkpoint; the newest, or the selected one, where unset"),
            "replica": ("0", "which of a run's replicas: a number, or best"),
        },
        required="workdir",
    )
    command_line.check_bounds(flags, {"num": (2, config.LARGEST - 1), "seed": (0, config.LARGEST - 1)})
    startup.start()
    loaded = loading.load(
        flags.workdir, command_line.integer("step", flags.step), selection.replica(flags.workdir, flags.replica)
    )
    names = column_names(loaded.spec)

    def places(flag: str) -> list[int]:
        said = flags[flag].value
        listed = [] if said is None else [name.strip() for name in said.split(",")]
        return [names.index(choose(f"column in --{flag}", name, names)) for name in dict.fromkeys(listed)]

    of, about, given = places("of") or [*range(len(names))], places("about"), places("given")
    for each in {*of, *about} & {*given} | {*of} & {*about}:
        raise UserError(f"column {names[each]!r} stands in two of --of, --about and --given; expected it in one")
    said = [", ".join(names[each] for each in some) for some in (of, about, given)]
    title = f"{'I' if about else 'H'}({said[0]}{f'; {said[1]}' * bool(about)}{f' | {said[2]}' * bool(given)})"
    if "network" in loaded.model.extras:
        print(f"{title} = {exact(loaded, of, about or of, given):.6f} nats, exactly")
        return
    value, error = estimated(loaded, of, about or of, given, flags.num, flags.seed)
    print(f"{title} = {value:.6f} nats, standard error {error:.6f} ({flags.num} samples)")


if __name__ == "__main__":
    command(main)
