"""Emission families of hidden Markov models: densities, expected statistics, their maximisers. No chains, no state.

Everything is time-major: T frames, B sequences, K states; `x` is [T, B] int32 tokens or [T, B, D] float32. `observed`
[T, B] says which tokens are seen, [T, B, D] which cells; what is not seen is marginalised. `shares` [T, B, K] are the
weights with which frames belong to states. A prior is written as pseudo-counts, of which 0 is none: the penalty is the
logarithm of its density up to a constant, and `maximise` is the mode. Equations: Rabiner 1989, section IV.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.distributions.linalg import FEW, NEVER, einsum, matmul, normalised, quotient
from gen_jax.errors import UserError, check_strengths, choose
from gen_jax.registry import build


class Emission(NamedTuple):
    """A family of densities as pure functions of its parameters, a pytree whose leaves lead with K."""

    start: Callable  # (key, x, observed, states) -> shares [T, B, K] that the first parameters are fitted to
    log_likelihood: Callable  # (params, x, observed) -> [T, B, K]; 0 where nothing is observed
    statistics: Callable  # (x, observed, shares) -> expected statistics, a pytree whose leaves lead with K
    blend: Callable  # (old, new, share, scale) -> statistics of (1 - share) old + share scale new
    maximise: Callable  # (statistics, params) -> params; where nothing was seen those given stay
    penalty: Callable  # (params) -> [], minus the log-density of the prior
    draw: Callable  # (key, params, z) -> x of one frame in state z []
    blank: Callable  # (states, x) -> params that nothing is known of
    whole: bool = False  # whether a frame must be observed whole or not at all


class Categorical(NamedTuple):
    log_prob: jax.Array  # [K, V] float32


class Bernoulli(NamedTuple):
    logits: jax.Array  # [K, D] float32


class Gaussian(NamedTuple):
    mean: jax.Array  # [K, D] float32
    log_variance: jax.Array  # [K, D] float32; if full [K, D, D], the logarithm of the matrix, continuous in the data


class Counts(NamedTuple):
    yes: jax.Array  # [K, D] or [K, V] float32, how often a key is down or a token occurs
    no: jax.Array | None  # [K, D] float32, how often a key is up; None for tokens


class Moments(NamedTuple):
    count: jax.Array  # [K, D] float32, frames in which a dimension is observed
    mean: jax.Array  # [K, D] float32
    scatter: jax.Array  # [K, D] or [K, D, D] float32, sum of squares about the mean


def log_normalised(counts: jax.Array, old: jax.Array) -> jax.Array:
    """Rows of `counts` as log-probabilities; a row without a count keeps those of `old`."""
    total = counts.sum(-1, keepdims=True)
    return jnp.where(total > 0, jnp.log(quotient(counts, total)), old)


def dirichlet_penalty(log_prob: jax.Array, strength: float) -> jax.Array:
    """-sum_k strength log p_k: a Dirichlet(1 + strength) prior on each row, up to its constant."""
    return -strength * log_prob.sum() if strength else jnp.zeros(())


def gathered(shares: jax.Array, cells: jax.Array) -> jax.Array:
    """sum_t,b shares_tbk cells_tbd [K, D], as one product of matrices."""
    return matmul(shares.reshape(-1, shares.shape[-1]).T, cells.reshape(-1, cells.shape[-1]))


def scatter_about(x: jax.Array, seen: jax.Array, share: jax.Array, mean: jax.Array) -> jax.Array:
    """sum_t,b share_tb (x_tb - mean) (x_tb - mean)^T [D, D] over the frames seen: no large numbers are subtracted."""
    gap = jnp.where(seen, x - mean.reshape(1, 1, -1), 0)
    return matmul((gap * share[..., None]).reshape(-1, len(mean)).T, gap.reshape(-1, len(mean)))


def blend_counts(old: Any, new: Any, share: jax.Array, scale: jax.Array) -> Any:
    """Statistics that are sums: Cappe and Moulines 2009 (0712.4273), eq. 11."""
    return jax.tree.map(lambda old, new: (1 - share) * old + share * scale * new, old, new)


def categorical(values: int, strength: float = 0.1) -> Emission:
    """Tokens of so many values; `strength` pseudo-counts of each value in each state (Dirichlet(1 + strength))."""
    check_strengths(strength=strength)

    def start(key: jax.Array, x: jax.Array, observed: jax.Array, states: int) -> jax.Array:
        table = jax.random.exponential(key, (values, states))  # a row is Dirichlet(1): states prefer other values
        return normalised(table)[x]

    def statistics(x: jax.Array, observed: jax.Array, shares: jax.Array) -> Counts:
        seen = jax.nn.one_hot(x, values) * observed[..., None]
        return Counts(gathered(shares, seen), None)

    def maximise(statistics: Counts, params: Categorical) -> Categorical:
        return Categorical(log_normalised(statistics.yes + strength, params.log_prob))

    return Emission(
        start,
        lambda params, x, observed: jnp.where(observed[..., None], params.log_prob.T[x], 0),
        statistics,
        blend_counts,
        maximise,
        lambda params: dirichlet_penalty(params.log_prob, strength),
        lambda key, params, z: jax.random.categorical(key, params.log_prob[z]).astype(jnp.int32),
        lambda states, x: Categorical(jnp.full((states, values), -math.log(values))),
    )


def bernoulli(on: float = 0.1, off: float = 0.1) -> Emission:
    """Binary vectors, independent given the state; `on` and `off` pseudo-counts of each key (Beta(1 + on, 1 + off))."""
    check_strengths(on=on, off=off)

    def log_likelihood(params: Bernoulli, x: jax.Array, observed: jax.Array) -> jax.Array:
        cells = jnp.concatenate([x * observed, (1 - x) * observed], -1)  # [T, B, 2 D]
        logs = jnp.concatenate([jax.nn.log_sigmoid(params.logits), jax.nn.log_sigmoid(-params.logits)], -1)
        values = matmul(cells, jnp.maximum(logs, NEVER).T)
        return jnp.where(values > NEVER / 2, values, -jnp.inf)

    def statistics(x: jax.Array, observed: jax.Array, shares: jax.Array) -> Counts:
        sums = gathered(shares, jnp.concatenate([x * observed, (1 - x) * observed], -1))
        return Counts(*jnp.split(sums, 2, -1))

    def maximise(statistics: Counts, params: Bernoulli) -> Bernoulli:
        yes, no = statistics.yes + on, statistics.no + off
        return Bernoulli(jnp.where(yes + no > 0, jnp.log(yes) - jnp.log(no), params.logits))

    def penalty(params: Bernoulli) -> jax.Array:
        yes = on * jax.nn.log_sigmoid(params.logits).sum() if on else 0.0
        return -jnp.asarray(yes + (off * jax.nn.log_sigmoid(-params.logits).sum() if off else 0.0), jnp.float32)

    def draw(key: jax.Array, params: Bernoulli, z: jax.Array) -> jax.Array:
        return jax.random.bernoulli(key, jax.nn.sigmoid(params.logits[z])).astype(jnp.float32)

    return Emission(
        near_seeds,
        log_likelihood,
        statistics,
        blend_counts,
        maximise,
        penalty,
        draw,
        lambda states, x: Bernoulli(jnp.zeros((states, x.shape[-1]))),
    )


def gaussian(
    covariance: str = "diagonal", floor: float = 1e-4, strength: float = 0.0, variance: float = 1.0
) -> Emission:
    """Real vectors with a `diagonal` or `full` covariance in each state.

    Args:
      floor: the smallest variance along an axis, in squared units of the model's space.
      strength, variance: the prior is worth `strength` frames of that variance, in every direction.
    """
    full = choose("covariance", covariance, COVARIANCES) == "full"
    check_strengths(strength=strength, variance=variance)
    if floor <= 0:
        raise UserError(f"floor {floor}: a variance is positive, try 1e-4")

    def log_likelihood(params: Gaussian, x: jax.Array, observed: jax.Array) -> jax.Array:
        middle = params.mean.mean(0)  # distances from here keep their digits when all is far from 0
        x, mean = jnp.where(observed, x - middle.reshape(1, 1, -1), 0), params.mean - middle[None]
        if full:
            log_variance, axes = jnp.linalg.eigh(params.log_variance)
            whiten = axes * jnp.exp(-0.5 * log_variance)[:, None]  # [K, D, D]
            y = einsum("tbd,kde->tbke", x, whiten) - einsum("kd,kde->ke", mean, whiten)[None, None]
            values = -0.5 * jnp.square(y).sum(-1) - 0.5 * (log_variance + LOG_2PI).sum(-1)[None, None]
            return jnp.where(observed.all(-1, keepdims=True), values, 0)
        precision = jnp.exp(-params.log_variance)  # [K, D]
        cells = jnp.concatenate([jnp.square(x), x, observed], -1)  # [T, B, 3 D]
        constant = -0.5 * (jnp.square(mean) * precision + params.log_variance + LOG_2PI)
        weights = jnp.concatenate([-0.5 * precision, mean * precision, constant], -1)  # [K, 3 D]
        if len(middle) > FEW:
            return matmul(cells, weights.T)
        return sum(cells[..., at, None] * weights[None, None, :, at] for at in range(weights.shape[1]))

    def statistics(x: jax.Array, observed: jax.Array, shares: jax.Array) -> Moments:
        middle = quotient(jnp.where(observed, x, 0).sum((0, 1)), observed.sum((0, 1)).astype(jnp.float32))
        seen = observed.all(-1, keepdims=True) & observed if full else observed
        x = jnp.where(seen, x - middle.reshape(1, 1, -1), 0)
        cells = [seen.astype(jnp.float32), x] + ([] if full else [jnp.square(x)])
        count, total, *squares = jnp.split(gathered(shares, jnp.concatenate(cells, -1)), len(cells), -1)
        mean = quotient(total, count)
        if full:
            scatter = jax.lax.map(lambda each: scatter_about(x, seen, *each), (jnp.moveaxis(shares, -1, 0), mean))
        else:
            scatter = jnp.maximum(squares[0] - mean * total, 0)
        return Moments(count, mean + middle[None], scatter)

    def maximise(statistics: Moments, params: Gaussian) -> Gaussian:
        count, mean, scatter = statistics
        seen = count > 0
        mean = jnp.where(seen, mean, params.mean)
        if full:
            shape, count, seen = scatter.shape, count[..., None], seen[..., None]
            spread = scatter + strength * variance * jnp.eye(shape[-1])[None]
            values, axes = jnp.linalg.eigh(quotient(spread, jnp.broadcast_to(count + strength, shape)))
            log_variance = matmul(axes * jnp.log(jnp.maximum(values, floor))[:, None], axes.mT)
        else:
            log_variance = jnp.log(jnp.maximum(quotient(scatter + strength * variance, count + strength), floor))
        return Gaussian(mean, jnp.where(seen, log_variance, params.log_variance))

    def penalty(params: Gaussian) -> jax.Array:
        """Minus the logarithm of an inverse gamma density (inverse Wishart if full), up to its constant."""
        values = jnp.linalg.eigvalsh(params.log_variance) if full else params.log_variance
        return 0.5 * strength * (values + variance * jnp.exp(-values)).sum()

    def draw(key: jax.Array, params: Gaussian, z: jax.Array) -> jax.Array:
        noise = jax.random.normal(key, params.mean.shape[1:])  # [D]
        if not full:
            return params.mean[z] + noise * jnp.exp(0.5 * params.log_variance[z])
        values, axes = jnp.linalg.eigh(params.log_variance)  # of all states: once, however many draws are vmapped
        return params.mean[z] + matmul(axes[z] * jnp.exp(0.5 * values[z])[None], noise)

    def blank(states: int, x: jax.Array) -> Gaussian:
        zeros = jnp.zeros((states, x.shape[-1]))
        return Gaussian(zeros, zeros[..., None] * zeros[:, None] if full else zeros)

    return Emission(
        near_seeds,
        log_likelihood,
        statistics,
        blend_moments,
        maximise,
        penalty,
        draw,
        blank,
        full,
    )


def blend_moments(old: Moments, new: Moments, share: jax.Array, scale: jax.Array) -> Moments:
    """As `blend_counts`, of counts, means and scatters about the means (Chan, Golub and LeVeque 1983, eq. 2.1)."""
    before, after = (1 - share) * old.count, share * scale * new.count
    count, gap = before + after, new.mean - old.mean
    between = quotient(before * after, count)
    full = old.scatter.ndim == 3
    square = gap[:, :, None] * gap[:, None] * between[..., None] if full else jnp.square(gap) * between
    mean = old.mean + gap * quotient(after, count)
    return Moments(count, mean, (1 - share) * old.scatter + share * scale * new.scatter + square)


def near_seeds(key: jax.Array, x: jax.Array, observed: jax.Array, states: int) -> jax.Array:
    """Shares exp(-d^2 / s) of K frames chosen by k-means++ (Arthur and Vassilvitskii 2007), d the distance to a frame.

    s is the mean of d^2 to the nearest of them. A frame that lacks a cell stands at that cell's mean; one that lacks
    all is never chosen.
    """
    rows = observed.any(-1).reshape(-1).astype(jnp.float32)  # [N]
    middle = quotient(jnp.where(observed, x, 0).sum((0, 1)), observed.sum((0, 1)).astype(jnp.float32))
    flat = jnp.where(observed, x - middle.reshape(1, 1, -1), 0).reshape(-1, x.shape[-1])  # [N, D]

    def choose_seed(nearest: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        weight = jnp.where((nearest * rows).max() > 0, nearest, 1) * rows  # any frame, once there are no others left
        seed = flat[jax.random.categorical(key, jnp.log(weight))]
        return jnp.minimum(nearest, jnp.square(flat - seed[None]).sum(-1)), seed

    far = jnp.full(len(flat), jnp.finfo(jnp.float32).max)
    nearest, seeds = jax.lax.scan(choose_seed, far, jax.random.split(key, states))  # [N], [K, D]
    size = jnp.vdot(nearest, rows) / jnp.maximum(rows.sum(), 1)
    squares = jnp.square(flat).sum(-1)[:, None] + jnp.square(seeds).sum(-1)[None] - 2 * matmul(flat, seeds.T)  # [N, K]
    shares = jax.nn.softmax(-squares / jnp.maximum(size, 1e-6 * squares.max() + 1e-12))
    return shares.reshape(*x.shape[:2], states)


def fitting(spec: Spec, options: Mapping | None) -> Emission:
    """The family that `options` name for the data that `spec` describes; None is the one that fits, with its defaults.

    Raises:
      UserError: for data that are no sequences, a family that does not fit them, an unknown name or option.
    """
    if not kind_of(spec).time:
        raise UserError(f"an hmm models sequences, not data of kind {spec.kind!r} ({spec.name})")
    if kind_of(spec).binary and (spec.shift, spec.scale) != (0.0, 1.0):
        raise UserError(f"an hmm of {spec.name} needs keys that are 0 or 1: set --config.data.transform=none")
    fits = "categorical" if levels(spec) else "bernoulli" if kind_of(spec).binary else "gaussian"
    options = {"name": fits} if options is None else options
    if choose("emission", options.get("name", fits), EMISSIONS) != fits:
        raise UserError(
            f"emission {options['name']!r} does not fit {spec.name} (kind {spec.kind!r}): expected {fits!r}"
        )
    return build("emission", EMISSIONS, options, *([levels(spec)] if levels(spec) else []))


LOG_2PI = math.log(2 * math.pi)
COVARIANCES = ("diagonal", "full")
EMISSIONS = {"categorical": categorical, "bernoulli": bernoulli, "gaussian": gaussian}  # (**options) -> Emission
