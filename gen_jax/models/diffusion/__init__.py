"""Diffusion models and flow matching: a net that finds the data and the noise in noisy rows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import optimizers
from gen_jax.conditions import conditions_in, conditions_of, example_conditions
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.spec import Spec
from gen_jax.distributions import columns as form
from gen_jax.distributions.pixels import whole
from gen_jax.errors import UserError, check_share, check_whole, choose
from gen_jax.model import Batch, Model, family, like_rows, observed, weighted_mean
from gen_jax.models import host_checks
from gen_jax.models.diffusion import path
from gen_jax.models.diffusion.bound import bound
from gen_jax.models.diffusion.denoising import Diffusion, hidden, predict
from gen_jax.models.diffusion.mean_flow import mean_flow_error, time_pairs
from gen_jax.models.diffusion.pairing import PAIRINGS
from gen_jax.models.diffusion.schedules import (
    DENSITIES,
    PREDICTIONS,
    SCHEDULES,
    DensityChoice,
    ScheduleChoice,
    Shares,
    strata,
)
from gen_jax.models.diffusion.solvers import draw, evidence_of, options_of, sample
from gen_jax.models.updates import GradientState, gradient_step, started
from gen_jax.nets import DENOISERS, Denoiser
from gen_jax.nets.embedding import ConditionedNet
from gen_jax.nets.net import build_net
from gen_jax.registry import build

ADAM = {"name": "adam", "learning_rate": 1e-3}
LEAST_NOISE = 0.05  # smallest s by which the loss divides (Li & He 2025, arXiv 2511.13720)


@family("diffusion")
def diffusion(
    spec: Spec,
    net: Denoiser = {"name": "mlp"},
    schedule: ScheduleChoice = {"name": "flow"},
    prediction: str = "v",
    target: str | None = None,
    times: DensityChoice = {"name": "uniform"},
    deviation: float = 0.5,
    conditional: bool = False,
    drop: float = 0.1,
    observed: bool = False,
    pairing: str = "independent",
    mean_flow: float = 0.0,
    ode_steps: int = 100,
    optimizer: optimizers.Optimizer = ADAM,
    ema_half_life: optimizers.Schedule = 10_000.0,
) -> Model:
    """Returns a diffusion model of images, clips, vectors, series or tables.

    A row x is mixed with noise e ~ N(0, I) to z = a(t) x + s(t) e, and the net predicts one of x, e, the velocity of z, and
    v from z. Schedules, predictions and densities of t are independent, so that DDPM (Ho et al. 2020, arXiv 2006.11239), EDM
    (Karras et al. 2022, arXiv 2206.00364) and flow matching (Lipman et al. 2023, arXiv 2210.02747) are settings of one
    model.

    `log_prob` is exact, for at most 16 real numbers. `log_prob_bound` is the variational bound for whole numbers. `encode`
    and `decode` follow the path without fresh noise. The predictions u and v alone have `log_prob`, `encode` and
    `decode`. `given` takes the conditions, and with `observed` also `x` and `mask`, numbers that a sample keeps. `how`
    takes `steps`; `solver`, one of euler, heun, multistep and, with `mean_flow`, mean; `churn`, the share of noise that a
    step draws anew (0 for DDIM, 1 for ancestral sampling); and `guidance`, the weight of the conditions (1 for none) from
    the time `guide_from` to `guide_to` (Kynkaanniemi et al. 2024, arXiv 2404.07724). Guided samples do not follow
    p(x | conditions).

    Args:
      spec: facts of the data.
      net: a `name` in `DENOISERS` and the options of that net, or a net (z, c, level, evidence) -> prediction,
        with `level` [N], or [N, 2] with `mean_flow`.
      schedule: a `name` in `SCHEDULES` and its options; by default `flow`.
      prediction: what the net predicts: x, e, u (velocity) or v; by default v.
      target: what the squared error compares; by default the prediction.
      times: a `name` in `DENSITIES` and its options; by default `uniform`.
      deviation: standard deviation of the data in model space; by default 0.5.
      conditional: whether the net reads the conditions of the data; by default False.
      drop: share of the rows of training whose conditions are hidden, for guidance; by default 0.1.
      observed: whether the net also learns to complete rows, from observed numbers; by default False.
      pairing: which noise stands beside which row in training: `independent`, the default, or `transport`, the optimal
        transport within groups of 64 rows, which makes paths straighter. With labels, noise is transported within a
        class. The sampler then takes no `churn`, because noise is no longer independent of the row.
      mean_flow: share of the rows of training with which mean velocities are trained too, so that one step, or a few,
        draw a sample (Geng et al. 2025, arXiv 2505.13447); by default 0, for none. It needs the prediction u. The net
        then reads two times [N, 2] as its level, and samples take one step of the solver `mean` by default.
      ode_steps: number of steps of `log_prob`, `encode` and `decode`; by default 100.
      optimizer: see `gen_jax.optimizers.optimizer`; by default Adam.
      ema_half_life: half-life, in rows, of the averaged weights that sample and score, or a schedule; by default 10,000.

    Raises:
      UserError: for data that nets cannot read, missing conditions, or an unknown name or option.
    """
    check_arguments(spec, prediction, target, deviation, drop, observed, ode_steps)
    check_pairing(pairing, spec, conditional, observed)
    check_mean_flow(mean_flow, prediction, target)
    curve, density = build("schedule", SCHEDULES, schedule), build("times", DENSITIES, times)
    if not curve.ends and prediction in ("e", "u"):
        raise UserError(
            f"prediction is {prediction!r} with the schedule edm, whose noise is far larger than the data; expected v or x"
        )
    representation = representation_of(spec)
    conditions = conditions_of("diffusion model", spec, conditional)
    shape = representation.shape
    model = Diffusion(
        spec=spec,
        net=ConditionedNet(build_net("net", DENOISERS, net, shape, inputs="z, c, level", shape=shape), conditions),
        conditions=conditions,
        form=representation,
        schedule=curve,
        density=density,
        prediction=prediction,
        target=target or prediction,
        deviation=deviation,
        drop=drop if conditions.names else 0.0,
        observed=observed,
        pairing=PAIRINGS[pairing],
        mean_flow=mean_flow,
    )
    tx = optimizers.optimizer(optimizer)
    honoured = (*conditions.names, "x", "mask") if observed else conditions.names
    record = Model(
        partial(init, model, tx),
        partial(gradient_step, partial(denoising_loss, model), "loss", tx, optimizers.half_life(ema_half_life)),
        partial(sample, model, honoured, jax.jit(partial(draw, model), static_argnames=("num", "method"))),
        given=honoured,
        options=options_of(model),
    )
    return record._replace(**functions_of_path(model, ode_steps))


def functions_of_path(model: Diffusion, steps: int) -> dict[str, Any]:
    """Returns the functions of the record that follow the path or bound its likelihood, where they are honest.

    Args:
      model: the model.
      steps: number of steps of Heun's method.
    """
    spec, numbers = model.spec, whole(model.spec)
    functions: dict[str, Any] = {}
    plain = not (spec.tabular or kind_of(spec).class_map or model.observed)
    smooth = model.prediction in ("u", "v")  # whose velocity has no pole at an end of the path
    real = numbers is None and np.dtype(spec.dtype).kind == "f"
    if plain and smooth and real and len(spec.shape) == 1 and spec.shape[0] <= path.MOST:
        functions["log_prob"] = partial(
            host_checks.log_prob, model.conditions, jax.jit(partial(path.ode_log_prob, model, steps))
        )
    if plain and numbers is not None:
        compiled = jax.jit(partial(bound, model, numbers), static_argnames="num")
        functions["log_prob_bound"] = partial(host_checks.log_prob_bound, model.conditions, compiled)
    if plain and smooth:
        functions["prior"] = partial(path.prior, model)
        functions["encode"] = partial(
            host_checks.encode, model.conditions, jax.jit(partial(path.noise_of, model, steps))
        )
        functions["decode"] = jax.jit(partial(path.decode, model, steps))
    return functions


def representation_of(spec: Spec) -> form.Representation:
    """Returns how a row becomes real numbers, and how denoised numbers become a row: the nearest levels and modes.

    Args:
      spec: facts of the data.
    """
    plain, numbers = form.representation(spec), whole(spec)
    if numbers is not None and not kind_of(spec).class_map and not spec.tabular:
        return plain._replace(drawn=lambda key, out: numbers.back(jnp.clip(numbers.of(out), 0, numbers.top)))
    if not spec.tabular:
        return plain
    layout = form.layout_of(spec)

    def nearest(key: jax.Array, out: jax.Array) -> jax.Array:
        distance, held = form.split(layout, out)
        return form.draw_rows(layout, None, held, distance)

    return plain._replace(drawn=nearest)


def init(model: Diffusion, tx: Callable, key: jax.Array, batch: Batch) -> GradientState:
    """Returns the state before the first step.

    Args:
      model: the model.
      tx: function from the number of examples to an Optax transformation.
      key: random key of the weights.
      batch: not used, because `model` gives the shapes.
    """
    z, level = jnp.zeros((1, *model.form.shape)), jnp.zeros((1, 2) if model.mean_flow else 1)
    evidence = (jnp.zeros((*z.shape, 2)),) if model.observed else ()
    params = model.net.init(key, z, example_conditions(model.conditions, 1), level, *evidence)
    return GradientState(**started(tx, model.conditions.classes, params))


def denoising_loss(model: Diffusion, params: Any, key: jax.Array, batch: Batch) -> jax.Array:
    """Returns the mean squared error of the target over the numbers and rows of a batch.

    Args:
      model: the model.
      params: weights of the net; differentiable.
      key: random key of the noise, the times and dropout.
      batch: `x` [N, *shape], the conditions that the net reads, and `weight` [N] (0 for padding rows).
    """
    form_key, t_key, e_key, hide_key, mask_key, dropout_key = jax.random.split(key, 6)
    dropout_key, pair_key = jax.random.split(dropout_key) if model.mean_flow else (dropout_key, None)
    rows = observed(batch)
    x, present = model.form.read(form_key, rows), ~jnp.isnan(rows)
    if model.spec.tabular:  # missing cells are pure noise, and have no loss (Ouyang et al. 2023, arXiv 2307.00467)
        x = x * model.form.entries(present)
    weight = batch.get("weight", jnp.ones(len(x)))
    t = model.density(model.schedule, strata(t_key, weight))
    c = conditions_in(batch, model.conditions)
    e = model.pairing(x, jax.random.normal(e_key, x.shape), (c or {}).get("y"), weight)
    if model.drop:
        c = hidden(model.conditions, c, jax.random.uniform(hide_key, (len(x),)) < model.drop)
    evidence = None
    if model.observed:
        evidence = evidence_of(x, model.form.entries(random_mask(mask_key, rows) & present))
    if pair_key is None:
        a, s = (like_rows(curve(t), x) for curve in (model.schedule.data, model.schedule.noise))
        out, at = predict(model, params, a * x + s * e, t, c, evidence, {"dropout": dropout_key})
        error = error_of(model, at, a * x + s * e, x, e, out)
    else:
        error = mean_flow_error(model, params, dropout_key, x, e, time_pairs(model, pair_key, t), c, evidence)
    if model.spec.tabular:
        error = error * model.form.entries(present)
    return weighted_mean(jnp.square(error).reshape(len(x), -1).mean(1), weight)


def error_of(model: Diffusion, at: Shares, z: jax.Array, x: jax.Array, e: jax.Array, out: jax.Array) -> jax.Array:
    """Returns the error of the target [N, *shape].

    If the target is another than the prediction, the error is that of x, times the change of the target with x for given z.

    Args:
      model: the model.
      at: facts of the times.
      z: noisy rows [N, *shape].
      x: the rows [N, *shape].
      e: the noise [N, *shape].
      out: prediction of the net [N, *shape].
    """
    p, q = at.predicted(model.target)
    if model.target == model.prediction:
        return out - (p * x + q * e)
    change = (p * at.s - q * at.a) / jnp.maximum(at.s, LEAST_NOISE)
    return change * (at.solved(model.prediction, z, out)[0] - x)


def random_mask(key: jax.Array, x: jax.Array) -> jax.Array:
    """Returns which numbers of training rows the net sees [N, *shape] bool: none of half of the rows, and a random share.

    Args:
      key: random key.
      x: rows [N, *shape]. All channels of a pixel are seen or hidden together.
    """
    none_key, share_key, cell_key = jax.random.split(key, 3)
    share = jax.random.uniform(share_key, (len(x),)) * (jax.random.uniform(none_key, (len(x),)) < 0.5)
    shape = (*x.shape[:-1], 1) if x.ndim >= 4 else x.shape
    return jnp.broadcast_to(jax.random.uniform(cell_key, shape) < like_rows(share, x), x.shape)


def check_arguments(
    spec: Spec, prediction: str, target: str | None, deviation: float, drop: float, observed: bool, ode_steps: int
) -> None:
    """Refuses data that nets cannot read, and arguments out of their range.

    Args:
      spec: facts of the data.
      prediction: see `diffusion`.
      target: see `diffusion`.
      deviation: see `diffusion`.
      drop: see `diffusion`.
      observed: see `diffusion`.
      ode_steps: see `diffusion`.

    Raises:
      UserError: for such data or arguments.
    """

    def readable(kind: Kind) -> bool:
        return kind.columns or kind.still or kind.film

    form.check_kind("diffusion model", spec, readable)
    choose("prediction", prediction, PREDICTIONS)
    choose("target", prediction if target is None else target, PREDICTIONS)
    check_whole("ode_steps", ode_steps)
    if not (np.isfinite(deviation) and deviation > 0):
        raise UserError(f"deviation is {deviation}; expected a number above 0")
    check_share("drop", drop)
    if observed and kind_of(spec).class_map:
        raise UserError(
            f"observed is true and {spec.name} holds {spec.kind} data; expected images, vectors, series or tables"
        )


def check_pairing(pairing: str, spec: Spec, conditional: bool, observed: bool) -> None:
    """Refuses an unknown pairing, and transport where it would change the noise of rows with the same condition.

    Args:
      pairing: see `diffusion`.
      spec: facts of the data.
      conditional: see `diffusion`.
      observed: see `diffusion`.

    Raises:
      UserError: for such a pairing.
    """
    choose("pairing", pairing, PAIRINGS)
    reads = "observed numbers" if observed else None
    if conditional and spec.condition is not None:
        reads = f"a condition of kind {spec.condition.kind!r}"
    if pairing == "transport" and reads:
        raise UserError(
            f"pairing is 'transport' with {reads}; expected no condition but labels. Set pairing=independent"
        )


def check_mean_flow(mean_flow: float, prediction: str, target: str | None) -> None:
    """Refuses a share of mean velocities out of its range, or beside another prediction than the velocity.

    Args:
      mean_flow: see `diffusion`.
      prediction: see `diffusion`.
      target: see `diffusion`.

    Raises:
      UserError: for such a share or prediction.
    """
    check_share("mean_flow", mean_flow)
    if mean_flow and (prediction, target) not in (("u", None), ("u", "u")):
        raise UserError(
            f"mean_flow is {mean_flow:g} with prediction {prediction!r} and target {target!r}; expected prediction='u' and no "
            "target"
        )
