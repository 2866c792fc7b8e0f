"""The two nets of a ladder: bottom-up features, and the top-down path that the prior and the posterior share.

Soenderby et al. 2016 (arXiv 1602.02282), in the residual form of Kingma et al. 2016 (arXiv 1606.04934, section 5.2).
Latents are rows of an MLP or maps of a convolutional net. The two differ only in their `Kit`.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.conditions import NONE, Conditions, Given
from gen_jax.errors import UserError, check_whole
from gen_jax.nets.conv import HE, Block
from gen_jax.nets.embedding import Embedder, as_vector, with_image, with_vector
from gen_jax.nets.layers import UpConv, stage_channels, stage_sides

BOUND = 5.0  # smooth bound on the magnitude of a log scale (Vahdat & Kautz 2020, arXiv 2007.03898, appendix)


class Residual(nn.Module):
    """A residual block x + f(x) for rows [N, W]: two dense layers, each after SiLU."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns rows [N, W] from rows x of the same shape."""
        h = nn.Dense(x.shape[-1], kernel_init=HE)(nn.silu(x))
        return x + nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros)(nn.silu(h))


class Kit(NamedTuple):
    """The layers of a ladder. `block()` keeps the shape of its input; other layers take the width of their output."""

    block: Callable
    enter: Callable  # the first layer, which reads data
    fine_to_coarse: Callable
    coarse_to_fine: Callable
    leave: Callable  # the last layer, which puts out the parameters of the likelihood


dense = partial(nn.Dense, kernel_init=HE)
ROWS = Kit(Residual, dense, dense, dense, nn.Dense)
MAPS = Kit(
    Block,
    partial(nn.Conv, kernel_size=(3, 3), kernel_init=HE),
    partial(nn.Conv, kernel_size=(4, 4), strides=2, kernel_init=HE),
    partial(UpConv, kernel=4, initializer=HE),
    partial(nn.Conv, kernel_size=(3, 3)),
)


class Stage(NamedTuple):
    """Layers of one resolution."""

    sides: tuple[int, ...]  # (H, W) for maps, () for rows
    width: int  # width of the state
    latents: tuple[int, ...]  # number of channels of each layer's latent, top first; empty if the stage is only a block


class Nets(NamedTuple):
    """Holds the nets of a ladder of `len(sizes)` layers, whose latents are concatenated to [N, sum(sizes)], top first.

    Attributes:
      up: net (x [N, ...], y [N] or None) -> list of the features of each layer, top first. `down` reads them; their
        shapes are free.
      down: net (z [N, sum(sizes)], features or None, y, fixed) -> out [N, *shape], and z, mean and log scale [N,
        sum(sizes)] of q. For `features` and `fixed`, see `Down`.
      sizes: size of each layer's latent, top first.
    """

    up: nn.Module
    down: nn.Module
    sizes: tuple[int, ...]


class Up(nn.Module):
    """The bottom-up net from data [N, ...] to the features of each layer, top layer first.

    Attributes:
      stages: the stages, lowest resolution first.
      kit: the layers.
    """

    stages: Sequence[Stage]
    kit: Kit
    conditions: Conditions = NONE

    @nn.compact
    def __call__(self, x: jax.Array, c: Given | None = None) -> list[jax.Array]:
        """Returns the features of each layer, top first, of data x [N, ...] and their conditions."""
        sides, features = self.stages[-1].sides, []
        x = x.reshape(len(x), *sides, -1)
        embedded = Embedder(self.conditions, name="condition")(c)
        x = with_image(x, embedded) if len(sides) == 2 else with_vector(x, embedded)
        h = self.kit.enter(self.stages[-1].width)(x)
        for number, stage in enumerate(self.stages[::-1]):
            h = self.kit.fine_to_coarse(stage.width)(nn.silu(h)) if number else h
            for _ in stage.latents or (0,):
                h = self.kit.block()(h)
                features += [h] * bool(stage.latents)
        return features[::-1]


class Layer(nn.Module):
    """One latent, z = mean_p + scale_p eps, and the state after it. Under the prior p, `eps` ~ N(0, 1).

    The posterior is given relative to p: q(eps) = N(mean, scale^2). Thus q(z) = N(mean_p + scale_p mean, (scale_p
    scale)^2). Both heads are initialised with zeros, so that q is p at first.

    Attributes:
      channels: number of channels of the latent.
      kit: the layers.
    """

    channels: int
    kit: Kit

    @nn.compact
    def __call__(self, h: jax.Array, eps: jax.Array, feature: jax.Array | None, fixed: bool) -> tuple:
        """Draws the latent of the layer.

        Args:
          h: state before the layer [N, ...].
          eps: noise [N, ..., channels], or the latent itself if `fixed`.
          feature: features of the layer; None draws from the prior.
          fixed: whether `eps` is a latent whose q is computed.

        Returns:
          The new state, eps, and mean and log scale of q(eps).
        """

        def head(name: str, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            out = nn.Dense(2 * self.channels, kernel_init=nn.initializers.zeros, name=name)(nn.silu(x))
            mean, log_scale = jnp.split(out, 2, -1)
            return mean, BOUND * jnp.tanh(log_scale / BOUND)

        prior, q = head("prior", h), (jnp.zeros_like(eps), jnp.zeros_like(eps))
        if feature is not None:
            seen = nn.Dense(h.shape[-1], kernel_init=HE, name="seen")(nn.silu(jnp.concatenate([h, feature], -1)))
            q = head("posterior", self.kit.block(name="inference")(seen))
            eps = eps if fixed else q[0] + jnp.exp(q[1]) * eps
        z = prior[0] + jnp.exp(prior[1]) * eps
        h = self.kit.block(name="generation")(h + nn.Dense(h.shape[-1], name="latent")(z))
        return h, eps, *q


class Down(nn.Module):
    """The top-down net, `z [N, Z] -> out [N, *shape]`, and z, mean and log scale of q(z | x), [N, Z] each.

    The q of a layer is given the z of the layers above it. Without features, z is decoded. With features, z is noise,
    and becomes mean + scale noise. With features and `fixed`, z is a latent, and only q at this latent is computed.

    Attributes:
      shape: shape of one row of the output.
      stages: the stages, lowest resolution first.
      kit: the layers.
    """

    shape: Sequence[int]
    stages: Sequence[Stage]
    kit: Kit
    conditions: Conditions = NONE

    @nn.compact
    def __call__(
        self,
        z: jax.Array,
        features: Sequence[jax.Array] | None = None,
        c: Given | None = None,
        fixed: bool = False,
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Decodes latents, or draws them from noise.

        Args:
          z: noise or latents [N, Z].
          features: features of each layer from `Up`, top first; None decodes z.
          c: the conditions; None without conditions.
          fixed: whether z is a latent whose q is computed; by default False.

        Returns:
          out [N, *shape]; z, mean and log scale of q(z | x), [N, Z] each.
        """
        top, num = self.stages[0], len(z)
        posteriors: list[list[jax.Array]] = []
        vector = as_vector(Embedder(self.conditions, name="condition")(c))
        start = jnp.zeros((num, 1)) if vector is None else vector
        h = nn.Dense(math.prod(top.sides) * top.width, name="start")(start).reshape(num, *top.sides, top.width)
        for number, stage in enumerate(self.stages):
            h = self.kit.coarse_to_fine(stage.width, name=f"widen_{number}")(nn.silu(h)) if number else h
            for channels in stage.latents:
                size = math.prod(stage.sides) * channels
                eps, z = z[:, :size].reshape(num, *stage.sides, channels), z[:, size:]
                feature = features[len(posteriors)] if features else None
                h, *q = Layer(channels, self.kit, name=f"layer_{len(posteriors) + 1}")(h, eps, feature, fixed)
                posteriors.append([each.reshape(num, -1) for each in q])
            h = h if stage.latents else self.kit.block(name=f"block_{number}")(h)
        out = self.kit.leave(math.prod(self.shape) // math.prod(self.stages[-1].sides), name="leave")(nn.silu(h))
        return out.reshape(num, *self.shape), *(jnp.concatenate(each, -1) for each in zip(*posteriors))


def _nets(shape: Sequence[int], conditions: Conditions, stages: Sequence[Stage], kit: Kit) -> Nets:
    sizes = tuple(math.prod(stage.sides) * channels for stage in stages for channels in stage.latents)
    return Nets(Up(tuple(stages), kit, conditions), Down(tuple(shape), tuple(stages), kit, conditions), sizes)


def mlp_ladder(
    shape: Sequence[int],
    conditions: Conditions = NONE,
    latents: Sequence[int] = (8, 16, 32),
    hidden: Sequence[int] = (128, 256),
) -> Nets:
    """Returns a ladder of dense layers, for data of any shape.

    Args:
      shape: shape of one row of the output.
      conditions: facts of the conditions that both nets read; by default none.
      latents: size of each layer's latent, top first.
      hidden: width of each layer, top first; the last width repeats.

    Raises:
      UserError: for no latents, or sizes below 1.
    """
    if not latents:
        raise UserError("latents of a ladder are missing; expected the size of each layer, top first")
    for size in latents:
        check_whole("latents", size)
    widths = stage_channels(hidden, len(latents))
    return _nets(shape, conditions, [Stage((), width, (size,)) for width, size in zip(widths, latents)], ROWS)


def conv_ladder(
    shape: Sequence[int],
    conditions: Conditions = NONE,
    channels: Sequence[int] = (64, 32),
    layers: Sequence[int] = (2, 1),
    latent_channels: int = 4,
    base: int | None = None,
) -> Nets:
    """Returns a ladder of residual convolutional stages for images. A latent is a map of its stage's resolution.

    Args:
      shape: H, W, C, and the number of outputs of each pixel.
      conditions: facts of the conditions that both nets read; by default none.
      channels: width of each stage, lowest resolution first; the last width repeats.
      layers: number of latents of each stage, lowest resolution first; further stages have none.
      latent_channels: number of channels of each latent; by default 4.
      base: side of the lowest resolution; by default None, the side halved down to 4..7.

    Raises:
      UserError: for images that cannot be halved, or layers that do not fit the stages.
    """
    check_whole("latent_channels", latent_channels)
    sides = stage_sides(shape[:3] if len(shape) == 4 else shape, base, "a conv ladder")
    for each in layers:
        check_whole("layers", each, 0)
    if not any(layers) or len(layers) > len(sides):
        raise UserError(f"layers is {tuple(layers)}; expected some, in at most the {len(sides)} stages of these images")
    counts = [*layers, *[0] * (len(sides) - len(layers))]
    widths = stage_channels(channels, len(sides))
    stages = [Stage(side, width, (latent_channels,) * num) for side, width, num in zip(sides, widths, counts)]
    return _nets(shape, conditions, stages, MAPS)
