"""Normalizing flows: bijections from rows to Gaussian noise, with exact densities."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import optimizers
from gen_jax.conditions import (
    Conditions,
    Given,
    conditions_in,
    conditions_of,
    drawn_labels,
    example_conditions,
    given_conditions,
    refuse_given,
    sampler_options,
)
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, columns
from gen_jax.distributions.multivariate_normal import gaussian_log_prob
from gen_jax.distributions.pixels import Whole, whole
from gen_jax.errors import UserError, check_whole
from gen_jax.model import Batch, Model, family, weighted_mean
from gen_jax.models import host_checks
from gen_jax.models.flow import splines
from gen_jax.models.flow.bijections import Autoregressive, Bijection, Coupling, Linear
from gen_jax.models.updates import GradientState, gradient_step, started
from gen_jax.nets.denoisers import DenoisingMLP
from gen_jax.nets.embedding import ConditionedNet
from gen_jax.nets.made import Layout, Made
from gen_jax.nets.net import Net, build_net, refuse_no_net
from gen_jax.registry import Choices, build

ADAM = {"name": "adam", "learning_rate": 1e-3, "clip_norm": 5.0}


def coupling_net(shape: tuple[int, ...], width: int = 64, blocks: int = 2) -> Net:
    """Returns the net of a coupling layer, residual dense blocks; see `nets.denoisers.DenoisingMLP`.

    Args:
      shape: shape of its output.
      width: number of units.
      blocks: number of blocks.
    """
    return DenoisingMLP(shape, width, blocks)


def autoregressive_net(shape: tuple[int, ...], hidden: tuple[int, ...] = (64, 64)) -> Net:
    """Returns the net of an autoregressive layer; see `nets.made.Made`.

    Args:
      shape: not used, because the net is told its shape when it is called.
      hidden: width of each hidden layer.
    """
    return Made(hidden)


NETS: dict[str, Callable[..., Any]] = {
    "mlp": coupling_net,
    "made": autoregressive_net,
}  # of coupling layers; of autoregressive layers


class Flow(NamedTuple):
    """Describes a flow without its weights: z = f_L(... f_1(x)) ~ N(0, I)."""

    layers: tuple[Bijection, ...]
    shape: tuple[int, ...]  # shape of a row
    conditions: Conditions
    numbers: (
        Whole | None
    )  # conversion of whole numbers, which are spread over their bins by noise; None for real numbers
    bin_size: float  # distance of two whole numbers in model space


@family("flow")
def flow(
    spec: Spec,
    net: Annotated[Mapping, Choices(NETS, 1)] = {"name": "mlp"},
    layers: int = 6,
    bins: int = 8,
    box: float = 4.0,
    linear: bool = True,
    conditional: bool = False,
    optimizer: optimizers.Optimizer = ADAM,
    ema_half_life: optimizers.Schedule = 0.0,
) -> Model:
    """Returns a normalizing flow of vectors, images and tables of numbers (Durkan et al. 2019, arXiv 1906.04032).

    Layers of monotone splines map a row to z ~ N(0, I). `log_prob` of real numbers is exact, and columns of whole numbers in
    a table count as real numbers. Whole numbers of images and vectors are spread over their bins by uniform noise (Theis et al. 2016, arXiv 1511.01844), so that `log_prob_bound` is a lower bound of their
    probability, and takes `num_samples`. `encode` and `decode` are the map and its inverse. `given` takes the conditions.

    Args:
      spec: facts of the data.
      net: `mlp` and the options of `coupling_net`, for coupling layers: half of the numbers stay, and tell the splines of the others.
        Or `made` and the options of `autoregressive_net`, for autoregressive layers: each number tells the splines of the numbers after
        it, in turn from both ends. These fit more closely, but draw samples number by number. Or a net (x, c, level) -> parameters
        [N, D, 3 bins - 1] of a coupling layer, whose level is 0 of shape [1].
      layers: number of layers; by default 6.
      bins: number of bins of a spline; by default 8.
      box: splines bend in [-box, box], and are the identity outside; by default 4.
      linear: whether a linear map of all numbers precedes each layer; by default True.
      conditional: whether the net reads the conditions of the data; by default False.
      optimizer: see `gen_jax.optimizers.optimizer`; by default Adam, with gradients clipped to a global norm of 5.
      ema_half_life: half-life, in rows, of the averaged weights that sample and score, or a schedule; by default 0, the newest weights.

    Raises:
      UserError: for data that are not rows of numbers, missing conditions, or an unknown name or option.
    """
    check_arguments(spec, layers, bins, box)
    conditions = conditions_of("flow", spec, conditional)
    size, numbers = int(np.prod(spec.shape)), whole(spec)
    model = Flow(
        layers=layers_of(net, size, layers, bins, box, linear, conditions),
        shape=tuple(spec.shape),
        conditions=conditions,
        numbers=numbers,
        bin_size=1 / float(np.asarray(spec.scale)) if numbers else 0.0,
    )
    tx = optimizers.optimizer(optimizer)
    functions: dict[str, Any] = {}
    if numbers is None:
        functions["log_prob"] = partial(host_checks.log_prob, conditions, jax.jit(partial(density, model)))
    else:
        score = jax.jit(partial(bound, model), static_argnames="num")
        functions["log_prob_bound"] = partial(host_checks.log_prob_bound, conditions, score)
    record = Model(
        partial(init, model, tx),
        partial(gradient_step, partial(flow_loss, model), "nats_per_row", tx, optimizers.half_life(ema_half_life)),
        partial(sample, model, jax.jit(partial(drawn_rows, model), static_argnames="num")),
        prior=partial(prior, model),
        encode=partial(host_checks.encode, conditions, jax.jit(partial(latent_of, model))),
        decode=jax.jit(partial(decode, model)),
        given=conditions.names,
    )
    return record._replace(**functions)


def layers_of(
    net: Any, size: int, count: int, bins: int, box: float, linear: bool, conditions: Conditions
) -> tuple[Bijection, ...]:
    """Returns the layers of a flow.

    Args:
      net: see `flow`.
      size: number of numbers of a row.
      count: number of layers of splines.
      bins: number of bins of a spline.
      box: the splines bend in [-box, box].
      linear: whether a linear map precedes each layer.
      conditions: conditions that the nets read.

    Raises:
      UserError: for an unknown net or option.
    """
    random = np.random.default_rng(0)
    shape = (size, splines.width(bins))
    layers: list[Bijection] = []
    for number in range(count):
        if linear and size > 1:
            layers.append(Linear(random.permutation(size) if number else np.arange(size)))
        module = build("net", NETS, net, shape)
        refuse_no_net("net", module)
        if isinstance(module, Made):
            module.check()
            place = np.arange(size, dtype=np.int32)[:: 1 if number % 2 == 0 else -1]
            layout = Layout(np.arange(size), size, shape[1])
            layers.append(Autoregressive(ConditionedNet(module, conditions), layout, place, bins, box))
        else:
            checked = build_net("net", NETS, module, shape, inputs="x, c, level", shape=shape)
            fixed = (np.arange(size) + number) % 2 == 0 if size > 1 else np.zeros(1, bool)
            layers.append(Coupling(ConditionedNet(checked, conditions), fixed, bins, box))
    return tuple(layers)


def init(model: Flow, tx: Callable, key: jax.Array, batch: Batch) -> GradientState:
    """Returns the state before the first step, in which the layers are near the identity.

    Args:
      model: the model.
      tx: function from the number of examples to an Optax transformation.
      key: random key of the weights.
      batch: not used, because `model` gives the shapes.
    """
    c = example_conditions(model.conditions, 1)
    keys = jax.random.split(key, len(model.layers))
    params = {
        f"layer_{at}": layer.init(each, c) for at, (layer, each) in enumerate(zip(model.layers, keys, strict=True))
    }
    return GradientState(**started(tx, model.conditions.classes, params))


def flow_loss(model: Flow, params: Any, key: jax.Array, batch: Batch) -> jax.Array:
    """Returns the mean of -log p(x) over the rows of a batch, in nats.

    Args:
      model: the model.
      params: weights of the layers; differentiable.
      key: random key of the noise that spreads whole numbers.
      batch: `x` [N, *shape], the conditions that the net reads, and `weight` [N] (0 for padding rows).
    """
    x = spread(model, key, batch["x"])
    nats = density(model, params, x, conditions_in(batch, model.conditions))
    return -weighted_mean(nats, batch.get("weight", jnp.ones(len(x))))


def spread(model: Flow, key: jax.Array, x: jax.Array) -> jax.Array:
    """Returns whole numbers with uniform noise within their bins; real numbers as they are.

    Args:
      model: the model.
      key: random key.
      x: rows [N, *shape].
    """
    if model.numbers is None:
        return x
    return x + model.bin_size * jax.random.uniform(key, x.shape, minval=-0.5, maxval=0.5)


def mapped(model: Flow, params: Any, x: jax.Array, c: Given | None) -> tuple[jax.Array, jax.Array]:
    """Returns z [N, D] and log |dz/dx| [N] of rows.

    Args:
      model: the model.
      params: weights of the layers.
      x: rows [N, *shape].
      c: conditions of the rows, or None.
    """
    z, total = x.reshape(len(x), -1), jnp.zeros(len(x))
    for at, layer in enumerate(model.layers):
        z, log_slope = layer.forward(params[f"layer_{at}"], z, c)
        total = total + log_slope
    return z, total


def density(model: Flow, params: Any, x: jax.Array, c: Given | None) -> jax.Array:
    """Returns log p(x) [N] in nats: log N(z; 0, I) + log |dz/dx|; of whole numbers including the volume of their bins.

    Args:
      model: the model.
      params: weights of the layers; differentiable.
      x: rows [N, *shape]; whole numbers with noise, see `spread`.
      c: conditions of the rows, or None.
    """
    z, log_slope = mapped(model, params, x, c)
    volume = z.shape[1] * np.log(model.bin_size) if model.numbers else 0.0
    return gaussian_log_prob(z).sum(1) + log_slope + volume


def bound(model: Flow, key: jax.Array, params: Any, batch: Batch, num: int) -> jax.Array:
    """Returns a lower bound of log p(x) [N] of whole numbers: log of the mean density over draws of the noise.

    Args:
      model: the model.
      key: random key of the noise.
      params: weights of the layers.
      batch: `x` [N, *shape] and the conditions that the net reads.
      num: number of draws of a row.
    """
    c = conditions_in(batch, model.conditions)
    each = jax.lax.map(
        lambda key: density(model, params, spread(model, key, batch["x"]), c), jax.random.split(key, num)
    )
    return jax.nn.logsumexp(each, 0) - np.log(num)


def prior(model: Flow, key: jax.Array, state: GradientState, num: int) -> dict:
    """Returns latents `z` [num, D] ~ N(0, I), and `y` [num] for a model that reads labels.

    Args:
      model: the model.
      key: random key.
      state: the state, which counts labels.
      num: number of latents.
    """
    z_key, y_key = jax.random.split(key)
    keys = jax.vmap(partial(jax.random.fold_in, z_key))(jnp.arange(num))
    size = int(np.prod(model.shape))
    z = jax.vmap(lambda each: jax.random.normal(each, (size,)))(keys)
    return {"z": z} if state.classes is None else {"z": z, "y": drawn_labels(y_key, state.classes, num)}


def latent_of(model: Flow, params: Any, x: jax.Array, c: Given | None) -> jax.Array:
    """Returns the latents [N, D] of rows.

    Args:
      model: the model.
      params: weights of the layers.
      x: rows [N, *shape].
      c: conditions of the rows, or None.
    """
    return mapped(model, params, x, c)[0]


def decode(model: Flow, key: jax.Array, state: GradientState, latent: dict) -> Batch:
    """Returns the rows of latents: `x` [N, *shape], and their conditions. Differentiable.

    Args:
      model: the model.
      key: not used.
      state: the state, whose averaged weights are used.
      latent: `z` [N, D], and the conditions that the net reads.

    Raises:
      UserError: for a missing condition.
    """
    c, x = conditions_in(latent, model.conditions), latent["z"]
    for at, layer in reversed([*enumerate(model.layers)]):
        x = layer.inverse(state.average[f"layer_{at}"], x, c)
    return {"x": x.reshape(-1, *model.shape), **(c or {})}


def sample(
    model: Flow,
    compiled: Callable,
    key: jax.Array,
    state: GradientState,
    num: int,
    given: dict | None = None,
    how: dict | None = None,
) -> Batch:
    """Draws rows. A conditional model draws a label for each row unless `given` has `y`.

    Args:
      model: the model.
      compiled: `drawn_rows` of the model, compiled.
      key: random key.
      state: the state, whose averaged weights are used.
      num: number of rows.
      given: conditions; by default None.
      how: must be empty, because the sampler has no options.

    Raises:
      UserError: for a condition that the model does not take, or an option.
    """
    sampler_options(how)
    refuse_given(given, model.conditions.names)
    return compiled(key, state, given_conditions(given, num, model.conditions), num=num)


def drawn_rows(model: Flow, key: jax.Array, state: GradientState, given: Given, num: int) -> Batch:
    """Returns rows that are drawn: `x` [num, *shape], whole numbers where the data are, and their conditions.

    Args:
      model: the model.
      key: random key.
      state: the state, whose averaged weights are used.
      given: conditions, without labels that are drawn.
      num: number of rows.
    """
    z_key, x_key = jax.random.split(key)
    rows = decode(model, x_key, state, {**prior(model, z_key, state, num), **given})
    if model.numbers is not None:
        x = model.numbers.of(rows["x"])
        rows["x"] = model.numbers.back(jnp.clip(x, 0, model.numbers.top))
    return rows


def check_arguments(spec: Spec, layers: int, bins: int, box: float) -> None:
    """Refuses data that are not rows of numbers, and arguments out of their range.

    Args:
      spec: facts of the data.
      layers: see `flow`.
      bins: see `flow`.
      box: see `flow`.

    Raises:
      UserError: for such data or arguments.
    """
    kind = kind_of(spec)
    if kind.time or kind.class_map:
        raise UserError(
            f"{spec.name} holds {spec.kind} data; expected images, vectors or a table of numbers for a flow"
        )
    for column in columns(spec) if spec.tabular else ():
        if "levels" in column or column["missing"]:
            what = "holds levels" if "levels" in column else "may have missing cells"
            raise UserError(
                f"column {column['name']!r} of {spec.name} {what}; expected complete columns of numbers for a flow. The "
                "models forest and mixture take all columns"
            )
    if not spec.tabular and whole(spec) is None and np.dtype(spec.dtype).kind != "f":
        raise UserError(
            f"the columns of {spec.name} are whole numbers with a range each; expected real numbers, or one range, for a flow"
        )
    check_whole("layers", layers)
    check_whole("bins", bins, 2)
    if not (np.isfinite(box) and box > 0):
        raise UserError(f"box is {box}; expected a number above 0")
