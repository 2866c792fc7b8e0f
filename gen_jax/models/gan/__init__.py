"""Generative adversarial networks. The nets, the loss and the penalty are arguments of one function."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp

from gen_jax.conditions import (
    conditions_in,
    conditions_of,
    drawn_labels,
    given_conditions,
    given_observed,
    refuse_given,
    sampler_options,
)
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.distributions.columns import check_kind, representation
from gen_jax.errors import UserError
from gen_jax.losses.adversarial import AdversarialLoss, adversarial_loss
from gen_jax.losses.penalties import PENALTIES
from gen_jax.losses.reconstruction import Reconstruction, ReconstructionChoice
from gen_jax.losses.reconstruction import reconstruction as reconstruction_term
from gen_jax.model import Batch, Model, family
from gen_jax.models.gan.losses import Adversaries, GanState
from gen_jax.models.gan.steps import ESTIMATORS, Recipe, init, step
from gen_jax.nets import DISCRIMINATORS, GENERATORS, Discriminator, Generator
from gen_jax.nets.embedding import ConditionedNet
from gen_jax.nets.net import Net, build_net
from gen_jax.optimizers import Optimizer, Schedule, half_life, optimizer, schedule
from gen_jax.registry import Choices, build, function_of

PRIORS: Mapping[str, Callable[..., jax.Array]] = {
    "normal": jax.random.normal,
    "uniform": partial(jax.random.uniform, minval=-1.0, maxval=1.0),
}
ADAM = {"name": "adam", "learning_rate": 2e-4, "b1": 0.0, "b2": 0.99}


@family("gan")
def gan(
    spec: Spec,
    generator: Generator = {"name": "mlp"},
    discriminator: Discriminator = {"name": "mlp"},
    loss: str | AdversarialLoss = "relativistic",
    penalty: str | Callable = "r1_r2",
    gamma: Schedule = 1.0,
    latent_size: int = 64,
    prior: str | Callable = "normal",
    conditional: bool = False,
    n_critic: int = 1,
    pack: int = 1,
    weight_clip: float | None = None,
    reconstruction: ReconstructionChoice = {"name": "none"},
    adversarial: Schedule = 1.0,
    generator_gradient: Annotated[Mapping | Callable, Choices(ESTIMATORS)] = {"name": "backpropagation"},
    generator_optimizer: Optimizer = ADAM,
    discriminator_optimizer: Optimizer = ADAM,
    ema_half_life: Schedule = 0.0,
    monitor: bool = False,
    matching: bool = False,
) -> Model:
    """Returns a GAN over images, vectors, series or tables (Goodfellow et al. 2014, arXiv 1406.2661).

    A step is `n_critic` updates of the discriminator and one update of the generator. Schedules are functions of the
    number of examples: the number of real rows that the discriminator has read. The default loss and penalty are the
    choices of R3GAN (Huang et al. 2024, arXiv 2501.05441).

    A net of your own is a Flax module. A generator maps latents z [N, Z], conditions or None (see
    `gen_jax.nets.embedding.Embedded`), and a mask [N] (0 for padding rows) to rows [N, *shape]. A discriminator maps
    rows, conditions and mask to logits [N], or to logits [N, P] of P patches. For a table, `shape` is that of the
    encoded row, which an error names.

        class Generator(nn.Module):
            @nn.compact
            def __call__(self, z, c=None, mask=None):
                return nn.Dense(2)(z)

        gen_jax.models.gan(data.spec, generator=Generator())

    A loss of your own is a `gen_jax.losses.adversarial.AdversarialLoss` of two functions of logits. A penalty is a
    function (key, critic, real, fake), see `gen_jax.losses.penalties`.

    Args:
      spec: facts of the data.
      generator: a `name` in `nets.GENERATORS` and the options of that net, or a net; by default an MLP.
      discriminator: a `name` in `nets.DISCRIMINATORS` and the options of that net, or a net; by default an MLP.
      loss: a name in `losses.adversarial.LOSSES`; by default `relativistic`, which compares real with generated rows.
      penalty: a name in `losses.penalties.PENALTIES`; by default `r1_r2`, the squared gradients of the discriminator at
        real and at generated rows.
      gamma: weight of the penalty, a number or a schedule; by default 1.
      latent_size: number of dimensions of the latent z; by default 64.
      prior: distribution of every dimension of z: `normal` N(0, 1), the default, or `uniform` U(-1, 1).
      conditional: whether both nets read the conditions of the data, labels `y` and a condition `c`; by default False.
        `given={"y": labels}` then chooses labels, and a sample has its label as `y`. A condition `c`, such as an image or
        a text, must be given. Labels may be levels of a table (`data.order` by_level). Then `x` and `mask` with one
        observed level a row choose labels too, and the generator's loss demands the label. See CTGAN (Xu et al.
        2019, arXiv 1907.00503, section 4.3).
      n_critic: number of updates of the discriminator in a step; by default 1. Each update has its own part of the
        batch. The generator also has a part if its loss reads real rows.
      pack: number of rows that the discriminator judges together; by default 1. See PacGAN (Lin et al. 2018, arXiv
        1712.04086, section 3).
      weight_clip: largest magnitude of the weights of the discriminator; by default None, no limit. See WGAN (Arjovsky
        et al. 2017, arXiv 1701.07875, algorithm 1).
      reconstruction: a `name` in `losses.reconstruction.RECONSTRUCTIONS` and its `weight`; by default `none`. The
        generator's loss then has the distance to the true row of the same conditions as a further term (Isola et al.
        2017, arXiv 1611.07004, eq. 4): `l1` for images, `cross_entropy` for class maps.
      adversarial: weight of the adversarial loss of the generator, a number or a schedule; by default 1. With the
        number 0 no discriminator is trained, and the generator is a plain supervised net.
      generator_gradient: a `name` in `ESTIMATORS` and its options; by default `backpropagation`.
      generator_optimizer: a `name` in `optimizers.OPTIMIZERS` and its options; by default `ADAM`.
      discriminator_optimizer: a `name` in `optimizers.OPTIMIZERS` and its options; by default `ADAM`.
      ema_half_life: half-life, in examples, of the averaged generator that draws samples. A number or a schedule; by
        default 0, no average.
      monitor: whether every step measures `r1` and `r2`, for any penalty; by default False. If the two drift apart,
        training is about to diverge (R3GAN, figure 1). Each measure costs a reverse pass. If the discriminator has
        batch statistics, they are gradients of the sum over the batch.
      matching: whether real rows beside the conditions of other rows count as generated rows; by default False. They
        and the generated rows then have half of the weight each. So the discriminator learns whether a row fits its
        condition, such as a text (Reed et al. 2016, arXiv 1605.05396, section 4.2).

    Raises:
      UserError: for data of another kind, a conditional model of data without conditions, an unknown name or option, or a
        number out of its range. `init` raises it for a penalty on a discriminator with batch statistics, and `step`
        for a batch that cannot be split.
    """
    check_arguments(spec, latent_size, n_critic, pack, conditional, weight_clip, discriminator)
    check_matching(matching, conditional, pack, adversarial)
    conditions = conditions_of("gan", spec, conditional)._replace(any_sides=True)
    form = representation(spec if conditional else spec._replace(classes=()))
    nets = Adversaries(
        generator=ConditionedNet(
            build_net(
                "generator",
                GENERATORS,
                generator,
                form.shape,
                inputs="z, c, mask",
                shape=form.shape,
                sides=conditions.sides,
            ),
            conditions,
        ),
        discriminator=ConditionedNet(
            build_net("discriminator", DISCRIMINATORS, discriminator, inputs="x, c, mask", shape=()), conditions
        ),
        loss=adversarial_loss(loss),
        penalty=function_of("penalty", PENALTIES, penalty, "key, critic, real, fake"),
        prior=function_of("prior", PRIORS, prior, "key, shape"),
        form=form,
        shape=spec.shape,
        latent_size=latent_size,
        conditions=conditions,
        reconstruction=paired_term(spec, conditional, reconstruction, adversarial),
        pack=pack,
        monitor=monitor,
        matching=matching,
    )
    recipe = Recipe(
        plain=adversarial == 0,
        estimate=build("generator_gradient", ESTIMATORS, generator_gradient),
        generator=optimizer(generator_optimizer),
        discriminator=optimizer(discriminator_optimizer),
        gamma=schedule(gamma),
        adversarial=schedule(adversarial),
        half_life=half_life(ema_half_life),
        n_critic=n_critic,
        weight_clip=weight_clip,
    )
    decoder = jax.jit(partial(decode, nets))
    return Model(
        partial(init, nets, recipe),
        partial(step, nets, recipe),
        partial(sample, nets, decoder),
        prior=partial(draw_prior, nets),
        decode=decoder,
        given=honoured(nets),
    )


def draw_prior(nets: Adversaries, key: jax.Array, state: GanState, num: int) -> dict:
    """Draws latents from the prior, and labels by their frequencies if the nets read labels.

    Args:
      nets: both nets.
      key: random key of the draws.
      state: the state, whose averaged generator draws.
      num: number of latents.

    Returns:
      `z` [num, Z], and `y` [num] if the nets read labels. There is no prior of a condition `c`.
    """
    counts = state.classes if nets.form.shares is None else jnp.asarray(nets.form.shares)
    if counts is None:
        return {"z": nets.prior(key, (num, nets.latent_size))}
    z_key, y_key = jax.random.split(key)
    return {"z": nets.prior(z_key, (num, nets.latent_size)), "y": drawn_labels(y_key, counts, num)}


def decode(nets: Adversaries, key: jax.Array, state: GanState, latent: dict) -> Batch:
    """Returns the rows that the averaged generator makes of latents.

    Args:
      nets: both nets.
      key: random key of the levels of a table.
      state: the state, whose averaged generator draws.
      latent: `z` [N, Z], and the conditions that the nets read.

    Returns:
      `x` [N, *shape], and the conditions.
    """
    c = conditions_in(latent, nets.conditions)
    x = nets.form.drawn(key, nets.generator.apply(state.generator_ema, latent["z"], c))
    return {"x": x, **(c or {})}


def honoured(nets: Adversaries) -> tuple[str, ...]:
    """Returns the names of the conditions that `sample` can obey.

    Args:
      nets: both nets.
    """
    if nets.form.asked is not None:
        return "y", "x", "mask"
    return nets.conditions.names


def sample(
    nets: Adversaries,
    decoder: Callable,
    key: jax.Array,
    state: GanState,
    num: int,
    given: dict | None = None,
    how: dict | None = None,
) -> Batch:
    """Draws rows: the averaged generator turns latents of the prior into rows.

    Args:
      nets: both nets.
      decoder: `decode` of these nets, compiled.
      key: random key of latents, labels and levels.
      state: the state, whose averaged generator draws.
      num: number of rows.
      given: labels `y` [num], a condition `c` [num, *shape], or cells `x` [num, D] with a `mask` [num, D] of one observed level a row, which is kept;
        by default None.
      how: no options; by default None.

    Returns:
      `x` [num, *shape], and the conditions that the nets read.

    Raises:
      UserError: for a missing `c`, a condition that these nets cannot obey, or an option.
    """
    sampler_options(how)
    refuse_given(given, honoured(nets))
    cells = given_observed(given, num, nets.shape)
    requested = given_conditions(given, num, nets.conditions)
    if cells is not None and nets.form.asked and "y" not in requested:
        requested["y"] = nets.form.asked(*cells)
    z_key, x_key = jax.random.split(key)
    rows = decoder(x_key, state, {**draw_prior(nets, z_key, state, num), **requested})
    if cells is None:
        return rows
    x, mask = cells
    return {**rows, "x": jnp.where(mask, x, rows["x"])}


def paired_term(
    spec: Spec, conditional: bool, options: Mapping | Reconstruction, adversarial: float | Mapping | Callable
) -> Reconstruction:
    """Returns the reconstruction term, which compares a generated row with the true row of the same condition.

    Args:
      spec: facts of the data.
      conditional: see `gan`.
      options: `reconstruction` of `gan`.
      adversarial: see `gan`.

    Raises:
      UserError: for a term without a condition, a term that does not fit the rows, or no term at all beside no critic.
    """
    term = reconstruction_term(options)
    if term.distance is None:
        if adversarial == 0:
            raise UserError(
                "adversarial is 0 without a reconstruction; expected more than 0, or reconstruction.name=l1"
            )
        return term
    if not conditional or spec.condition is None:
        raise UserError(
            f"reconstruction is {term.name!r} without a condition; expected data with a condition and "
            "model.conditional=True. Set model.reconstruction.name=none"
        )
    if term.name == "cross_entropy" and not kind_of(spec).class_map:
        raise UserError(
            f"reconstruction is 'cross_entropy' and {spec.name} holds {spec.kind} data; expected class maps, for which "
            "data.classes names a list of classes, or for images l1 or l2"
        )
    if term.classes not in (None, levels(spec)):
        raise UserError(
            f"reconstruction.class_weights has {term.classes} numbers; expected {levels(spec)}, one for each class of "
            f"{spec.name}: {', '.join(map(str, spec.vocabulary))}"
        )
    return term


def check_arguments(
    spec: Spec,
    latent_size: int,
    n_critic: int,
    pack: int,
    conditional: bool,
    weight_clip: float | None,
    discriminator: Mapping | Net,
) -> None:
    """Refuses arguments that no GAN can have.

    Args:
      spec: facts of the data.
      latent_size: see `gan`.
      n_critic: see `gan`.
      pack: see `gan`.
      conditional: see `gan`.
      weight_clip: see `gan`.
      discriminator: see `gan`.

    Raises:
      UserError: with the argument, its value and the expected value.
    """
    check_kind("gan", spec, lambda kind: not kind.time or kind.columns)
    condition = conditional and spec.condition is not None
    for name, value in {"n_critic": n_critic, "latent_size": latent_size, "pack": pack}.items():
        least = 0 if name == "latent_size" and condition else 1
        if value < least:
            raise UserError(f"{name} is {value}; expected at least {least}")
    if conditional and not spec.classes and not condition:
        raise UserError(
            f"labels of {spec.name} are missing; expected labels for a conditional gan. Set model.conditional=False, "
            "or make labels of the levels of its columns by data.order=by_level"
        )
    packs = not isinstance(discriminator, Mapping) or discriminator.get("name") == "mlp"
    if condition and pack > 1:
        raise UserError(f"pack is {pack}; expected 1, because rows with a condition are judged one by one")
    if conditional and pack > 1 and not packs:
        raise UserError(
            f"pack is {pack} in a conditional gan; expected 1, or discriminator 'mlp', which reads labels together"
        )
    if weight_clip is not None and weight_clip <= 0:
        raise UserError(f"weight_clip is {weight_clip}; expected more than 0, or None")


def check_matching(matching: bool, conditional: bool, pack: int, adversarial: Schedule) -> None:
    """Refuses `matching` without conditions, with packs of rows, which share no condition, or without a discriminator.

    Args:
      matching: see `gan`.
      conditional: see `gan`.
      pack: see `gan`.
      adversarial: see `gan`.

    Raises:
      UserError: for such arguments.
    """
    if not matching:
        return
    if not conditional:
        raise UserError("matching is True without conditions; expected model.conditional=True")
    if pack > 1:
        raise UserError(f"matching is True and pack is {pack}; expected pack=1, because each row has its own condition")
    if adversarial == 0:
        raise UserError("matching is True and adversarial is 0; expected more than 0, because no critic is trained")
