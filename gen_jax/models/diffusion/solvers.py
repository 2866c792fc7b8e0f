"""Samples of a diffusion model: solvers of the path from noise to data, guidance, and completion of rows."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import (
    Given,
    given_cells,
    option_numbers,
    refuse_given,
    sample_conditions,
    sampler_options,
)
from gen_jax.data.spec import columns
from gen_jax.distributions.categorical import check_levels, levels_of
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.model import Batch
from gen_jax.models.diffusion.denoising import Diffusion, Estimate, estimate, hidden, predict
from gen_jax.models.diffusion.pairing import transported
from gen_jax.models.diffusion.schedules import Grid

OPTIONS: Mapping[str, Any] = {  # options of the sampler, with their defaults
    "steps": 50,
    "solver": "heun",
    "churn": 0.0,
    "guidance": 1.0,
    "guide_from": 0.0,
    "guide_to": 1.0,
}


class Solver(NamedTuple):
    """Holds the numbers of the steps of a sampler, [steps] each, for `lax.scan`."""

    t: np.ndarray  # time before the step
    a: np.ndarray  # share of the data before the step
    s: np.ndarray  # noise before the step
    next_t: np.ndarray
    next_a: np.ndarray
    next_s: np.ndarray
    fresh: np.ndarray  # standard deviation of the noise that is drawn anew
    ratio: np.ndarray  # weight of the change of x since the step before, for `multistep`
    inner: np.ndarray  # whether the step does not end without noise, where no slope exists
    guidance: np.ndarray  # weight of the conditions


class Method(NamedTuple):
    """Holds what a compiled sampler depends on beside the numbers of its steps."""

    solver: str  # a name in `SOLVERS`
    guided: bool  # whether a step has a guidance other than 1
    noisy: bool  # whether a step draws fresh noise


SOLVERS = ("euler", "heun", "multistep", "mean")


def solver_of(grid: Grid, churn: float, guidance: float, guide_from: float, guide_to: float) -> Solver:
    """Returns the numbers of the steps of a sampler.

    Args:
      grid: the times.
      churn: share of the noise after a step that is drawn anew, eta of DDIM: 0 for none, 1 for ancestral sampling.
      guidance: weight of the conditions; 1 without guidance.
      guide_from: time from which samples are guided.
      guide_to: time up to which samples are guided.
    """
    a, s, next_a, next_s = grid.a[:-1], grid.s[:-1], grid.a[1:], grid.s[1:]
    kept = next_s * a / (s * next_a)  # share of the noise level that a step leaves
    fresh = churn * next_s * np.sqrt(np.maximum(1 - np.square(kept), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.diff(np.log(grid.a) - np.log(grid.s))
        ratio = np.append(0.0, width[1:] / (2 * width[:-1]))
    ratio = np.where(np.isfinite(ratio) & np.isfinite(width), ratio, 0.0)
    guided = np.where((grid.t >= guide_from) & (grid.t <= guide_to), guidance, 1.0)
    numbers = (grid.t, a, s, np.append(grid.t[1:], 1.0), next_a, next_s, fresh, ratio, next_s > 0, guided)
    return Solver(*(number.astype(bool if number.dtype == bool else np.float32) for number in numbers))


def sample(
    model: Diffusion,
    honoured: tuple[str, ...],
    compiled: Callable,
    key: jax.Array,
    state: Any,
    num: int,
    given: dict | None = None,
    how: dict | None = None,
) -> Batch:
    """Draws rows. A conditional model draws a label for each row unless `given` has `y`.

    Args:
      model: the model.
      honoured: names of the conditions that `given` may hold.
      compiled: `draw` of the model, compiled.
      key: random key.
      state: the state, whose averaged weights are used.
      num: number of rows.
      given: conditions, see `diffusion`; by default None.
      how: options of the sampler, see `diffusion`; by default None.

    Raises:
      UserError: for a condition or an option that the model does not have, or a value out of its range.
    """
    refuse_given(given, honoured)
    options = sampler_options(how, options_of(model, (how or {}).get("solver")))
    steps = steps_of(model, options)
    y_key, x_key = jax.random.split(key)
    beside = sample_conditions(y_key, given, num, model.conditions, state.classes)
    cells = given_cells(given, num, model.spec.shape) if model.observed else None
    if cells is not None and model.spec.tabular:
        check_levels(levels_of(columns(model.spec)), *cells)
    method = Method(options["solver"], bool((steps.guidance != 1).any()), bool(steps.fresh.any()))
    x = compiled(x_key, state.average, num, beside or None, cells, steps, method)
    return {"x": x, **beside}


def options_of(model: Diffusion, solver: str | None = None) -> dict[str, Any]:
    """Returns the options of the sampler of a model, with their defaults.

    Args:
      model: the model.
      solver: name of the solver; by default None, the default solver of the model.
    """
    mean = model.mean_flow and solver in (None, "mean")
    return {**OPTIONS, "steps": 1, "solver": "mean"} if mean else dict(OPTIONS)


def steps_of(model: Diffusion, options: Mapping[str, Any]) -> Solver:
    """Returns the steps of a sampler that its options ask for.

    Args:
      model: the model.
      options: options of the sampler.

    Raises:
      UserError: for an option out of its range, guidance of a model that was not trained for it, or fresh noise of a
        model whose noise depends on the rows.
    """
    check_whole("steps", options["steps"])
    choose("solver", options["solver"], [name for name in SOLVERS if model.mean_flow or name != "mean"])
    ranges = {"churn": 1, "guidance": 100, "guide_from": 1, "guide_to": 1}
    for name in ranges:
        if np.ndim(options[name]):
            raise UserError(f"{name} is an array; expected one number for all samples")
    numbers = [float(option_numbers(name, options[name], 1, 0, most)[0]) for name, most in ranges.items()]
    if numbers[1] != 1 and not (model.conditions.names and model.drop):
        raise UserError(
            f"guidance is {numbers[1]:g} and this model was trained without hidden conditions; expected 1, or a model with "
            "conditional=True and drop above 0"
        )
    if numbers[0] and options["solver"] == "mean":
        raise UserError(f"churn is {numbers[0]:g} with the solver mean, which draws no fresh noise; expected 0")
    if numbers[0] and model.pairing is transported:
        raise UserError(
            f"churn is {numbers[0]:g} and this model was trained with pairing=transport; expected 0, because fresh noise "
            "does not belong to its paths"
        )
    steps = solver_of(model.schedule.grid(options["steps"]), *numbers)
    interval = (options["guide_from"], options["guide_to"]) != (OPTIONS["guide_from"], OPTIONS["guide_to"])
    if (numbers[1] != 1 or interval) and not (steps.guidance != 1).any():
        raise UserError(
            f"guidance is {numbers[1]:g} from {numbers[2]:g} to {numbers[3]:g}, which guides no step; expected a guidance "
            "other than 1, and times between which a step begins"
        )
    return steps


def draw(
    model: Diffusion,
    key: jax.Array,
    params: Any,
    num: int,
    c: Given | None,
    cells: tuple[jax.Array, jax.Array] | None,
    steps: Solver,
    method: Method,
) -> jax.Array:
    """Returns rows [num, *shape of a row]. The draws of a row depend on its number alone, not on the other rows.

    Args:
      model: the model.
      key: random key.
      params: weights of the net.
      num: number of rows.
      c: conditions of the rows, or None.
      cells: observed numbers x and their mask [num, *shape of a row]; None if the net reads none.
      steps: the steps of the sampler.
      method: the solver.
    """
    noise_key, form_key = jax.random.split(key)
    keys = jax.vmap(partial(jax.random.fold_in, noise_key))(jnp.arange(num))
    evidence = None
    if cells is not None:
        x, mask = cells
        evidence = evidence_of(model.form.read(None, jnp.where(mask, x, jnp.nan)), model.form.entries(mask))
    start = normal(jax.vmap(lambda each: jax.random.fold_in(each, 0))(keys), model.form.shape)
    z = start * first_scale(model, steps)
    if method.solver == "mean":
        x = crossed(partial(guided, model, c, evidence, method.guided, partial(mean_velocity, model, params)), z, steps)
    else:
        look = partial(guided, model, c, evidence, method.guided, partial(estimate, model, params))
        x = solved(look, keys, z, steps, method)
    x = model.form.drawn(form_key, x)
    return x if cells is None else jnp.where(cells[1], cells[0], x)


def first_scale(model: Diffusion, steps: Solver) -> jax.Array:
    """Returns the standard deviation of the noisy rows at the first time, [].

    Args:
      model: the model.
      steps: the steps of the sampler.
    """
    return jnp.sqrt(jnp.square(steps.s[0]) + jnp.square(model.deviation * steps.a[0]))


def normal(keys: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Returns standard normal numbers [N, *shape], each row by its own key.

    Args:
      keys: random keys [N].
      shape: shape of a row.
    """
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def evidence_of(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns observed numbers, 0 elsewhere, and where they are, [N, *shape, 2].

    Args:
      x: rows [N, *shape].
      mask: observed numbers [N, *shape].
    """
    mask = jnp.broadcast_to(mask, x.shape) > 0
    return jnp.stack([jnp.where(mask, x, 0), mask.astype(jnp.float32)], -1)


def guided(
    model: Diffusion,
    c: Given | None,
    evidence: jax.Array | None,
    guides: bool,
    estimator: Callable,
    z: jax.Array,
    weight: jax.Array,
    *times: jax.Array,
) -> Any:
    """Returns estimates of noisy rows, with classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598).

    A guided estimate is the estimate without conditions plus `weight` times the difference that the conditions make.

    Args:
      model: the model.
      c: conditions of the rows, or None.
      evidence: observed numbers and where they are; None if the net reads none.
      guides: whether a step has a weight other than 1.
      estimator: function (z, *times of the rows, c=, evidence=) -> tree of arrays [N, *shape].
      z: noisy rows [N, *shape].
      weight: weight of the conditions [].
      *times: times of all rows [].
    """
    num = len(z)
    if not guides:
        return estimator(z, *(jnp.full(num, t) for t in times), c=c, evidence=evidence)
    z, c, evidence = jax.tree.map(lambda each: jnp.concatenate([each, each]), (z, c, evidence))
    c = hidden(model.conditions, c, jnp.arange(2 * num) >= num)
    out = estimator(z, *(jnp.full(2 * num, t) for t in times), c=c, evidence=evidence)
    return jax.tree.map(
        lambda each: jnp.where(weight == 1, each[:num], each[num:] + weight * (each[:num] - each[num:])), out
    )


def mean_velocity(
    model: Diffusion,
    params: Any,
    z: jax.Array,
    t: jax.Array,
    until: jax.Array,
    c: Given | None,
    evidence: jax.Array | None,
) -> jax.Array:
    """Returns the mean velocity of rows between two times [N, *shape].

    Args:
      model: the model.
      params: weights of the net.
      z: noisy rows [N, *shape].
      t: first times [N].
      until: last times [N].
      c: conditions of the rows, or None.
      evidence: observed numbers and where they are; None if the net reads none.
    """
    return predict(model, params, z, t, c, evidence, until=until)[0]


def crossed(look: Callable, z: jax.Array, steps: Solver) -> jax.Array:
    """Returns the data at the end of a path from noise by steps of mean velocities.

    Args:
      look: function (z, guidance, t, next t) -> mean velocity [N, *shape].
      z: noise [N, *shape].
      steps: the steps.
    """

    def move(z: jax.Array, at: Solver) -> tuple[jax.Array, None]:
        return z + (at.next_t - at.t) * look(z, at.guidance, at.t, at.next_t), None

    return jax.lax.scan(move, z, jax.tree.map(jnp.asarray, steps))[0]


def solved(look: Callable, keys: jax.Array, z: jax.Array, steps: Solver, method: Method) -> jax.Array:
    """Returns the data at the end of a path from noise.

    Every step is z' = z + (a' - a) x + (s' - s) e with the estimate (x, e) of its beginning: Euler's step, which is also that
    of DDIM (Song et al. 2021, arXiv 2010.02502, eq. 12). `heun` takes the mean of the estimates of both ends (Karras et al.
    2022, algorithm 1), except in the last step. `multistep` extrapolates x from the step before (DPM-Solver++(2M), Lu et
    al. 2022, arXiv 2211.01095, algorithm 2).

    Args:
      look: function (z, guidance, t) -> estimate.
      keys: random keys of the rows [N].
      z: noise [N, *shape].
      steps: the steps.
      method: the solver.
    """

    def move(carry: tuple[jax.Array, jax.Array], now: tuple[Solver, jax.Array]) -> tuple[tuple, None]:
        (z, before), (at, number) = carry, now
        x, e = look(z, at.guidance, at.t)
        if method.solver == "multistep":
            x, before = x + at.ratio * (x - before), x
            e = (z - at.a * x) / at.s
        down = jnp.sqrt(jnp.maximum(jnp.square(at.next_s) - jnp.square(at.fresh), 0))
        after = at.next_a * x + down * e
        if method.solver == "heun":
            end = look(after, at.guidance, at.next_t)
            mean = Estimate(*((first + last) / 2 for first, last in zip((x, e), end, strict=True)))
            better = z + (at.next_a - at.a) * mean.x + (down - at.s) * mean.e
            after = jnp.where(at.inner, better, after)
        if method.noisy:
            fresh = normal(jax.vmap(lambda key: jax.random.fold_in(key, number + 1))(keys), z.shape[1:])
            after = after + at.fresh * fresh
        return (after, before), None

    count = len(steps.t)
    (z, _), _ = jax.lax.scan(move, (z, jnp.zeros_like(z)), (jax.tree.map(jnp.asarray, steps), jnp.arange(count)))
    return z
