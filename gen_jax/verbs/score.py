"""Scores a model by the measures of `metrics`, beside what real rows score."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache

import numpy as np

from gen_jax import config, data
from gen_jax.data.feed.rows import opened
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError, choose
from gen_jax.metrics import ALL, DEFAULT, METRICS, NEEDS, SELECTING, Measure, Real, Reals, Rows, real_data
from gen_jax.metrics.progress import progress
from gen_jax.metrics.rows import Lacking, under
from gen_jax.metrics.scores import Scores, figures
from gen_jax.metrics.tables.encoding import target_of
from gen_jax.model import Model, State
from gen_jax.storage import loading
from gen_jax.verbs.draw import draw
from gen_jax.verbs.given import parse_given


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
    num_samples: int = 100,
    target: str | None = None,
) -> Callable[..., Scores]:
    """A function (model, state, samples=None) that scores by the metrics in `names`: samples, or what it makes of real rows.

    The oracle of samples is the same metric on real rows, as many where there are: those of the test split, or of the training
    split where samples are what a judge learns from. None where there is no test split. Samples that a caller has not drawn
    already are drawn.

    Args:
      splits: the names of the training and of the test split.
      features: a file whose features take the place of the classifier's (see `metrics.images.external`).
      names: of metrics; `all` for those that apply, and where there are none the cheap ones of them (`DEFAULT`).
      also: one more metric, whatever the others are.
      length: of the samples, where they are sequences; as the rows of the data where None.
      num_samples: latents drawn for each row for the importance weighted bound.
      target: the column of a table that classifiers tell; the last one with levels where None.

    Raises:
      UserError: for an unknown metric, for one that these data, this model or so few samples do not have.
    """
    real, names = real_data(spec, reals, splits, features, target), tuple(names)
    required = {*names, also} - {ALL, None}
    wanted = list(METRICS) if ALL in names else [*(names or DEFAULT)]
    measures = choose_measures([*wanted, *required], required, real, num)
    drawn, given = {"samples": num, "seed": seed}, parse_given(None, num, spec, length).given
    drawn |= {"length": length} if given else {}
    data_facts = {"data": spec.name, "shape": list(spec.shape), "content": spec.content}

    @cache
    def oracle(build: Callable) -> tuple[Mapping, dict]:
        return real_figures(measures[build][0], num, real)

    def score(model: Model, state: State, known: Rows | None = None) -> Scores:
        scores: Scores = {}

        @cache
        def samples() -> Rows:
            found = draw(model, state, spec, seed, num, given) if known is None else known
            refuse_broken(found)
            return found

        def measured(build: Callable, measure: Measure) -> tuple[Mapping, Mapping, dict]:
            """Values of the model and of the oracle, and what both depend on."""
            if measure.of != "samples":
                function, facts = under(measure.of, model, state, spec, seed, num_samples)
                return measure.values(function), {}, facts
            lacking = [key for key in measure.needs if key not in samples()]
            if lacking:
                raise Lacking(f"samples with {lacking[0]!r}, which this model does not draw")
            values, (found, origin) = measure.values(samples()), oracle(build)
            return values, found, {**drawn, **origin}

        for build, (measure, mine) in progress(measures.items(), "scoring", "measure"):
            try:
                values, found, facts = measured(build, measure)
            except Lacking as lack:
                if required.intersection(mine):
                    raise UserError(f"metric {mine[0]!r} needs {lack}") from None
            else:
                scores |= figures(mine, measure, values, found, {**data_facts, **facts})
        return scores

    return score


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


def refuse_broken(samples: Rows) -> None:
    """Refuses samples with values that are not finite.

    Raises:
      UserError: saying how many there are.
    """
    broken = int((~np.isfinite(samples["x"]).reshape(len(samples["x"]), -1).all(1)).sum()) if samples else 0
    if broken:
        raise UserError(f"{broken} of {len(samples['x'])} samples are not finite: there is nothing to score")


def scorer_of(
    loaded: loading.Run, names: Iterable[str], num: int, features: str | None = None, num_samples: int | None = None
) -> Callable[..., Scores]:
    """`make_scorer` for a trained run, whose data it opens.

    Raises:
      UserError: where the data of the run have changed, and as `make_scorer`.
    """
    options = loaded.config["data"]
    source = opened(loaded.spec, options)
    splits = (options["split"], options["test_split"])
    reals = data.reader(source, options)
    seed, settings = loaded.config["evaluate"]["seed"], {**config.base_config().sample, **loaded.config["sample"]}
    more = {"length": settings["length"], "num_samples": num_samples or settings["num_samples"]}
    more["target"] = loaded.config["evaluate"].get("target")
    return make_scorer(loaded.spec, reals, splits, names, num, seed, features, **more)


def scorer_while_training(settings: Mapping, spec: Spec, reals: Reals) -> Callable[..., Scores] | None:
    """`make_scorer` by the settings of a run, with the metric that selects; None where it does not score.

    Raises:
      UserError: for a metric that selects where nothing is scored, and as `make_scorer`.
    """
    select, how = settings["select"], settings["evaluate"]
    if spec.tabular:
        target_of(spec, how.get("target"))  # a wrong one is said before the run
    if not settings["eval_every"]:
        if select:
            raise UserError(f"select {select!r} needs scores while the model trains: set --config.eval_every")
        return None
    if select:
        choose("metric to select by", select, SELECTING)
    splits = (settings["data"]["split"], settings["data"]["test_split"])
    more = {name: settings["sample"][name] for name in ("length", "num_samples")}
    more["target"] = how.get("target")
    return make_scorer(spec, reals, splits, how["metrics"], how["num"], how["seed"], also=select, **more)
