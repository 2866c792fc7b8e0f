"""CLI and function: score a trained run, beside what real held-out data scores.

python -m gen_jax.evaluate --workdir runs/gan
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

from gen_jax import config, data, run, sharding
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError, choose, command
from gen_jax.metrics import METRICS, Measure, Reals
from gen_jax.model import Model, State
from gen_jax.sample import draw

Scores = dict[str, dict]  # name -> {"value", "oracle", "protocol"}


def make_scorer(
    spec: Spec, reals: Reals, splits: tuple[str, str], names: Iterable[str], num: int, seed: int
) -> Callable[[Model, State], Scores]:
    """A function that scores a model's samples by the metrics in `names`, or by all that apply where none is named.

    The oracle is the same metric on as many rows of the test split, None where there is none.

    Args:
      splits: the names of the training and of the test split.

    Raises:
      UserError: for an unknown metric, or one that these data do not have.
    """
    wanted = [choose("metric", name, METRICS) for name in names] or list(METRICS)
    measures: dict[Callable, Measure | None] = {}
    for name in wanted:
        if METRICS[name] not in measures:
            measures[METRICS[name]] = METRICS[name](spec, reals, splits[0])
        if names and measures[METRICS[name]] is None:
            raise UserError(f"metric {name!r} needs modes, and {spec.name} has neither mixture components nor labels")

    @cache
    def oracle() -> tuple[dict[Callable, Mapping], int]:
        real = reals(splits[1], num)
        if real is None:
            return {}, 0
        return {each: measure.values(real) for each, measure in measures.items() if measure}, len(real["x"])

    def score(model: Model, state: State) -> Scores:
        samples = draw(model, state, spec, seed, num)
        values = {each: measure.values(samples) for each, measure in measures.items() if measure}
        oracles, rows = oracle()
        held_out = {"split": splits[1], "oracle_samples": rows} if rows else {"split": None}
        return {
            name: {
                "value": values[METRICS[name]][name],
                "oracle": oracles[METRICS[name]][name] if rows else None,
                "protocol": {"samples": num, "seed": seed, **held_out, **measures[METRICS[name]].protocol},
            }
            for name in wanted
            if measures[METRICS[name]]
        }

    return score


def save_scores(workdir: Path, step: int, scores: Scores) -> None:
    """Writes `evaluation.json`."""
    run.write_json(workdir / "evaluation.json", {"step": step, "metrics": scores})


def main(argv: list[str]) -> None:
    """Scores `--workdir`, prints a table and writes `evaluation.json`."""
    flags = config.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            "num": (None, "how many samples; as in its config where unset"),
            "metrics": (None, "names, separated by commas; all that apply where unset"),
            "step": (None, "checkpoint to score; the newest where unset"),
        },
        required="workdir",
    )
    sharding.start()
    loaded = run.load(flags.workdir, config.integer("step", flags.step))
    settings, options = loaded.config["evaluate"], loaded.config["data"]
    names = flags.metrics.split(",") if flags.metrics else settings["metrics"]
    num = config.integer("num", flags.num, 1) or settings["num"]
    source = data.open_source(options)
    if source.content != loaded.spec.content:
        raise UserError(f"the data that {flags.workdir} was trained on have changed: {source.name}")
    splits = (options["split"], options["test_split"])
    score = make_scorer(loaded.spec, data.reader(source), splits, names, num, settings["seed"])
    scores = score(loaded.model, loaded.state)
    if not scores:
        raise UserError(
            f"no metric applies to {loaded.spec.name}: {', '.join(METRICS)} need known modes or labelled images"
        )
    print(f"step {loaded.step}, {num} samples\n{'metric':<16}{'value':>10}{'real data':>12}")
    for name, each in scores.items():
        cells = ["-" if each[key] is None else f"{each[key]:.4g}" for key in ("value", "oracle")]
        print(f"{name:<16}{cells[0]:>10}{cells[1]:>12}")
    save_scores(Path(flags.workdir), loaded.step, scores)


if __name__ == "__main__":
    command(main)
