"""Optimizers by name, from Optax; schedules and moving averages as pure functions of the number of examples."""

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.errors import UserError, choose
from gen_jax.optimizers.by_path import muon, scale_by_path
from gen_jax.registry import SCHEDULE, Choices, build

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adagrad": optax.adagrad,
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lion": optax.lion,
    "muon": muon,
    "nadam": optax.nadam,
    "rmsprop": optax.rmsprop,
    "sgd": optax.sgd,
}

Schedule = Annotated[float | Mapping | Callable[[jax.Array], Any], SCHEDULE]
Optimizer = Annotated[
    Mapping | optax.GradientTransformation,
    Choices(OPTIMIZERS, others={"clip_norm": None, "rates": None}, schedules=True),
]

SHAPES = {  # (start, stop, fraction of the schedule) -> value
    "cosine": lambda start, stop, way: stop + (start - stop) * (1 + jnp.cos(jnp.pi * way)) / 2,
    "linear": lambda start, stop, way: start + (stop - start) * way,
    "exponential": lambda start, stop, way: start * (stop / start) ** way,
}


def schedule(value: float | Mapping | Callable[[jax.Array], Any]) -> Callable[[jax.Array], Any]:
    """Returns a schedule, a function from the number of examples seen to a value.

    The mapping `{"start": a, "stop": b, "examples": n, "shape": "cosine" | "linear" | "exponential"}` reaches b after n
    examples and stays there (R3GAN, arXiv 2501.05441, appendix D). The default shape is cosine. With `"warm_up": m` the
    value also grows in proportion to the examples until there are m of them. A family also takes `"epochs": e` in the
    place of `examples`: n is then e times the number of training rows.

    A half-life of averaged weights that grows linearly from 0 to b makes the power-function average of Karras et al. 2024
    (arXiv 2312.02696, section 3.1) with gamma = n ln(2) / b - 1.

    Args:
      value: a number, which is constant; a mapping, which moves from `start` to `stop`; or a function of the number of
        examples, which is its own schedule.

    Raises:
      UserError: for other keys, an unknown shape, or n below 1.
    """
    if callable(value):
        return value
    if isinstance(value, str):
        raise UserError(f"schedule is {value!r}; expected a number, or a section with start, stop and examples")
    if not isinstance(value, Mapping):
        return lambda examples: value
    return build("schedule", {"schedule": _moving}, {"name": "schedule", **value})


def _moving(
    start: float, stop: float, examples: int, shape: str = "cosine", warm_up: int = 0
) -> Callable[[jax.Array], jax.Array]:
    curve = SHAPES[choose("schedule shape", shape, SHAPES)]
    for name, value in (("start", start), ("stop", stop), ("examples", examples)):
        if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(value):
            raise UserError(f"{name} of a schedule is {value}; expected a number")
    if shape == "exponential" and not (start > 0 and stop > 0):
        raise UserError(f"an exponential schedule goes from {start} to {stop}; expected numbers above 0")
    if not 1 <= examples < 2**31:
        raise UserError(f"number of examples of a schedule is {examples}; expected 1 to {2**31 - 1}")
    if not 0 <= warm_up < examples:
        raise UserError(f"warm_up of a schedule is {warm_up}; expected a number of examples from 0 to below {examples}")
    if not warm_up:
        return lambda seen: curve(start, stop, jnp.clip(seen / examples, 0, 1))
    return lambda seen: curve(start, stop, jnp.clip(seen / examples, 0, 1)) * jnp.clip(seen / warm_up, 0, 1)


def half_life(value: float | Mapping | Callable[[jax.Array], Any]) -> Callable[[jax.Array], Any]:
    """Returns the half-life of averaged weights as a function of the number of examples seen.

    Args:
      value: see `schedule`.

    Raises:
      UserError: as `schedule`, and for a negative half-life.
    """
    numbers = [value] if isinstance(value, Real) else []
    if isinstance(value, Mapping):
        numbers = [value[name] for name in ("start", "stop") if isinstance(value.get(name), Real)]
    for number in numbers:
        if not number >= 0:
            raise UserError(f"ema_half_life is {number}; expected at least 0, a number of rows")
    return schedule(value)


def optimizer(
    options: Mapping | optax.GradientTransformation,
) -> Callable[[jax.Array], optax.GradientTransformation]:
    """Returns a function from the number of examples seen to the Optax transformation at that moment.

    The state of the optimizer does not depend on its arguments, so one state serves all moments.

    Args:
      options: a `name` in `OPTIMIZERS` and its arguments, each a number or a schedule. `clip_norm` may be among them:
        the largest global norm of a gradient. `rates` too: factors of the updates by a part of the path of a weight,
        such as `{"condition": 0.1}`; 0 freezes the weights. Or an Optax transformation, which counts steps itself.

    Raises:
      UserError: for an unknown name, argument or schedule, a rate that is no number of at least 0, or an object that is
        no Optax transformation.
    """
    if not isinstance(options, Mapping):
        transformation = transformation_of(options)
        return lambda examples: transformation
    rates = options.get("rates") or {}
    arguments = {name: schedule(value) for name, value in options.items() if name not in ("name", "rates")}

    def at(examples: jax.Array) -> optax.GradientTransformation:
        values = {name: value(examples) for name, value in arguments.items()}
        clip_norm = values.pop("clip_norm", None)
        tx = build("optimizer", OPTIMIZERS, {"name": options.get("name"), **values})
        tx = optax.chain(tx, scale_by_path(rates)) if rates else tx
        return tx if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), tx)

    at(jnp.zeros(()))  # because a wrong name or argument must raise now, not at the first step
    return at


def transformation_of(thing: Any) -> optax.GradientTransformation:
    """Returns an Optax transformation, or the transformation that a function without arguments returns.

    Args:
      thing: the transformation or the function.

    Raises:
      UserError: for anything else, such as a learning rate or an Optax function that is not called.
    """
    expected = "an Optax transformation, or a section with a name and a learning_rate"
    if thing in OPTIMIZERS.values():
        name = thing.__name__
        raise UserError(
            f"optimizer is the function {name}; expected {expected}. Call it with a learning rate: {name}(1e-3)"
        )
    if isinstance(thing, float | int):
        raise UserError(f"optimizer is {thing}; expected {expected}. Pass {{'name': 'adam', 'learning_rate': {thing}}}")
    transformation = build("optimizer", OPTIMIZERS, thing)
    if not hasattr(transformation, "init") or not hasattr(transformation, "update"):
        raise UserError(f"optimizer is an object of type {type(transformation).__name__}; expected {expected}")
    return transformation


def moving_average(average: Any, params: Any, examples: jax.Array, half_life: jax.Array) -> Any:
    """Returns the exponential moving average after one step; the weight of the past halves every `half_life` examples.

    Args:
      average: the moving average, a tree.
      params: the newest parameters, a tree of the same shapes.
      examples: number of examples of the step.
      half_life: half-life in examples; 0 keeps the newest parameters only.
    """
    keep = 0.5 ** (examples / jnp.maximum(half_life, 1e-6))
    return jax.tree.map(lambda old, new: keep * old + (1 - keep) * new, average, params)
