"""Output heads: the density of one frame given the output of a net, and draws from it. No networks live here."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import option_numbers
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.errors import UserError, check_whole
from gen_jax.registry import Choices, build

LEAST = 1e-3  # smallest standard deviation of a component, in model space


class Choice(NamedTuple):
    """Options of the draw of a frame: numbers [], or [B] for rows. Both filters are None if all tokens may be drawn.

    Attributes:
      temperature: divides logits and multiplies standard deviations. With 0 the likeliest value is taken.
      top_k: number of the likeliest tokens that may be drawn; 0 for all tokens; by default None, no filter.
      top_p: share of the probability that the likeliest tokens must reach (nucleus); 1 for all tokens; by default
        None, no filter.
    """

    temperature: jax.Array | np.ndarray
    top_k: jax.Array | np.ndarray | None = None
    top_p: jax.Array | np.ndarray | None = None


PLAIN = {"temperature": np.float32(1), "top_k": np.int32(0), "top_p": np.float32(1)}


class Head(NamedTuple):
    """Describes a density of frames given the output of a net.

    For a head of your own, pass a function (spec) -> Head as the argument `head` of a family, or register it. `weights`
    in the functions are trained with the net, and `out` is the output of the net.

    Attributes:
      width: W, number of outputs of the net for a frame.
      log_prob: function (weights, out [..., W], x [..., *frame]) -> nats [...].
      draw: function (key, weights, out [W], choice) -> x [*frame].
      weights: shapes of the weights of the head itself, by name; by default none.
    """

    width: int
    log_prob: Callable[[dict, jax.Array, jax.Array], jax.Array]
    draw: Callable[[jax.Array, dict, jax.Array, Choice], jax.Array]
    weights: Mapping[str, tuple[int, ...]] = {}


def categorical(spec: Spec) -> Head:
    """Returns a categorical distribution of tokens; the net gives their logits.

    Args:
      spec: facts of the data.
    """
    values = levels(spec)

    def log_prob(weights: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        chosen = jnp.take_along_axis(out, jnp.clip(x, 0, values - 1)[..., None], -1)[..., 0]
        return chosen - jax.nn.logsumexp(out, -1)

    def draw(key: jax.Array, weights: dict, out: jax.Array, choice: Choice) -> jax.Array:
        return draw_token(key, out, choice)

    return Head(values, log_prob, draw)


def draw_token(key: jax.Array, logits: jax.Array, choice: Choice) -> jax.Array:
    """Draws a token by its logits: the temperature applies first, then `top_k`, then the nucleus of `top_p`.

    Logits are sorted only if `top_k` or `top_p` needs it, because sorting takes longer than all other work. Nucleus:
    Holtzman et al. 2020, arXiv 1904.09751, section 3.1.

    Args:
      key: random key.
      logits: logits [V].
      choice: options of the draw.

    Returns:
      A token [] int32.
    """
    likeliest, noise = logits.argmax(), jax.random.gumbel(key, logits.shape)
    logits = logits / jnp.where(choice.temperature > 0, choice.temperature, 1)
    if choice.top_k is None or choice.top_p is None:
        token = (logits + noise).argmax()
    else:
        order = jnp.argsort(-logits)
        logits, rank = logits[order], jnp.arange(len(logits))
        logits = jnp.where((choice.top_k == 0) | (rank < choice.top_k), logits, -jnp.inf)
        share = jax.nn.softmax(logits)
        before = jnp.cumsum(share) - share
        nucleus = (before < choice.top_p) | (rank == 0) | (choice.top_p >= 1)  # because rounded sums may reach 1
        token = order[jnp.where(nucleus, logits + noise[order], -jnp.inf).argmax()]
    return jnp.where(choice.temperature > 0, token, likeliest).astype(jnp.int32)


def chord(spec: Spec, hidden: int = 128) -> Head:
    """Returns the symbols of V voices, one after the other, by a small net of the voices before it.

    The logits of voice v are l_v + U_v relu(c + sum_{u<v} W_u[x_u]). Here l and c come from the net, and U and W are
    trained with it (as `nade`, for symbols).

    Args:
      spec: facts of the data.
      hidden: number of units of the small net; by default 128.
    """
    (num,), values = spec.shape[1:], levels(spec)
    check_whole("hidden", hidden)

    def parts(out: jax.Array) -> tuple[jax.Array, jax.Array]:
        return out[..., : num * values].reshape(*out.shape[:-1], num, values), out[..., num * values :]

    def log_prob(weights: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        logits, sums = parts(out)
        indicators = jax.nn.one_hot(x, values)
        reach = jnp.einsum("...vp,vph->...vh", indicators, weights["from"])
        units = jax.nn.relu(sums[..., None, :] + jnp.cumsum(reach, -2) - reach)
        logits = logits + jnp.einsum("...vh,vph->...vp", units, weights["to"])
        return ((logits * indicators).sum(-1) - jax.nn.logsumexp(logits, -1)).sum(-1)

    def draw(key: jax.Array, weights: dict, out: jax.Array, choice: Choice) -> jax.Array:
        logits, sums = parts(out)
        symbols: list[jax.Array] = []
        for voice, voice_key in enumerate(jax.random.split(key, num)):
            symbols.append(draw_token(voice_key, logits[voice] + weights["to"][voice] @ jax.nn.relu(sums), choice))
            sums = sums + weights["from"][voice, symbols[-1]]
        return jnp.stack(symbols)

    return Head(num * values + hidden, log_prob, draw, {"from": (num, values, hidden), "to": (num, values, hidden)})


def bernoulli(spec: Spec) -> Head:
    """Returns independent bits: log p = sum_k x_k l_k - log(1 + exp l_k), with logits l from the net.

    Args:
      spec: facts of the data.
    """
    (keys,) = spec.shape[1:]

    def log_prob(weights: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        return bits(out, x)

    def draw(key: jax.Array, weights: dict, out: jax.Array, choice: Choice) -> jax.Array:
        return draw_bits(key, out, choice)

    return Head(keys, log_prob, draw)


def bits(logits: jax.Array, x: jax.Array) -> jax.Array:
    """Returns the log-probability of independent bits.

    Args:
      logits: logits of the bits [..., D].
      x: bits [..., D].

    Returns:
      Log-probabilities [...] in nats.
    """
    return (x * logits - jax.nn.softplus(logits)).sum(-1)


def draw_bits(key: jax.Array, logits: jax.Array, choice: Choice) -> jax.Array:
    """Draws independent bits; at temperature 0 a bit is 1 if its logit is positive.

    Args:
      key: random key.
      logits: logits of the bits [D].
      choice: options of the draw.

    Returns:
      Bits [D] float32.
    """
    noise = jax.random.logistic(key, logits.shape)
    return (logits + choice.temperature * noise > 0).astype(jnp.float32)


def visible(spec: Spec) -> Head:
    """Returns bits by logistic regressions on the earlier bits, with logits l_k + sum_{j<k} A_kj x_j.

    A fully visible belief net (Frey 1998): l comes from the net, and A is trained with it.

    Args:
      spec: facts of the data.
    """
    (keys,) = spec.shape[1:]

    def log_prob(weights: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        return bits(out + x @ jnp.tril(weights["below"], -1).T, x)

    def draw(key: jax.Array, weights: dict, out: jax.Array, choice: Choice) -> jax.Array:
        def move(x: jax.Array, now: tuple) -> tuple[jax.Array, None]:
            place, noise, row = now
            logit = out[place] + jnp.vdot(row, x)
            return x.at[place].set((logit + choice.temperature * noise > 0).astype(jnp.float32)), None

        order = jnp.arange(keys), jax.random.logistic(key, (keys,)), jnp.tril(weights["below"], -1)
        return jax.lax.scan(move, jnp.zeros(keys), order)[0]

    return Head(keys, log_prob, draw, {"below": (keys, keys)})


def nade(spec: Spec, hidden: int = 64) -> Head:
    """Returns bits by a small net of the earlier bits, with logits l_k + V_k sigmoid(c + sum_{j<k} W_j x_j).

    Here l and c come from the net, and V and W are trained with it. RNN-NADE: Boulanger-Lewandowski et al. 2012, arXiv
    1206.6392, section 5; Larochelle & Murray 2011, eq. 1 and 2.

    Args:
      spec: facts of the data.
      hidden: number of units of the small net; by default 64.
    """
    (keys,) = spec.shape[1:]
    check_whole("hidden", hidden)

    def log_prob(weights: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        reach = jnp.einsum("...k,kh->...kh", x, weights["from"])
        below = jnp.cumsum(reach, -2) - reach
        units = jax.nn.sigmoid(out[..., None, keys:] + below)
        return bits(out[..., :keys] + jnp.einsum("...kh,kh->...k", units, weights["to"]), x)

    def draw(key: jax.Array, weights: dict, out: jax.Array, choice: Choice) -> jax.Array:
        def move(sums: jax.Array, now: tuple) -> tuple[jax.Array, jax.Array]:
            logit, noise, reach, back = now
            logit = logit + jnp.vdot(back, jax.nn.sigmoid(sums))
            on = (logit + choice.temperature * noise > 0).astype(jnp.float32)
            return sums + on * reach, on

        order = out[:keys], jax.random.logistic(key, (keys,)), weights["from"], weights["to"]
        return jax.lax.scan(move, out[keys:], order)[1]

    return Head(keys + hidden, log_prob, draw, {"from": (keys, hidden), "to": (keys, hidden)})


def bernoulli_mixture(spec: Spec, components: int = 16) -> Head:
    """Returns a mixture of products of bits, log p = log sum_m pi_m prod_k p_mk^x_k (1 - p_mk)^(1 - x_k).

    The net gives pi and p.

    Args:
      spec: facts of the data.
      components: number of components m; by default 16.
    """
    (keys,) = spec.shape[1:]
    check_whole("components", components)

    def parts(out: jax.Array) -> tuple[jax.Array, jax.Array]:
        return out[..., :components], out[..., components:].reshape(*out.shape[:-1], components, keys)

    def log_prob(weights: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        share, logits = parts(out)
        return jax.nn.logsumexp(jax.nn.log_softmax(share) + bits(logits, x[..., None, :]), -1)

    def draw(key: jax.Array, weights: dict, out: jax.Array, choice: Choice) -> jax.Array:
        which_key, bits_key = jax.random.split(key)
        share, logits = parts(out)
        return draw_bits(bits_key, logits[draw_token(which_key, share, unfiltered(choice))], choice)

    return Head(components * (1 + keys), log_prob, draw)


def gaussian_mixture(spec: Spec, components: int = 8) -> Head:
    """Returns a mixture of diagonal Gaussians, log p = log sum_m pi_m N(x; mu_m, diag sigma_m^2).

    The net gives pi, mu and sigma. Graves 2013, arXiv 1308.0850, section 4.

    Args:
      spec: facts of the data.
      components: number of components m; by default 8.

    Raises:
      UserError: for a number of components that is not a whole number of at least 1.
    """
    numbers = int(np.prod(spec.shape[1:]))
    check_whole("components", components)

    def parts(out: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        share, rest = out[..., :components], out[..., components:]
        mean, deviation = jnp.split(rest.reshape(*out.shape[:-1], components, 2 * numbers), 2, -1)
        return share, mean, LEAST + jax.nn.softplus(deviation)

    def log_prob(weights: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        share, mean, deviation = parts(out)
        z = (x.reshape(*out.shape[:-1], 1, numbers) - mean) / deviation
        density = -0.5 * jnp.square(z) - jnp.log(deviation) - 0.5 * np.log(2 * np.pi)
        return jax.nn.logsumexp(jax.nn.log_softmax(share) + density.sum(-1), -1)

    def draw(key: jax.Array, weights: dict, out: jax.Array, choice: Choice) -> jax.Array:
        which_key, noise_key = jax.random.split(key)
        share, mean, deviation = parts(out)
        which = draw_token(which_key, share, unfiltered(choice))
        noise = choice.temperature * jax.random.normal(noise_key, (numbers,))
        return (mean[which] + deviation[which] * noise).reshape(spec.shape[1:])

    return Head(components * (1 + 2 * numbers), log_prob, draw)


def unfiltered(choice: Choice) -> Choice:
    """Returns a choice without the filters of tokens.

    Args:
      choice: options of the draw.
    """
    return Choice(choice.temperature)


HEADS: dict[str, Callable[..., Head]] = {
    "categorical": categorical,
    "chord": chord,
    "bernoulli": bernoulli,
    "visible": visible,
    "nade": nade,
    "bernoulli_mixture": bernoulli_mixture,
    "gaussian_mixture": gaussian_mixture,
}
HeadChoice = Annotated[Mapping | Head | None, Choices(HEADS, 1)]
FITTING = {  # kind of frames -> the heads that fit them, the default first
    "tokens": ("categorical",),
    "symbols": ("chord",),
    "bits": ("bernoulli", "visible", "nade", "bernoulli_mixture"),
    "reals": ("gaussian_mixture",),
}


def fitting(spec: Spec, options: Mapping | Head | None) -> Head:
    """Returns the head of a model.

    Args:
      spec: facts of the data.
      options: a `name` in `HEADS` and its options; or a head; or None for the first head that fits the data.

    Raises:
      UserError: for an unknown name or option, or a head that does not fit the data.
    """
    if levels(spec):
        frames = "tokens" if len(spec.shape) == 1 else "symbols"
    elif kind_of(spec).binary:
        frames = "bits"
    else:
        frames = "reals"
    options = options or {"name": FITTING[frames][0]}
    if isinstance(options, Mapping) and options.get("name") in HEADS and options["name"] not in FITTING[frames]:
        raise UserError(
            f"head is {options['name']!r} and {spec.name} has frames of {frames}; expected "
            f"{' or '.join(FITTING[frames])}"
        )
    return build("head", HEADS, options, spec)


def choice_of(options: Mapping[str, Any], num: int, values: int) -> Choice:
    """Returns the options by which samples are drawn; `top_k` and `top_p` are None if they filter nothing.

    Args:
      options: `temperature`, `top_k` and `top_p`, each one number for all samples or an array [num].
      num: number of samples.
      values: number of values of a token; 0 for frames that are no tokens.

    Raises:
      UserError: for an option outside its range, or a filter of tokens for frames that are no tokens.
    """
    ranges = {"temperature": (0, np.inf), "top_k": (0, values), "top_p": (0, 1)}
    whole = {"top_k"}
    numbers = {}
    for name, plain in PLAIN.items():
        number = option_numbers(name, options[name], num, *ranges[name], name in whole)
        numbers[name] = np.asarray(number, plain.dtype)
    choice = Choice(**numbers)
    filters = [name for name in ("top_k", "top_p") if (numbers[name] != PLAIN[name]).any()]
    if filters and not values:
        raise UserError(f"{filters[0]} filters tokens, and this model draws none; expected a model of tokens")
    return choice if filters else unfiltered(choice)
