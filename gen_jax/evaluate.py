"""CLI and function: score a trained run, beside what real held-out data scores.

python -m gen_jax.evaluate --workdir runs/gan [--metrics frechet,coverage] [--against runs/other]
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path

import jax
import numpy as np

from gen_jax import best, config, data, run, sharding
from gen_jax.data.rows import opened
from gen_jax.data.spec import Spec, to_model
from gen_jax.errors import UserError, choose, command
from gen_jax.metrics import ALL, DEFAULT, METRICS, NEEDS, SELECTING, Measure, Real, Reals, Rows, real_data
from gen_jax.metrics.progress import progress
from gen_jax.model import Model, State
from gen_jax.sample import draw, parse_given

ROWS = 64  # whose log-probabilities are computed together

# name -> {"value", "oracle", "protocol"}, "details" where a measure has more to tell, "standard_error" of replicas,
# "last", the value of the newest checkpoint where another one was selected
Scores = dict[str, dict]


def make_scorer(
    spec: Spec,
    reals: Reals,
    splits: tuple[str, str],
    names: Iterable[str],
    num: int,
    seed: int,
    features: str | None = None,
    also: str | None = None,
    length: int | None = None,
) -> Callable[[Model, State], Scores]:
    """A function that scores a model's samples by the metrics in `names`.

    The oracle is the same metric on real rows, as many where there are: those of the test split, or of the training
    split where samples are what a judge learns from. None where there is no test split.

    Args:
      splits: the names of the training and of the test split.
      features: a file whose features take the place of the classifier's (see `metrics.external`).
      names: of metrics; `all` for those that apply, and where there are none the cheap ones of them (`DEFAULT`).
      also: one more metric, whatever the others are.
      length: of the samples, where they are sequences; as the rows of the data where None.

    Raises:
      UserError: for an unknown metric, for one that these data, this model or so few samples do not have.
    """
    real, names = real_data(spec, reals, splits, features), tuple(names)
    required = {*names, also} - {ALL, None}
    wanted = list(METRICS) if ALL in names else [*(names or DEFAULT)]
    measures = choose_measures([*wanted, *required], required, real, num)
    drawn, given = {"samples": num, "seed": seed}, parse_given(None, num, spec, length)
    drawn |= {"length": length} if given else {}
    data_facts = {"data": spec.name, "shape": list(spec.shape), "content": spec.content}

    @cache
    def oracle(build: Callable) -> tuple[Mapping, dict]:
        return real_figures(measures[build][0], num, real)

    def score(model: Model, state: State) -> Scores:
        scores: Scores = {}
        of_samples = any(measure.of == "samples" for measure, _ in measures.values())
        samples = draw(model, state, spec, seed, num, given) if of_samples else {}
        refuse_broken(samples)
        for build, (measure, mine) in progress(measures.items(), "scoring", "measure"):
            needs = measure.needs if measure.of == "samples" else ()
            lacking = [key for key in needs if key not in samples]
            if lacking and required.intersection(mine):
                raise UserError(f"metric {mine[0]!r} needs samples with {lacking[0]!r}, which this model does not draw")
            if measure.of == "log_prob" and model.log_prob is None:
                if required.intersection(mine):
                    raise UserError(f"metric {mine[0]!r} needs an exact log-likelihood, which this model does not have")
            elif measure.of == "log_prob":
                values = measure.values(partial(log_prob_of_rows, model, state, spec))
                scores |= figures(mine, measure, values, {}, {}, data_facts)
            elif not lacking:
                scores |= figures(mine, measure, measure.values(samples), *oracle(build), {**data_facts, **drawn})
        return scores

    return score


def log_prob_of_rows(model: Model, state: State, spec: Spec, rows: Rows) -> np.ndarray:
    """Exact log-probabilities [N] in nats of raw rows, some at a time; frames beyond the longest row are cut off."""
    found = []
    for start in range(0, len(rows["x"]), ROWS):
        part = {name: value[start : start + ROWS] for name, value in rows.items()}
        if "length" in part:
            part["x"] = part["x"][:, : part["length"].max()]
        batch = {**part, "x": to_model(spec, part["x"])}
        found.append(np.asarray(model.log_prob(jax.random.key(0), state, batch)))
    return np.concatenate(found)


def choose_measures(
    names: Iterable[str], required: set[str], real: Real, num: int
) -> dict[Callable, tuple[Measure, list[str]]]:
    """What computes the metrics in `names` that apply, with those it computes; those `required` must.

    Raises:
      UserError: as `make_scorer`.
    """
    wanted = list(dict.fromkeys(choose("metric", name, METRICS) for name in names))
    chosen: dict[Callable, tuple[Measure, list[str]]] = {}
    for build in dict.fromkeys(METRICS[name] for name in wanted):
        measure, mine = build(real), [name for name in wanted if METRICS[name] is build]
        asked = [name for name in mine if name in required]
        if measure is None and asked:
            raise UserError(f"metric {asked[0]!r} needs {NEEDS[build]}; {real.spec.name} has none")
        if measure is not None and num < measure.least:
            raise UserError(f"metric {mine[0]!r} needs at least {measure.least} samples, not {num}: draw more")
        if measure is not None:
            chosen[build] = measure, mine
    return chosen


def real_figures(measure: Measure, num: int, real: Real) -> tuple[Mapping, dict]:
    """What `num` real rows score in the place of samples, and where they are from; nothing where there are too few."""
    split, rows = measure.oracle(num) if measure.oracle else (real.test, real.held_out(num))
    if rows is None or len(rows["x"]) < measure.least:
        return {}, {"oracle_split": None}
    return measure.values(rows), {"oracle_split": split, "oracle_samples": len(rows["x"])}


def figures(names: list[str], measure: Measure, values: Mapping, oracle: Mapping, origin: dict, common: dict) -> Scores:
    """The entries of the metrics of one measure; a value that is no finite number is None."""
    details = jax.tree.map(finite, {name: value for name, value in values.items() if name not in METRICS})
    more = {"details": details} if details else {}
    protocol = {**common, **origin, **measure.protocol()}
    return {
        name: {"value": finite(values[name]), "oracle": finite(oracle.get(name)), "protocol": protocol, **more}
        for name in names
    }


def finite(value: float | None) -> float | None:
    """A value as JSON can hold it."""
    return value if value is not None and math.isfinite(value) else None


def refuse_broken(samples: Rows) -> None:
    """Refuses samples with values that are not finite.

    Raises:
      UserError: saying how many there are.
    """
    broken = int((~np.isfinite(samples["x"]).reshape(len(samples["x"]), -1).all(1)).sum()) if samples else 0
    if broken:
        raise UserError(f"{broken} of {len(samples['x'])} samples are not finite: there is nothing to score")


def refuse_other_protocol(scores: Scores, others: Scores, origin: str) -> None:
    """Refuses to set scores beside others that were not taken in the same way.

    Raises:
      UserError: naming the metric, the first entry of the protocol that differs, and both values.
    """
    for name in [name for name in scores if name in others]:
        mine, theirs = (config.plain(each[name]["protocol"]) for each in (scores, others))
        for entry in {**mine, **theirs}:
            if mine.get(entry) != theirs.get(entry):
                raise UserError(
                    f"{name} does not compare with that of {origin}: {entry} is {mine.get(entry)!r} here "
                    f"and {theirs.get(entry)!r} there"
                )


def read_scores(workdir: str) -> Scores:
    """The metrics of a run's `evaluation.json`.

    Raises:
      UserError: where it has none.
    """
    try:
        return json.loads((Path(workdir) / "evaluation.json").read_text())["metrics"]
    except (OSError, ValueError, KeyError):
        raise UserError(
            f"{workdir} has no scores yet; first run: python -m gen_jax.evaluate --workdir {workdir}"
        ) from None


def save_scores(workdir: Path, step: int, scores: Scores) -> None:
    """Writes `evaluation.json`."""
    run.write_json(workdir / "evaluation.json", {"step": step, "metrics": scores})


def table(scores: Scores, others: Scores | None, origin: str) -> str:
    """Value and oracle of each metric, a line each.

    Beside them the standard error of replicas, the value of the last checkpoint where another one was selected, and the
    value in `others`, where there are any.
    """
    keys = {"value": "value", "error": "standard_error", "last": "last", "real data": "oracle"}
    heads = [head for head in keys if any(keys[head] in each for each in scores.values())]
    lines = [f"{'metric':<26}" + "".join(f"{head:>12}" for head in heads + ([origin] if others is not None else []))]
    for name, each in scores.items():
        values = [each.get(keys[head]) for head in heads]
        values += [others.get(name, {}).get("value")] if others is not None else []
        lines.append(f"{name:<26}" + "".join(f"{'-' if value is None else f'{value:.4g}':>12}" for value in values))
    return "\n".join(lines)


def scorer_of(
    loaded: run.Run, names: Iterable[str], num: int, features: str | None = None
) -> Callable[[Model, State], Scores]:
    """`make_scorer` for a trained run, whose data it opens.

    Raises:
      UserError: where the data of the run have changed, and as `make_scorer`.
    """
    options = loaded.config["data"]
    source = opened(loaded.spec, options)
    splits = (options["split"], options["test_split"])
    reals = data.reader(source, options)
    length = loaded.config["sample"]["length"]
    return make_scorer(
        loaded.spec, reals, splits, names, num, loaded.config["evaluate"]["seed"], features, length=length
    )


def scorer_while_training(settings: Mapping, spec: Spec, reals: Reals) -> Callable[[Model, State], Scores] | None:
    """`make_scorer` by the settings of a run, with the metric that selects; None where it does not score.

    Raises:
      UserError: for a metric that selects where nothing is scored, and as `make_scorer`.
    """
    select, how = settings["select"], settings["evaluate"]
    if not settings["eval_every"]:
        if select:
            raise UserError(f"select {select!r} needs scores while the model trains: set --config.eval_every")
        return None
    if select:
        choose("metric to select by", select, SELECTING)
    splits = (settings["data"]["split"], settings["data"]["test_split"])
    length = settings["sample"]["length"]
    return make_scorer(spec, reals, splits, how["metrics"], how["num"], how["seed"], also=select, length=length)


def mean_scores(each: list[Scores]) -> Scores:
    """The scores of replicas as one: `value` is their mean, beside its `standard_error` and the `values` of each."""
    if len(each) == 1:
        return each[0]
    scores = {}
    for name, first in each[0].items():
        values = [one[name]["value"] for one in each]
        known = [value for value in values if value is not None]
        mean = float(np.mean(known)) if known else None
        error = float(np.std(known, ddof=1) / len(known) ** 0.5) if len(known) > 1 else None
        scores[name] = {**first, "value": mean, "standard_error": error, "values": values}
    return scores


def main(argv: list[str]) -> None:
    """Scores `--workdir`, prints a table and writes `evaluation.json`."""
    flags = config.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            "num": (None, "how many samples; as in its config where unset"),
            "metrics": (None, "names, separated by commas; those of its config, or all that apply, where unset"),
            "step": (None, "checkpoint to score; the newest, or the selected one beside it, where unset"),
            "replica": (
                None,
                "which of a run's replicas to score, a number or best; all of them, as mean and error, where unset",
            ),
            "features": (
                None,
                "TorchScript file of a network (Inception, for the FID) to compare by, not the classifier",
            ),
            "against": (None, "another run, whose stored scores are printed beside these"),
        },
        required="workdir",
    )
    others = read_scores(flags.against) if flags.against else None
    sharding.start()
    step = config.integer("step", flags.step)
    one = None if flags.replica is None else best.replica(flags.workdir, flags.replica)
    loaded = run.load(flags.workdir, step, one or 0)
    settings = loaded.config["evaluate"]
    names = flags.metrics.split(",") if flags.metrics else settings["metrics"] or [ALL]
    num = config.integer("num", flags.num, 1) or settings["num"]
    score = scorer_of(loaded, names, num, flags.features)
    others_of = range(1, loaded.config["replicas"]) if one is None else ()

    def scores_of(found: run.Run) -> Scores:
        states = [found.state, *(run.load(flags.workdir, found.step, each).state for each in others_of)]
        return mean_scores([score(found.model, state) for state in states])

    scores = scores_of(loaded)
    if not scores:
        raise UserError(f"no metric applies to {loaded.spec.name}")
    if step is None and loaded.config.get("select"):
        for name, each in scores_of(run.load(flags.workdir, None, one or 0, last=True)).items():
            scores[name]["last"] = each["value"]
    save_scores(Path(flags.workdir), loaded.step, scores)
    print(f"step {loaded.step}, {num} samples")
    if others is not None:
        try:
            refuse_other_protocol(scores, others, flags.against)
        except UserError:
            print(table(scores, None, ""))
            raise
    print(table(scores, others, Path(flags.against or "").name))


if __name__ == "__main__":
    command(main)
