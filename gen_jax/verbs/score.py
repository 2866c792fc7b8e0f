"""Scores a model by the measures of `metrics`, beside the scores of real rows."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from gen_jax import config, data
from gen_jax.conditions import sampler_options
from gen_jax.data.feed.rows import opened
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.metrics import catalogue
from gen_jax.metrics.features import Real, Reals, Rows, real_data
from gen_jax.metrics.measure import Computation, Measure, names_of
from gen_jax.metrics.progress import stages
from gen_jax.metrics.row_functions import Lacking, Subject, read
from gen_jax.metrics.scores import Scores, entries
from gen_jax.metrics.tables.encoding import target_of
from gen_jax.model import Model, State
from gen_jax.storage import loading
from gen_jax.verbs.conditioning import conditions_of_rows, needs_condition
from gen_jax.verbs.draw import Conditions, chosen_options, draw, draw_request
from gen_jax.verbs.given import parse_given


class Scorer(NamedTuple):
    """Scores models of one data set by chosen metrics."""

    score: Callable[..., Scores]  # (model, state, samples=None) -> scores; samples that are not given are drawn
    draw: Callable[[Model, State], Rows]  # -> the samples that are scored


class Oracle(NamedTuple):
    """The figures of real rows."""

    values: Mapping[str, Any]  # by metric; empty if there are none
    reason: str  # why a figure is missing, if it is
    origin: dict[str, Any]  # of the rows, for the protocol


class Chosen(NamedTuple):
    """A measure that applies to the data."""

    measure: Measure
    computation: Computation
    names: tuple[str, ...]  # metrics of the measure that are asked for
    oracle: Callable[[], Oracle]  # computed once


class Plan(NamedTuple):
    """The measures of a scorer, and the samples that they read."""

    spec: Spec
    chosen: tuple[Chosen, ...]
    required: frozenset[str]  # metrics that are asked for by name: a model that cannot have them is refused
    num: int  # samples
    seed: int
    given: Conditions | None  # the length of each sample, if it is asked for
    how: Mapping[str, Any]  # options of the sampler
    held_out: Callable[[int], Rows]  # (num) -> first test rows, whose conditions are given to a model that needs them
    num_samples: int  # latents of each row for the importance weighted bound
    protocol: Mapping[str, Any]  # facts of the data
    drawn: Mapping[str, Any]  # facts of the samples
    shown: bool  # show the measure at work, and the number of samples that are drawn


def make_scorer(
    real: Real,
    names: Iterable[str],
    *,
    num: int,
    seed: int,
    length: int | None = None,
    how: Mapping[str, Any] = {},
    num_samples: int = 100,
    also: str | None = None,
    show_progress: bool = False,
) -> Scorer:
    """Returns a scorer of models by samples, or by what the models give for real rows.

    The oracle of a metric of samples is the same metric of real rows. They are test rows, or train rows if a judge is
    trained on samples. The oracle is None without a test split, and for metrics of real rows.

    Args:
      real: the real data.
      names: of metrics; `all` for the metrics that apply; none for the cheap metrics that apply.
      num: number of samples.
      seed: of the samples and of the latents.
      length: of samples that are sequences, in tokens or frames; None: as the rows of the data.
      how: options of the sampler; by default none.
      num_samples: latents of each row for the importance weighted bound.
      also: a metric beside the others.
      show_progress: show the measure at work on the terminal from the start, and the number of samples that are drawn.

    Raises:
      UserError: for an unknown metric, and for a metric that the data, or so few samples, do not have.
    """
    names, spec = tuple(names), real.spec
    required = frozenset([*names, *([] if also is None else [also])]) - {catalogue.ALL}
    if catalogue.ALL in names:
        wanted = [*catalogue.metrics()]
    else:
        wanted = [*(names or catalogue.defaults())]
    measures = choose_measures([*wanted, *required], required, real, num)
    given = parse_given(None, num, spec, length).given
    protocol = {"data": spec.name, "shape": list(spec.shape), "content": spec.content}
    sample_facts = {"samples": num, "seed": seed, **how}
    if length is not None:
        sample_facts["length"] = length
    plan = Plan(
        spec,
        measures,
        required,
        num,
        seed,
        given,
        how,
        real.held_out,
        num_samples,
        protocol,
        sample_facts,
        show_progress,
    )
    return Scorer(partial(score, plan), partial(draw_samples, plan))


def draw_samples(plan: Plan, model: Model, state: State) -> Rows:
    """Draws the samples that are scored.

    A model that needs a condition gets the conditions of the first test rows. Its samples have their true rows as
    `truth`.

    Args:
      plan: number and seed of the samples.
      model: the model.
      state: its state.

    Raises:
      Lacking: for a model that needs a condition, and data without test rows.
    """
    if not needs_condition(model):
        return draw(model, state, plan.spec, plan.seed, plan.num, plan.given, plan.how, show_progress=plan.shown)
    rows = plan.held_out(plan.num)
    if not rows:
        raise Lacking("test rows, whose conditions are given to the model")
    request = conditions_of_rows(model, plan.spec, rows)
    request = request._replace(given={**(plan.given or {}), **(request.given or {})})
    return draw_request(model, state, plan.spec, plan.seed, request, plan.how, show_progress=plan.shown)


def score(plan: Plan, model: Model, state: State, samples: Rows | None = None) -> Scores:
    """Scores a model.

    Args:
      plan: the measures.
      model: the model.
      state: its state.
      samples: raw samples; None: they are drawn, if a measure reads them.

    Raises:
      UserError: for samples that are not finite, and for a model that lacks what a required metric needs.
    """
    subject = Subject(model, state, plan.spec, plan.seed, plan.num_samples)

    @cache
    def checked_samples() -> Rows:
        drawn = draw_samples(plan, model, state) if samples is None else samples
        refuse_broken(drawn)
        return drawn

    scores: Scores = {}
    at_work = stages(plan.chosen, "measure", lambda choice: ", ".join(choice.names)) if plan.shown else plan.chosen
    for choice in at_work:
        try:
            values, oracle = measured(plan, choice, subject, checked_samples)
        except Lacking as lack:
            if plan.required.intersection(choice.names):
                raise UserError(f"metric {choice.names[0]!r} needs {lack}; expected another metric") from None
            continue
        protocol = {**plan.protocol, **oracle.origin, **choice.computation.protocol()}
        scores |= entries(choice.names, choice.measure, values, oracle.values, oracle.reason, protocol)
    return scores


def measured(
    plan: Plan, choice: Chosen, subject: Subject, samples: Callable[[], Rows]
) -> tuple[Mapping[str, Any], Oracle]:
    """Returns the figures of a model, and the figures of real rows with the facts that both depend on.

    Args:
      plan: facts of the samples.
      choice: the measure.
      subject: the model.
      samples: () -> samples of the model.

    Raises:
      Lacking: for a model that lacks what the measure needs.
    """
    measure, computation = choice.measure, choice.computation
    if measure.reading is not None:
        function, facts = read(measure.reading, subject)
        return computation.values(function), Oracle({}, measure.reading.no_oracle, facts)
    lacking = [field for field in measure.fields if field not in samples()]
    if lacking:
        raise Lacking(f"samples with {lacking[0]!r}, which this model does not draw")
    values = computation.values(samples())
    oracle = choice.oracle()
    number = {"samples": len(samples()["x"])}
    return values, oracle._replace(origin={**plan.drawn, **number, **oracle.origin})


def choose_measures(names: Iterable[str], required: frozenset[str], real: Real, num: int) -> tuple[Chosen, ...]:
    """Returns the measures that apply to the data, for some metrics.

    Args:
      names: of the metrics.
      required: metrics that must apply.
      real: the real data.
      num: number of samples.

    Raises:
      UserError: as `make_scorer`.
    """
    measures = catalogue.measures()
    wanted = dict.fromkeys(catalogue.checked_name("metric", name, measures) for name in names)
    choices = []
    for measure in dict.fromkeys(measures[name] for name in wanted):
        metrics = tuple(name for name in wanted if name in names_of(measure))
        computation = measure.prepare(real)
        if computation is None:
            refused = [name for name in metrics if name in required]
            if refused:
                raise UserError(
                    f"{real.spec.name} does not fit metric {refused[0]!r}; expected {measure.data}. Choose metrics by "
                    "evaluate.metrics or --metrics"
                )
            continue
        if num < measure.least:
            raise UserError(
                f"number of samples is {num}; expected at least {measure.least} for metric {metrics[0]!r}. Draw more"
            )
        oracle = cache(partial(real_figures, measure, computation, real, num))
        choices.append(Chosen(measure, computation, metrics, oracle))
    return tuple(choices)


def real_figures(measure: Measure, computation: Computation, real: Real, num: int) -> Oracle:
    """Returns the figures of real rows in the place of samples; no figures of too few rows.

    Args:
      measure: the measure.
      computation: its functions.
      real: the real data.
      num: number of rows, if there are as many.
    """
    if computation.oracle is None:
        split, rows = real.test, real.held_out(num)
    else:
        split, rows = computation.oracle(num)
    if not rows:
        return Oracle({}, measure.no_oracle, {"oracle_split": None})
    if len(rows["x"]) < measure.least:
        return Oracle({}, "too few rows", {"oracle_split": None})
    origin = {"oracle_split": split, "oracle_samples": len(rows["x"])}
    return Oracle(computation.values(rows), "not finite", origin)


def refuse_broken(samples: Rows) -> None:
    """Refuses samples that are not finite.

    Raises:
      UserError: with the number of these samples.
    """
    broken = int((~np.isfinite(samples["x"]).reshape(len(samples["x"]), -1).all(1)).sum()) if samples else 0
    if broken:
        raise UserError(f"{broken} of {len(samples['x'])} samples are not finite; expected finite numbers to score")


def scorer_of(
    loaded: loading.Loaded,
    names: Iterable[str],
    num: int,
    features: str | None = None,
    num_samples: int | None = None,
    sampler: Mapping[str, Any] | None = None,
) -> Scorer:
    """Returns the scorer of a trained run, on the data of the run.

    Args:
      loaded: the run.
      names: of metrics; see `make_scorer`.
      num: number of samples.
      features: TorchScript network whose features replace the features of the classifier.
      num_samples: latents of each row for the importance weighted bound; None: as in the config of the run.
      sampler: options of the sampler, which replace those of the config of the run; by default none.

    Raises:
      UserError: if the data of the run have changed, and as `make_scorer`.
    """
    options, how = loaded.config["data"], loaded.config["evaluate"]
    settings = {**config.base_config().sample, **loaded.config["sample"]}
    reals = data.reader(opened(loaded.spec, options), options)
    splits = (options["split"], options["test_split"])
    real = real_data(loaded.spec, reals, splits, features, how.get("target"))
    num_samples = num_samples or settings["num_samples"]
    how_drawn = chosen_options(settings, sampler)
    sampler_options(how_drawn, loaded.model.options)  # because no option is ignored silently
    return make_scorer(
        real,
        names,
        num=num,
        seed=how["seed"],
        length=settings["length"],
        how=how_drawn,
        num_samples=num_samples,
        show_progress=True,
    )


def scorer_while_training(settings: Mapping, spec: Spec, reals: Reals) -> Scorer | None:
    """Returns the scorer of a run that trains, with the metric that selects; None for a run that does not score.

    Args:
      settings: the config of the run.
      spec: facts of the data.
      reals: reader of the splits.

    Raises:
      UserError: for a metric that selects in a run that does not score, and as `make_scorer`.
    """
    select, how = settings["select"], settings["evaluate"]
    if spec.tabular:
        target_of(spec, how.get("target"))  # because a wrong target should be refused before the run
    if not settings["eval_every"]:
        if select:
            raise UserError(
                f"select is {select!r} without scores while the model trains; expected scores. Set --config.eval_every"
            )
        return None
    if select:
        catalogue.checked_name("metric to select by", select, catalogue.signs())
    splits = (settings["data"]["split"], settings["data"]["test_split"])
    real = real_data(spec, reals, splits, target=how.get("target"))
    sample = settings["sample"]
    return make_scorer(
        real,
        how["metrics"],
        num=how["num"],
        seed=how["seed"],
        length=sample["length"],
        how=chosen_options(sample),
        num_samples=sample["num_samples"],
        also=select,
    )
