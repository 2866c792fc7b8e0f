"""Output heads: the density of one frame given what a net puts out for it, and draws from it. No networks live here."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import option_numbers
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.errors import UserError, check_whole
from gen_jax.registry import build

LEAST = 1e-3  # standard deviation of a component, in model space


class Choice(NamedTuple):
    """How a frame is drawn: numbers [], or [B] for rows. Where all tokens may be drawn, the last two are None."""

    temperature: jax.Array  # logits and deviations are divided and multiplied by it; 0 takes the likeliest
    top_k: jax.Array | None = None  # tokens that may be drawn, the likeliest ones; 0: all
    top_p: jax.Array | None = None  # share of the probability that the likeliest tokens must reach (nucleus); 1: all


PLAIN = Choice(np.float32(1), np.int32(0), np.float32(1))


class Head(NamedTuple):
    """A density of frames; `own` are weights of the head itself, of the shapes in `weights`."""

    width: int  # numbers that the net puts out for a frame
    log_prob: Callable[[dict, jax.Array, jax.Array], jax.Array]  # (own, out [..., W], x [..., *frame]) -> [...] nats
    draw: Callable[[jax.Array, dict, jax.Array, Choice], jax.Array]  # (key, own, out [W], choice) -> x [*frame]
    weights: Mapping[str, tuple[int, ...]] = {}


def categorical(spec: Spec) -> Head:
    """One of the tokens."""
    values = levels(spec)

    def log_prob(own: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        chosen = jnp.take_along_axis(out, jnp.clip(x, 0, values - 1)[..., None], -1)[..., 0]
        return chosen - jax.nn.logsumexp(out, -1)

    return Head(values, log_prob, lambda key, own, out, choice: draw_token(key, out, choice))


def draw_token(key: jax.Array, logits: jax.Array, choice: Choice) -> jax.Array:
    """A token by logits [V]: by temperature, then among the `top_k`, then in the nucleus (Holtzman et al. 2020, 1904.09751).

    Logits are sorted only where `top_k` or `top_p` asks for it: that takes longer than all else.
    """
    likeliest, noise = logits.argmax(), jax.random.gumbel(key, logits.shape)
    logits = logits / jnp.where(choice.temperature > 0, choice.temperature, 1)
    if choice.top_k is None:
        drawn = (logits + noise).argmax()
    else:
        order = jnp.argsort(-logits)
        logits, rank = logits[order], jnp.arange(len(logits))
        logits = jnp.where((choice.top_k == 0) | (rank < choice.top_k), logits, -jnp.inf)
        share = jax.nn.softmax(logits)
        before = jnp.cumsum(share) - share
        nucleus = (before < choice.top_p) | (rank == 0) | (choice.top_p >= 1)  # rounded, `before` reaches 1
        drawn = order[jnp.where(nucleus, logits + noise[order], -jnp.inf).argmax()]
    return jnp.where(choice.temperature > 0, drawn, likeliest).astype(jnp.int32)


def bernoulli(spec: Spec) -> Head:
    """Independent keys: log p = sum_k x_k l_k - log(1 + exp l_k)."""
    (keys,) = spec.shape[1:]
    return Head(keys, lambda own, out, x: bits(out, x), lambda key, own, out, choice: draw_bits(key, out, choice))


def bits(logits: jax.Array, x: jax.Array) -> jax.Array:
    """log p(x) of independent bits [..., D] -> [...]."""
    return (x * logits - jax.nn.softplus(logits)).sum(-1)


def draw_bits(key: jax.Array, logits: jax.Array, choice: Choice) -> jax.Array:
    """Independent bits by their logits; at temperature 0 those that are likelier than not."""
    noise = jax.random.logistic(key, logits.shape)
    return (logits + choice.temperature * noise > 0).astype(jnp.float32)


def visible(spec: Spec) -> Head:
    """Key k given those below it, in a logistic regression: l_k + sum_{j<k} A_kj x_j (Frey 1998; fully visible belief net)."""
    (keys,) = spec.shape[1:]

    def log_prob(own: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        return bits(out + x @ jnp.tril(own["below"], -1).T, x)

    def draw(key: jax.Array, own: dict, out: jax.Array, choice: Choice) -> jax.Array:
        def move(x: jax.Array, now: tuple) -> tuple[jax.Array, None]:
            place, noise, row = now
            logit = out[place] + jnp.vdot(row, x)
            return x.at[place].set((logit + choice.temperature * noise > 0).astype(jnp.float32)), None

        order = jnp.arange(keys), jax.random.logistic(key, (keys,)), jnp.tril(own["below"], -1)
        return jax.lax.scan(move, jnp.zeros(keys), order)[0]

    return Head(keys, log_prob, draw, {"below": (keys, keys)})


def nade(spec: Spec, hidden: int = 64) -> Head:
    """Key k given those below it: l_k + V_k sigmoid(c + sum_{j<k} W_j x_j), l and c from the net.

    RNN-NADE (Boulanger-Lewandowski et al. 2012, arXiv 1206.6392, section 5; Larochelle & Murray 2011, eq. 1 and 2).
    """
    (keys,) = spec.shape[1:]
    check_whole("hidden", hidden)

    def log_prob(own: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        reach = jnp.einsum("...k,kh->...kh", x, own["from"])
        below = jnp.cumsum(reach, -2) - reach
        units = jax.nn.sigmoid(out[..., None, keys:] + below)
        return bits(out[..., :keys] + jnp.einsum("...kh,kh->...k", units, own["to"]), x)

    def draw(key: jax.Array, own: dict, out: jax.Array, choice: Choice) -> jax.Array:
        def move(sums: jax.Array, now: tuple) -> tuple[jax.Array, jax.Array]:
            logit, noise, reach, back = now
            logit = logit + jnp.vdot(back, jax.nn.sigmoid(sums))
            on = (logit + choice.temperature * noise > 0).astype(jnp.float32)
            return sums + on * reach, on

        order = out[:keys], jax.random.logistic(key, (keys,)), own["from"], own["to"]
        return jax.lax.scan(move, out[keys:], order)[1]

    return Head(keys + hidden, log_prob, draw, {"from": (keys, hidden), "to": (keys, hidden)})


def bernoulli_mixture(spec: Spec, components: int = 16) -> Head:
    """log p = log sum_m pi_m prod_k p_mk^x_k (1 - p_mk)^(1 - x_k), all from the net."""
    (keys,) = spec.shape[1:]
    check_whole("components", components)

    def parts(out: jax.Array) -> tuple[jax.Array, jax.Array]:
        return out[..., :components], out[..., components:].reshape(*out.shape[:-1], components, keys)

    def log_prob(own: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        share, logits = parts(out)
        return jax.nn.logsumexp(jax.nn.log_softmax(share) + bits(logits, x[..., None, :]), -1)

    def draw(key: jax.Array, own: dict, out: jax.Array, choice: Choice) -> jax.Array:
        which_key, bits_key = jax.random.split(key)
        share, logits = parts(out)
        return draw_bits(bits_key, logits[draw_token(which_key, share, unfiltered(choice))], choice)

    return Head(components * (1 + keys), log_prob, draw)


def gaussian_mixture(spec: Spec, components: int = 8) -> Head:
    """log p = log sum_m pi_m N(x; mu_m, diag sigma_m^2), all from the net (Graves 2013, arXiv 1308.0850, section 4)."""
    numbers = int(np.prod(spec.shape[1:]))
    check_whole("components", components)

    def parts(out: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        share, rest = out[..., :components], out[..., components:]
        mean, deviation = jnp.split(rest.reshape(*out.shape[:-1], components, 2 * numbers), 2, -1)
        return share, mean, LEAST + jax.nn.softplus(deviation)

    def log_prob(own: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        share, mean, deviation = parts(out)
        z = (x.reshape(*out.shape[:-1], 1, numbers) - mean) / deviation
        each = -0.5 * jnp.square(z) - jnp.log(deviation) - 0.5 * np.log(2 * np.pi)
        return jax.nn.logsumexp(jax.nn.log_softmax(share) + each.sum(-1), -1)

    def draw(key: jax.Array, own: dict, out: jax.Array, choice: Choice) -> jax.Array:
        which_key, noise_key = jax.random.split(key)
        share, mean, deviation = parts(out)
        which = draw_token(which_key, share, unfiltered(choice))
        noise = choice.temperature * jax.random.normal(noise_key, (numbers,))
        return (mean[which] + deviation[which] * noise).reshape(spec.shape[1:])

    return Head(components * (1 + 2 * numbers), log_prob, draw)


def unfiltered(choice: Choice) -> Choice:
    """`choice` without what is of tokens only."""
    return Choice(choice.temperature)


HEADS = {
    "categorical": categorical,
    "bernoulli": bernoulli,
    "visible": visible,
    "nade": nade,
    "bernoulli_mixture": bernoulli_mixture,
    "gaussian_mixture": gaussian_mixture,
}
FITTING = {  # what frames are -> the heads they may have, the first one where none is named
    "tokens": ("categorical",),
    "bits": ("bernoulli", "visible", "nade", "bernoulli_mixture"),
    "reals": ("gaussian_mixture",),
}


def fitting(spec: Spec, options: Mapping | None) -> Head:
    """The head that `options` name, a `name` in `HEADS` and its options, or the first one that fits the data.

    Raises:
      UserError: for an unknown name or option, or a head that does not fit the data.
    """
    if levels(spec):
        frames = "tokens"
    elif kind_of(spec).binary:
        frames = "bits"
    else:
        frames = "reals"
    options = options or {"name": FITTING[frames][0]}
    if options.get("name") in HEADS and options["name"] not in FITTING[frames]:
        raise UserError(
            f"head {options['name']!r}: {spec.name} has frames of {frames}, expected {' or '.join(FITTING[frames])}"
        )
    return build("head", HEADS, options, spec)


def choice_of(options: Mapping[str, Any], num: int, values: int) -> Choice:
    """Returns how each of `num` samples is drawn; `top_k` and `top_p` are None if they filter nothing.

    Args:
      options: `temperature`, `top_k` and `top_p`, a number for all samples or one for each [num].
      num: number of samples.
      values: number of values of a token; 0 for frames that are no tokens.

    Raises:
      UserError: for an option outside its range, or a filter of tokens for frames that are no tokens.
    """
    ranges = {"temperature": (0, np.inf), "top_k": (0, values), "top_p": (0, 1)}
    whole = {"top_k"}
    numbers = (option_numbers(name, options[name], num, *ranges[name], name in whole) for name in Choice._fields)
    choice = Choice(*(jnp.asarray(number, plain.dtype) for number, plain in zip(numbers, PLAIN)))
    filters = [name for name in ("top_k", "top_p") if (getattr(choice, name) != getattr(PLAIN, name)).any()]
    if filters and not values:
        raise UserError(f"{filters[0]} filters tokens, and this model draws none")
    return choice if filters else unfiltered(choice)
