"""Generative adversarial networks: one function, whose arguments are the loss, the penalty and the two nets."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.conditions import drawn_labels, given_labels, given_observed, refuse_given, sampler_options
from gen_jax.data.spec import Spec
from gen_jax.distributions.columns import check_kind, representation
from gen_jax.errors import UserError, choose
from gen_jax.losses.adversarial import LOSSES
from gen_jax.losses.penalties import PENALTIES, squared_gradient
from gen_jax.model import Batch, Model, observed, saturated, weighted_mean
from gen_jax.nets import DISCRIMINATORS, GENERATORS
from gen_jax.nets.layers import packed
from gen_jax.optimizers import moving_average, optimizer, schedule
from gen_jax.optimizers.evolution import evolution_gradient
from gen_jax.registry import build

PRIORS = {
    "normal": jax.random.normal,
    "uniform": partial(jax.random.uniform, minval=-1.0, maxval=1.0),
}


def evolution(pairs: int = 32, deviation: float = 0.02, shaped: bool = True) -> Callable:
    """Returns the estimator of `evolution_gradient`; all its evaluations share the draws of the loss."""

    def estimate(key: jax.Array, loss: Callable, params: Any) -> tuple:
        value, gradient = evolution_gradient(key, lambda params: loss(params)[0], params, pairs, deviation, shaped)
        return (value, loss(params)[1]), gradient

    return estimate


ESTIMATORS = {  # of the generator's gradient: (key, loss, params) -> ((value, statistics), gradient)
    "backpropagation": lambda: lambda key, loss, params: jax.value_and_grad(loss, has_aux=True)(params),
    "evolution": evolution,
}
ADAM = {"name": "adam", "learning_rate": 2e-4, "b1": 0.0, "b2": 0.99}
STATISTICS = ["batch_stats", "spectral"]  # what a net changes as it runs


class GanState(NamedTuple):
    """What a GAN carries from step to step; nets and optimizer states are pytrees of float32.

    A net is its `params` beside its statistics: `batch_stats` of a generator, `spectral` vectors of a discriminator.
    """

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, real ones that the discriminator has seen
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None where none is modelled
    generator: Any
    discriminator: Any
    generator_ema: Any
    generator_optimizer: Any
    discriminator_optimizer: Any


def gan(
    spec: Spec,
    generator: Mapping = {"name": "mlp"},
    discriminator: Mapping = {"name": "mlp"},
    loss: str = "relativistic",
    penalty: str = "r1_r2",
    gamma: float | Mapping = 1.0,
    latent_size: int = 64,
    prior: str = "normal",
    conditional: bool = False,
    n_critic: int = 1,
    pack: int = 1,
    weight_clip: float | None = None,
    generator_gradient: Mapping = {"name": "backpropagation"},
    generator_optimizer: Mapping = ADAM,
    discriminator_optimizer: Mapping = ADAM,
    ema_half_life: float | Mapping = 0.0,
    monitor: bool = False,
) -> Model:
    """A GAN over images, vectors, series or columns (Goodfellow et al. 2014; by default R3GAN, Huang et al. 2024).

    Args:
      generator, discriminator: a `name` in `GENERATORS` / `DISCRIMINATORS` and that net's options.
      loss: a name in `LOSSES`.
      penalty: a name in `PENALTIES`; `gamma` weighs it, a number or a schedule over examples.
      latent_size, prior: z is drawn from `normal` N(0, 1) or `uniform` U(-1, 1) in that many dimensions.
      conditional: both nets read the label; `given={"y": labels}` asks for one, and a sample's `y` tells it. Of columns,
        whose labels are their levels (`data.order` by_level), `x` and `mask` with one observed level a row ask for it too,
        and what the generator puts out has to agree with it (CTGAN, Xu et al. 2019, arXiv 1907.00503, section 4.3).
      n_critic: discriminator updates per generator update. A batch is split into disjoint parts, one for each of
        them and, where the generator's loss reads real examples, one more for the generator.
      pack: examples that the discriminator judges together (PacGAN, Lin et al. 2018, arXiv 1712.04086, section 3).
      weight_clip: largest magnitude of the discriminator's weights (WGAN, Arjovsky et al. 2017, algorithm 1).
      generator_gradient: a `name` in `ESTIMATORS` and its options.
      generator_optimizer, discriminator_optimizer: see `gen_jax.optimizers.optimizer`.
      monitor: metrics `r1` and `r2` whatever the penalty: where they part, the game is about to diverge (R3GAN, fig. 1).
        They cost a reverse pass each. Of a discriminator with batch statistics they are the gradients of the batch's sum.
      ema_half_life: of the averaged generator that samples, in examples, a number or a schedule; 0 averages nothing.

    One step is `n_critic` updates of the discriminator and one of the generator; the examples that schedules count
    are the real ones the discriminator has seen.

    Raises:
      UserError: for data of another kind, a conditional model of data without labels, an unknown
        name or option, a penalty on a discriminator with batch statistics, a batch that cannot be split.
    """
    check_arguments(spec, latent_size, n_critic, pack, conditional, weight_clip, discriminator)
    num_classes = len(spec.classes) if conditional else 0
    form = representation(spec)
    g_net = build("generator", GENERATORS, generator, form.shape, num_classes)
    d_net = build("discriminator", DISCRIMINATORS, discriminator, num_classes)
    game = LOSSES[choose("adversarial loss", loss, LOSSES)]
    penalise = PENALTIES[choose("penalty", penalty, PENALTIES)]
    draw = PRIORS[choose("prior", prior, PRIORS)]
    estimate = build("generator_gradient", ESTIMATORS, generator_gradient)
    gamma, half_life = schedule(gamma), schedule(ema_half_life)
    g_tx, d_tx = optimizer(generator_optimizer), optimizer(discriminator_optimizer)
    parts = n_critic + game.pairs
    asks = conditional and form.asked is not None

    def together(y: jax.Array) -> jax.Array:
        return y if pack == 1 else y.reshape(-1, pack)

    def init(key: jax.Array, batch: Batch) -> GanState:
        g_key, d_key = jax.random.split(key)
        y = jnp.zeros(pack, jnp.int32)
        g = dict(g_net.init(g_key, jnp.zeros((1, latent_size)), y[:1]))
        d = dict(d_net.init(d_key, packed(jnp.zeros((pack, *form.shape)), pack), together(y)))
        if d.pop("batch_stats", None) and penalty != "none":  # a discriminator always reads those of its batch
            raise UserError(
                f"penalty {penalty!r} needs each row's own gradient, and batch norm mixes the rows of the discriminator: "
                f"give it norm='spectral' or norm='none'"
            )
        zero, average = jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, g)
        optimizers = g_tx(zero).init(g["params"]), d_tx(zero).init(d["params"])
        classes = jnp.zeros(num_classes) if conditional else None
        return GanState(zero, zero, classes, g, d, average, *optimizers)

    def generate(g: Any, keys: Sequence[jax.Array], z: jax.Array, y: jax.Array, weight: jax.Array) -> tuple:
        """Returns the rows that are judged, the net's output, its {"batch_stats"}; `keys` [2] are of dropout and levels."""
        out, statistics = g_net.apply(g, z, y, weight, rngs={"dropout": keys[0]}, mutable=STATISTICS[:1])
        return form.relaxed(keys[1], out), out, statistics

    def judged(x: jax.Array, fake: jax.Array, y: jax.Array, weight: jax.Array) -> tuple[jax.Array, ...]:
        return packed(x, pack), packed(fake, pack), together(y), weight.reshape(-1, pack).min(1)

    def criticise(d: Any, key: jax.Array, y: jax.Array, weight: jax.Array, x: jax.Array, call: int) -> jax.Array:
        key = jax.random.fold_in(key, call)  # each pass through the net has its own dropout
        y, weight = (jnp.repeat(each, len(x) // len(weight), axis=0) for each in (y, weight))
        return d_net.apply(d, x, y, weight, rngs={"dropout": key}, mutable=STATISTICS)[0]  # [N]

    def d_loss(params: Any, key: jax.Array, state: GanState, x: jax.Array, y: jax.Array, weight: jax.Array):
        z_key, drop_key, penalty_key, *net_keys = jax.random.split(key, 5)
        fake, *_ = generate(state.generator, net_keys, draw(z_key, (len(weight), latent_size)), y, weight)
        x, fake, y, weight = judged(x, fake, y, weight)
        critic = partial(criticise, {**state.discriminator, "params": params}, drop_key, y, weight)
        real_logits, fake_logits, penalties = penalise(penalty_key, critic, x, fake)
        value = weighted_mean(game.discriminator(real_logits, fake_logits), weight)
        penalties = {name: weighted_mean(each, weight) for name, each in penalties.items()}
        sign = weighted_mean(jnp.sign(real_logits - fake_logits), weight)
        metrics = {"d_loss": value, "d_sign": sign, **penalties}
        for name, rows, call in (("r1", x, 3), ("r2", fake, 4)) if monitor else ():
            metrics.setdefault(name, weighted_mean(squared_gradient(critic, rows, call)[1] / 2, weight))
        return value + gamma(state.examples.astype(jnp.float32)) * sum(penalties.values()), metrics

    def g_loss(
        params: Any,
        keys: Sequence[jax.Array],
        state: GanState,
        z: jax.Array,
        x: jax.Array,
        y: jax.Array,
        weight: jax.Array,
    ):
        fake, out, statistics = generate({**state.generator, "params": params}, keys[1:], z, y, weight)
        disagrees = weighted_mean(form.mismatch(out, y), weight) if asks else 0.0
        x, fake, y, weight = judged(x, fake, y, weight)
        critic = partial(criticise, state.discriminator, keys[0], y, weight)
        value = weighted_mean(game.generator(critic(fake, 1), critic(x, 0) if game.pairs else None), weight)
        return value + disagrees, statistics

    def update_d(key: jax.Array, state: GanState, x: jax.Array, y: jax.Array, weight: jax.Array):
        seen, old = state.examples.astype(jnp.float32), state.discriminator
        gradient, metrics = jax.grad(d_loss, has_aux=True)(old["params"], key, state, x, y, weight)
        updates, d_state = d_tx(seen).update(gradient, state.discriminator_optimizer, old["params"])
        d = {**old, "params": optax.apply_updates(old["params"], updates)}
        if weight_clip is not None:
            d["params"] = jax.tree.map(lambda each: jnp.clip(each, -weight_clip, weight_clip), d["params"])
        if "spectral" in d:  # one power iteration, for which any row will do
            d["spectral"] = d_net.apply(d, packed(x[:pack], pack), together(y[:pack]), mutable=STATISTICS)[1][
                "spectral"
            ]
        return state._replace(discriminator=d, discriminator_optimizer=d_state), metrics

    def update_g(key: jax.Array, state: GanState, x: jax.Array, y: jax.Array, weight: jax.Array):
        seen, old = state.examples.astype(jnp.float32), state.generator
        z_key, drop_key, es_key, *net_keys = jax.random.split(key, 5)
        z, keys = draw(z_key, (len(weight), latent_size)), (drop_key, *net_keys)
        loss = partial(g_loss, keys=keys, state=state, z=z, x=x, y=y, weight=weight)
        (value, statistics), gradient = estimate(es_key, loss, old["params"])
        updates, g_state = g_tx(seen).update(gradient, state.generator_optimizer, old["params"])
        g = {**old, **statistics, "params": optax.apply_updates(old["params"], updates)}
        return state._replace(generator=g, generator_optimizer=g_state), value

    def step(key: jax.Array, state: GanState, batch: Batch) -> tuple[GanState, dict]:
        rows = batch["x"].shape[0]
        if rows % (parts * pack):
            raise UserError(
                f"a batch of {rows} rows cannot be split into the {parts} parts, in packs of {pack}, "
                f"that this gan learns from: expected a multiple of {parts * pack}"
            )
        *keys, read_key = jax.random.split(key, n_critic + 2)
        x = form.read(read_key, observed(batch))
        x = x.reshape(-1, parts, *form.shape)  # strided parts: no row leaves its device
        weight = batch.get("weight", jnp.ones(rows)).reshape(-1, parts)
        y = (batch["y"] if conditional else jnp.zeros(rows, jnp.int32)).reshape(-1, parts)
        for part in range(n_critic):  # unrolled: XLA's CPU convolutions are slow inside a loop
            state, metrics = update_d(keys[part], state, x[:, part], y[:, part], weight[:, part])
        state, value = update_g(keys[-1], state, x[:, -1], y[:, -1], weight[:, -1])
        new, half = weight[:, :n_critic].sum(), half_life(state.examples.astype(jnp.float32))
        average = moving_average(state.generator_ema, state.generator, new, half)
        examples, classes = saturated(state.examples, new.astype(jnp.int32)), state.classes
        if conditional:
            classes = classes + jnp.einsum("bp,bpk->k", weight, jax.nn.one_hot(y, num_classes))
        state = state._replace(step=state.step + 1, examples=examples, classes=classes, generator_ema=average)
        return state, {"g_loss": value, **metrics}

    def prior_latent(key: jax.Array, state: GanState, num: int) -> dict:
        if not conditional:
            return {"z": draw(key, (num, latent_size))}
        z_key, y_key = jax.random.split(key)
        counts = state.classes if form.shares is None else jnp.asarray(form.shares)
        return {"z": draw(z_key, (num, latent_size)), "y": drawn_labels(y_key, counts, num)}

    @jax.jit
    def decode(key: jax.Array, state: GanState, latent: dict) -> Batch:
        labels = {"y": latent["y"]} if conditional else {}
        return {"x": form.drawn(key, g_net.apply(state.generator_ema, latent["z"], labels.get("y"))), **labels}

    honoured = ("y",) * conditional + ("x", "mask") * asks

    def sample(key: jax.Array, state: GanState, num: int, given: dict | None = None, how: dict | None = None) -> Batch:
        sampler_options(how)
        refuse_given(given, honoured)
        known = given_observed(given, num, spec.shape) if asks else None
        labels = {"y": form.asked(*known)} if known else {}
        labels |= given_labels({name: each for name, each in (given or {}).items() if name == "y"}, num, num_classes)
        z_key, x_key = jax.random.split(key)
        drawn = decode(x_key, state, {**prior_latent(z_key, state, num), **labels})
        return {**drawn, "x": jnp.where(known[1], known[0], drawn["x"])} if known else drawn

    return Model(init, step, sample, prior=prior_latent, decode=decode, given=honoured)


def check_arguments(
    spec: Spec,
    latent_size: int,
    n_critic: int,
    pack: int,
    conditional: bool,
    weight_clip: float | None,
    discriminator: Mapping,
) -> None:
    """Refuses arguments that no GAN can have.

    Raises:
      UserError: naming the argument, its value and what was expected.
    """
    check_kind("gan", spec, lambda kind: not kind.time or kind.columns)
    for name, value in {"n_critic": n_critic, "latent_size": latent_size, "pack": pack}.items():
        if value < 1:
            raise UserError(f"{name} {value}: expected at least 1")
    if conditional and not spec.classes:
        raise UserError(
            f"a conditional gan learns labels, and {spec.name} has none: set model.conditional=False, or make labels of the "
            f"levels of its columns by data.order=by_level"
        )
    if conditional and pack > 1 and discriminator.get("name") != "mlp":
        raise UserError(f"pack {pack}: of a conditional gan only discriminator 'mlp' reads labels together, expected 1")
    if weight_clip is not None and weight_clip <= 0:
        raise UserError(f"weight_clip {weight_clip}: expected more than 0, or None")
