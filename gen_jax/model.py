"""The record that every generative model is, and functions that families share."""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.spec import Spec
from gen_jax.errors import UserError, choose
from gen_jax.references import described
from gen_jax.registry import epochs_as_examples

P = ParamSpec("P")
Batch = dict[str, jax.Array]
Array = jax.Array | np.ndarray  # an array on a device or on the host
State = Any
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Model(NamedTuple):
    """Describes a generative model as pure functions. A field that a family cannot honour is None.

    `key` is a `jax.random.key`. `batch` is a dict with the reserved keys `x`, `y` (labels), `mask` (observed cells),
    `length` [B], `weight` [B] (0 for padding rows) and `reset` [B]. The training loop compiles `init` and `step`. The
    other functions take concrete states and compile inside.

    Attributes:
      init: function (key, batch) -> state; its shapes depend on `batch` and arguments only.
      step: function (key, state, batch) -> (state, metrics), one unit of training. Metrics are numbers [] by name.
      sample: function (key, state, num, given=None, how=None) -> batch, as a training batch.
      log_prob: function (key, state, batch) -> [B] nats, exact; by default None.
      log_prob_bound: function (key, state, batch, num_samples=1) -> [B] nats, a lower bound; by default None.
      prior: function (key, state, num) -> latent, a dict with `z` [num, ...]; by default None.
      encode: function (key, state, batch) -> latent; by default None.
      decode: function (key, state, latent) -> batch; differentiable, unless `z` holds codes; by default None.
      given: keys of a batch that `sample` honours as conditions; by default none.
      options: options in `how`, such as a temperature, with their defaults; by default none.
      extras: functions that only some families offer, by name; by default none. `free_parameters`: (state) -> number
        of trained parameters, for the BIC. `alignment`: (key, state, batch) -> number of frames of
        each symbol of a text [B, S]. `network`: (state) -> a Bayesian network, and the confidence in each edge
        [D, D]. `information`: (state, first, second, given) -> I(first; second | given) of columns in nats, exactly.
        It is H(first | given) if `second` is `first`. `integer_network`: (state) -> a `coding.integer.Network`, which
        compresses images. `facts`: () -> plain data by name. A run stores them in its spec as `model_NAME`, so that
        the model can be rebuilt without the files that the facts come from.
      origin: the `model` section of a config that makes this model, see `family`; by default None.
      spec: facts of the data for which the model is built, see `family`; by default None.
    """

    init: Callable[..., State]
    step: Callable[..., tuple[State, dict[str, jax.Array]]]
    sample: Callable[..., Batch]
    log_prob: Callable[..., jax.Array] | None = None
    log_prob_bound: Callable[..., jax.Array] | None = None
    prior: Callable[..., Batch] | None = None
    encode: Callable[..., Batch] | None = None
    decode: Callable[..., Batch] | None = None
    given: tuple[str, ...] = ()
    options: Mapping[str, Any] = NOTHING
    extras: Mapping[str, Callable[..., Any]] = NOTHING
    origin: Mapping[str, Any] | None = None
    spec: Spec | None = None


def family(name: str) -> Callable[[Callable[P, Model]], Callable[P, Model]]:
    """Returns a decorator of a family, a function (spec, **options) -> Model. Its models store `origin` and `spec`.

    Args:
      name: name of the family in a config.
    """

    def decorated(function: Callable[P, Model]) -> Callable[P, Model]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def make_model(*args: P.args, **kwargs: P.kwargs) -> Model:
            refuse_arguments(name, signature, args, kwargs)
            call = signature.bind(*args, **kwargs)
            (_, spec), *arguments = call.arguments.items()
            options = {option: described(value) for option, value in arguments}
            call.arguments.update(epochs_as_examples(dict(arguments), training_rows(spec)))
            return function(*call.args, **call.kwargs)._replace(origin={"name": name, **options}, spec=spec)

        return make_model

    return decorated


def training_rows(spec: Spec) -> int:
    """Returns the number of rows of an epoch; 0 if it is not known.

    Args:
      spec: facts of the data.
    """
    return spec.sizes.get(spec.split, 0)


def refuse_arguments(name: str, signature: inspect.Signature, args: tuple, kwargs: Mapping[str, Any]) -> None:
    """Refuses a call of a family without the facts of the data, or with an unknown option.

    Args:
      name: name of the family.
      signature: signature of the family.
      args: arguments of the call.
      kwargs: arguments of the call by name.

    Raises:
      UserError: for such a call.
    """
    parameters = signature.parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for option in kwargs:
            choose(f"option of model {name!r}", option, parameters)
    fix = f"Call gen_jax.models.{name}(data.spec, ...) with options by name."
    try:
        spec = next(iter(signature.bind(*args, **kwargs).arguments.values()))
    except TypeError as error:
        raise UserError(
            f"model {name!r} is called with wrong arguments: {error}; expected a Spec and options. {fix}"
        ) from None
    if not isinstance(spec, Spec):
        raise UserError(
            f"model {name!r} is called with an object of type {type(spec).__name__}; expected a Spec. {fix}"
        )


def weighted_mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """Returns the mean of values over the rows that are not padding: sum(w v) / sum(w), or 0 without such rows.

    Args:
      values: values [B].
      weight: weights of the rows [B]; 0 for padding rows.
    """
    return jnp.vdot(values, weight) / jnp.maximum(weight.sum(), 1e-12)


def row_sum(values: jax.Array) -> jax.Array:
    """Returns the sum of the numbers of each row [N].

    Args:
      values: numbers [N, *shape].
    """
    return values.reshape(len(values), -1).sum(1)


def like_rows(values: jax.Array, x: jax.Array) -> jax.Array:
    """Returns `values` with the number of axes of `x`, so that nothing broadcasts by accident.

    Args:
      values: numbers [N].
      x: array [N, ...].
    """
    return values.reshape(-1, *(1,) * (x.ndim - 1))


def saturated(count: jax.Array, more: jax.Array) -> jax.Array:
    """Returns a count increased by a number, but at most the largest int32, because a larger sum would be negative.

    Args:
      count: the count [] int32.
      more: the number [] int32.
    """
    total = count + more
    return jnp.where(total < count, jnp.iinfo(jnp.int32).max, total)


def observed(batch: Batch) -> jax.Array:
    """Returns `x` of a batch, with NaN in missing cells and 0 in padding rows.

    Because 0 times infinity is NaN, a weight of 0 alone does not keep a padding row out of a gradient.

    Args:
      batch: `x` [B, ...], and `mask` [B, ...] and `weight` [B] if the batch has them.
    """
    x = jnp.where(batch["mask"], batch["x"], jnp.nan) if "mask" in batch else jnp.asarray(batch["x"])
    if "weight" not in batch:
        return x
    return jnp.where(batch["weight"].reshape(-1, *(1,) * (x.ndim - 1)) > 0, x, 0)
