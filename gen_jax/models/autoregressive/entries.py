"""Autoregressive models of images, vectors and tables: every entry of a row given the entries before it in an order."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.conditions import (
    Conditions,
    Given,
    conditions_in,
    conditions_of,
    example_conditions,
    given_cells,
    refuse_given,
    sample_conditions,
    sampler_options,
)
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.distributions import categorical, pixels
from gen_jax.distributions.level_tables import levels_of, of_levels
from gen_jax.distributions.pixels import Likelihood, initial_weights
from gen_jax.errors import UserError
from gen_jax.model import Batch, Model, row_sum, weighted_mean
from gen_jax.models import host_checks
from gen_jax.models.autoregressive.lanes import AutoregressiveState
from gen_jax.models.updates import started, updated
from gen_jax.nets.causal_patches import CausalPatches, Progress
from gen_jax.nets.embedding import ConditionedNet
from gen_jax.nets.made import Layout, Made, Sums

EntryNet = Made | CausalPatches
NEVER = -1e9  # the logit of a level that a column lacks


class Entries(NamedTuple):
    """Describes an autoregressive model of the D entries of a row without its weights."""

    layers: EntryNet
    net: ConditionedNet  # the layers and the conditions that they read
    layout: Layout
    likelihood: Likelihood  # density of an entry, given its outputs
    levels: categorical.Levels | None  # levels of the columns of a table; None for other rows
    possible: np.ndarray  # [D, W] bool, false for the logit of a level that the column lacks
    places: np.ndarray  # [K, D] place of each entry in each order
    shape: tuple[int, ...]  # shape of a row
    conditions: Conditions

    def read(self, x: jax.Array) -> jax.Array:
        """Returns rows [N, *shape] as inputs of the net [N, L]."""
        return self.likelihood.read(x).reshape(len(x), -1)


def entries_model(
    spec: Spec,
    layers: EntryNet,
    likelihood: pixels.LikelihoodChoice,
    conditional: bool,
    tx: Callable,
    half_life: Callable,
) -> Model:
    """Returns a model of rows without time, see `autoregressive`.

    Args:
      spec: facts of the data.
      layers: the net.
      likelihood: a `name` in `distributions.pixels.LIKELIHOODS` and its options; None for the first that fits.
      conditional: whether the net reads the conditions of the row.
      tx: function from the number of examples to an Optax transformation.
      half_life: function from the number of examples to the half-life of the averaged weights, in rows.

    Raises:
      UserError: for columns of numbers, cells that may be missing, or a likelihood that gives a bound.
    """
    layers.check()
    model = entries_of(spec, layers, likelihood, conditions_of("autoregressive model", spec, conditional))
    cells = ("x", "mask") if layers.orders == 1 else ()
    return Model(
        partial(init, model, tx),
        partial(step, model, tx, half_life),
        partial(sample, model, (*model.conditions.names, *cells), jax.jit(partial(complete, model))),
        partial(log_prob, model, jax.jit(partial(score, model))),
        given=(*model.conditions.names, *cells),
    )


def entries_of(spec: Spec, layers: EntryNet, likelihood: pixels.LikelihoodChoice, conditions: Conditions) -> Entries:
    """Returns the model without its weights.

    Args:
      spec: facts of the data.
      layers: the net.
      likelihood: see `entries_model`.
      conditions: facts of the conditions that the net reads.

    Raises:
      UserError: as `entries_model`.
    """
    size = int(np.prod(spec.shape))
    owner, levels = np.arange(size), None
    if spec.tabular:
        levels = levels_of(spec, "autoregressive model")
        density, owner = of_levels(levels), levels.column
        possible = np.arange(density.width)[None] < levels.sizes[:, None]
    else:
        if kind_of(spec).class_map:
            raise UserError(
                f"{spec.name} holds {spec.kind} data; expected images, vectors or a table of levels for the net made, or "
                "images for patches"
            )
        if pixels.whole(spec) is None and np.dtype(spec.dtype).kind != "f":
            raise UserError(
                f"the columns of {spec.name} are whole numbers with a range each; expected one range, or a table of levels"
            )
        density = pixels.fitting(spec, likelihood)
        possible = np.ones((size, density.width), bool)
        if density.shape != (*spec.shape, density.width) or (pixels.whole(spec) and density.name == "gaussian"):
            raise UserError(
                f"likelihood {density.name!r} gives no exact probability of each number of {spec.name}; expected another one"
            )
    layout = Layout(owner, size, density.width, tuple(spec.shape))
    net, places = ConditionedNet(layers, conditions), layers.places(layout)
    return Entries(layers, net, layout, density, levels, possible, places, tuple(spec.shape), conditions)


def init(model: Entries, tx: Callable, key: jax.Array, batch: Batch) -> AutoregressiveState:
    """Returns the state before the first step.

    Args:
      model: the model.
      tx: function from the number of examples to an Optax transformation.
      key: random key of the weights.
      batch: not used, because `model` gives the shapes.
    """
    x = jnp.zeros((1, len(model.layout.owner)))
    c = example_conditions(model.conditions, 1)
    params = {
        "net": model.net.init(key, x, c, model.layout, jnp.asarray(model.places[0])),
        "likelihood": initial_weights(model.likelihood),
    }
    return AutoregressiveState(lanes=None, **started(tx, model.conditions.classes, params))


def step(
    model: Entries, tx: Callable, half_life: Callable, key: jax.Array, state: AutoregressiveState, batch: Batch
) -> tuple[AutoregressiveState, dict]:
    """Returns the state after one update by the gradient of -log p(x) in one order; the orders take turns.

    Args:
      model: the model.
      tx: function from the number of examples to an Optax transformation.
      half_life: function from the number of examples to the half-life of the averaged weights, in rows.
      key: random key of dropout.
      state: the state before the update.
      batch: `x` [N, *shape], the conditions that the net reads, and `weight` [N].

    Returns:
      The new state, and the metrics.
    """
    place = jnp.asarray(model.places)[state.step % len(model.places)]
    nats, gradient = jax.value_and_grad(partial(order_loss, model))(state.params, key, batch, place)
    state = updated(tx, half_life, gradient, state, batch)
    return state, {"nats_per_row": nats, "gradient_norm": optax.tree.norm(gradient)}


def order_loss(model: Entries, params: Any, key: jax.Array | None, batch: Batch, place: jax.Array) -> jax.Array:
    """Returns the mean of -log p(x) over the rows of a batch in nats, in one order (Germain et al. 2015, eq. 3).

    Args:
      model: the model.
      params: weights of the net and of the likelihood; differentiable.
      key: random key of dropout and of the noise of the likelihood; None for neither.
      batch: `x` [N, *shape], the conditions that the net reads, and `weight` [N] (0 for padding rows).
      place: place of each entry in the order [D].
    """
    x, rngs = batch["x"], {}
    if key is not None:
        smooth_key, dropout_key = jax.random.split(key)
        x, rngs = model.likelihood.smooth(smooth_key, x), {"dropout": dropout_key}
    values = order_log_prob(model, params, x, conditions_in(batch, model.conditions), place, rngs)
    return -weighted_mean(values, batch.get("weight", jnp.ones(len(x))))


def order_log_prob(
    model: Entries, params: Any, x: jax.Array, c: Given | None, place: jax.Array, rngs: dict | None = None
) -> jax.Array:
    """Returns log p(x) [N] of rows in one order, in nats.

    Args:
      model: the model.
      params: weights of the net and of the likelihood.
      x: rows [N, *shape].
      c: conditions of the rows, or None.
      place: place of each entry in the order [D].
      rngs: random keys of dropout; by default none.
    """
    out = model.net.apply(params["net"], model.read(x), c, model.layout, place, rngs=rngs or {})
    out = jnp.where(model.possible[None], out, NEVER)
    nats = model.likelihood.log_prob(params["likelihood"], out.reshape(len(x), *model.shape, -1), x)
    return row_sum(nats)


def score(model: Entries, params: Any, x: jax.Array, c: Given | None) -> jax.Array:
    """Returns log p(x) [N] of rows in nats, p the mean of the densities in all orders.

    Args:
      model: the model.
      params: weights of the net and of the likelihood.
      x: rows [N, *shape].
      c: conditions of the rows, or None.
    """
    each = jax.lax.map(lambda place: order_log_prob(model, params, x, c, place), jnp.asarray(model.places))
    return jax.nn.logsumexp(each, 0) - np.log(len(model.places))


def log_prob(model: Entries, compiled: Callable, key: jax.Array, state: AutoregressiveState, batch: Batch) -> jax.Array:
    """Returns log p(x) [N] of each row in nats, or log p(x | conditions) for a conditional net.

    Args:
      model: the model.
      compiled: `score` of the model, compiled.
      key: not used.
      state: the state, whose averaged weights are used.
      batch: `x` [N, *shape] and the conditions that the net reads.

    Raises:
      UserError: for missing cells, or wrong conditions.
    """
    if model.levels is not None:
        categorical.check_levels(model.levels, batch["x"], batch.get("mask"))
    return host_checks.log_prob(model.conditions, compiled, key, state, batch)


def sample(
    model: Entries,
    honoured: tuple[str, ...],
    compiled: Callable,
    key: jax.Array,
    state: AutoregressiveState,
    num: int,
    given: dict | None = None,
    how: dict | None = None,
) -> Batch:
    """Draws rows, entry by entry. Each row has one of the orders, drawn at random.

    Args:
      model: the model.
      honoured: names of the conditions that `given` may hold.
      compiled: `complete` of the model, compiled.
      key: random key.
      state: the state, whose averaged weights are used.
      num: number of rows.
      given: conditions; `x` and `mask` [num, *shape], the first entries of a row, which stay; by default None.
      how: must be empty, because the sampler has no options.

    Raises:
      UserError: for a condition that the model does not take, observed entries that are not the first ones, or an
        option.
    """
    sampler_options(how)
    refuse_given(given, honoured)
    y_key, x_key = jax.random.split(key)
    beside = sample_conditions(y_key, given, num, model.conditions, state.classes)
    x, mask = given_cells(given, num, model.shape)
    observed = mask.reshape(num, -1)[:, np.argsort(model.places[0])]
    if (observed[:, 1:] & ~observed[:, :-1]).any():
        raise UserError(
            "given mask hides an entry before one that is observed; expected the first entries in the order of the model, "
            "which draws the others after them. Images: --mask lower, with whole lines of patches for the net patches"
        )
    return {"x": compiled(x_key, state.average, x, mask, beside or None), **beside}


def complete(model: Entries, key: jax.Array, params: Any, x: jax.Array, mask: jax.Array, c: Given | None) -> jax.Array:
    """Returns rows [N, *shape] whose entries are drawn, but for those that are observed.

    The draws of a row depend on its number alone, not on the other rows.

    Args:
      model: the model.
      key: random key.
      params: weights of the net and of the likelihood.
      x: rows [N, *shape].
      mask: observed entries [N, *shape], the first ones in the order of the row.
      c: conditions of the rows, or None.
    """
    num, layout, size = len(x), model.layout, model.layout.entries
    order_key, draw_key = jax.random.split(key)
    rows = jnp.arange(num)
    keys = jax.vmap(partial(jax.random.fold_in, draw_key))(rows)
    order_keys = jax.vmap(partial(jax.random.fold_in, order_key))(rows)
    chosen = jax.vmap(lambda each: jax.random.randint(each, (), 0, len(model.places)))(order_keys)
    order = jnp.asarray(np.argsort(model.places, 1))[chosen]  # [N, D] the entries in their order
    flat, observed = x.reshape(num, size), mask.reshape(num, size)
    net = partial(model.net.apply, params["net"])

    def draw(carry: tuple[Sums | Progress, jax.Array], time: jax.Array) -> tuple[tuple, None]:
        sums, flat = carry
        entry = order[:, time]
        out = jnp.where(jnp.asarray(model.possible)[entry], net(sums, c, layout, entry, time, method="at"), NEVER)
        entry_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, time)
        new = jax.vmap(model.likelihood.draw, (0, None, 0))(entry_keys, params["likelihood"], out)
        flat = flat.at[rows, entry].set(jnp.where(observed[rows, entry], flat[rows, entry], new))
        sums = net(sums, c, layout, entry, time, model.read(flat.reshape(x.shape)), method="add")
        return (sums, flat), None

    begin = net(flat, c, layout, method="begin")
    return jax.lax.scan(draw, (begin, flat), jnp.arange(size))[0][1].reshape(x.shape)
