"""The one record that every generative model is, and the weighted mean they share."""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.references import described

P = ParamSpec("P")
Batch = dict[str, jax.Array]
Array = jax.Array | np.ndarray  # on a device or on the host
State = Any
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Model(NamedTuple):
    """A generative model as pure functions; a field that a family cannot honour is None.

    `key` is a `jax.random.key`, `batch` a dict with the reserved keys `x`, `y` (labels), `mask` (observed cells),
    `length` [B], `weight` [B] (0 = a padding row) and `reset` [B]. The loop compiles `init` and `step`; the other
    functions take concrete states and compile inside.
    """

    init: Callable[..., State]  # (key, batch) -> state; shapes from `batch` and arguments only
    step: Callable[
        ..., tuple[State, dict[str, jax.Array]]
    ]  # (key, state, batch) -> (state, metrics): one unit of learning
    sample: Callable[..., Batch]  # (key, state, num, given=None, how=None) -> batch, as a training batch
    log_prob: Callable[..., jax.Array] | None = None  # (key, state, batch) -> [B] nats, exact
    # (key, state, batch, num_samples=1) -> [B] nats, a lower bound
    log_prob_bound: Callable[..., jax.Array] | None = None
    prior: Callable[..., Batch] | None = None  # (key, state, num) -> latent, a dict whose `z` leads with `num`
    encode: Callable[..., Batch] | None = None  # (key, state, batch) -> latent
    decode: Callable[..., Batch] | None = None  # (key, state, latent) -> batch; differentiable, unless `z` holds codes
    given: tuple[str, ...] = ()  # the conditions that `sample` honours, of those that belong to a batch
    options: Mapping[str, Any] = NOTHING  # what `how` may hold, such as a temperature, with its defaults
    # What only some families offer. `free_parameters`: (state) -> number of trained parameters, for the BIC. `network`:
    # (state) -> a Bayesian network, and the confidence in each edge [D, D]. `information`: (state, first, second, given) ->
    # I(first; second | given) of columns in nats, exactly; H(first | given) if `second` is `first`.
    # `integer_network`: (state) -> a `coding.integer.Network`, by which images are compressed. `facts`: () -> plain data by
    # name, which a run keeps in its spec as `model_NAME`, so that the model is built again without the files they are of.
    extras: Mapping[str, Callable[..., Any]] = NOTHING
    origin: Mapping[str, Any] | None = None  # the `model` section of a config that makes this model, see `family`


def family(name: str) -> Callable[[Callable[P, Model]], Callable[P, Model]]:
    """Returns a decorator of a family, a function (spec, **options) -> Model, whose models then know their `origin`.

    Args:
      name: of the family in a config.
    """

    def decorated(function: Callable[P, Model]) -> Callable[P, Model]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def made(*args: P.args, **kwargs: P.kwargs) -> Model:
            arguments = [*signature.bind(*args, **kwargs).arguments.items()]
            options = {option: described(value) for option, value in arguments[1:]}
            return function(*args, **kwargs)._replace(origin={"name": name, **options})

        return made

    return decorated


def weighted_mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """Mean of `values` [B] over the rows that are not padding: sum(w v) / sum(w), 0 where there are none."""
    return jnp.vdot(values, weight) / jnp.maximum(weight.sum(), 1e-12)


def saturated(count: jax.Array, more: jax.Array) -> jax.Array:
    """Returns a count [] int32 with so many more; it stays at the greatest int32, where a sum would begin anew below 0."""
    total = count + more
    return jnp.where(total < count, jnp.iinfo(jnp.int32).max, total)


def observed(batch: Batch) -> jax.Array:
    """Returns `x` of a batch: NaN in cells that are not observed by its `mask`, 0 in padding rows.

    Because 0 times infinity is NaN, a weight of 0 alone does not keep a padding row out of a gradient.
    """
    x = jnp.where(batch["mask"], batch["x"], jnp.nan) if "mask" in batch else jnp.asarray(batch["x"])
    if "weight" not in batch:
        return x
    return jnp.where(batch["weight"].reshape(-1, *(1,) * (x.ndim - 1)) > 0, x, 0)
