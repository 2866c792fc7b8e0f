"""Densities of images, vectors and tables given the output of a net. No networks live here.

The log-probabilities of whole numbers (8-bit pixels, bits) are probabilities of the numbers: they sum to one over all
values. Real numbers have a density in model space.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.spec import Spec
from gen_jax.distributions import columns as form
from gen_jax.distributions.linalg import matmul
from gen_jax.distributions.multivariate_normal import gaussian_log_prob
from gen_jax.errors import UserError, check_whole
from gen_jax.registry import Choices, build

LARGEST = 7.0  # largest magnitude of the logs of a and b of a beta-binomial
SHARP = 0.1  # smallest scale of a number, in units of four standard deviations of its mode
SHARPEST = -7.0  # smallest log scale of a logistic, for values in [-1, 1] (Salimans et al. 2017, arXiv 1701.05517)


class Likelihood(NamedTuple):
    """Describes a density p(x | out) of x [N, *shape] in model space.

    For a likelihood of your own, pass a record, or a function (spec) -> Likelihood. The functions below take `params`, the
    weights of the likelihood itself, and `out` [N, *shape, W], the output of the net:

        def log_prob(params, out, x):
            return jax.scipy.stats.laplace.logpdf(x, out[..., 0])

        likelihood = Likelihood(1, log_prob, lambda params, out: out[..., 0], draw)

    Unless `shape` is set, `log_prob` is called on rows of numbers: out [N, D, W] and x [N, D].

    Attributes:
      width: W, number of outputs of the net for each number of x.
      log_prob: function (params, out, x) -> nats of each number of x, in the shape of x. Not a mean or a sum.
      mean: function (params, out) -> mean of x.
      draw: function (key, params, out) -> draw of x.
      weights: shapes of `params` by name; the weights start at 0; by default none.
      smooth: function (key, x) -> the x that is scored in training, such as x with noise; by default x itself.
      read: function x -> the input of an encoder; by default x itself.
      shape: shape of the output of the net for a row; by default (*shape of a row, W).
      name: name in `LIKELIHOODS`, by which a compressor finds its tables; by default empty.
    """

    width: int
    log_prob: Callable[[dict, jax.Array, jax.Array], jax.Array]
    mean: Callable[[dict, jax.Array], jax.Array]
    draw: Callable[[jax.Array, dict, jax.Array], jax.Array]
    weights: Mapping[str, tuple[int, ...]] = {}
    smooth: Callable[[jax.Array, jax.Array], jax.Array] = lambda key, x: x
    read: Callable[[jax.Array], jax.Array] = lambda x: x
    shape: tuple[int, ...] = ()
    name: str = ""


def initial_weights(likelihood: Likelihood) -> dict[str, jax.Array]:
    """Returns the weights of the likelihood itself before the first step, which are 0.

    Args:
      likelihood: the likelihood.
    """
    return {name: jnp.zeros(shape) for name, shape in likelihood.weights.items()}


class Whole(NamedTuple):
    """Conversion of data that are whole numbers 0..top, from and to model space."""

    top: int
    of: Callable[[jax.Array], jax.Array]  # x -> whole numbers, as floats
    back: Callable[[jax.Array], jax.Array]


def whole(spec: Spec) -> Whole | None:
    """Returns the conversion of data that are whole numbers of one known range, or None for other data.

    Args:
      spec: facts of the data.
    """
    numbers = [np.asarray(fact) for fact in (spec.low, spec.high, spec.shift, spec.scale)]
    if np.dtype(spec.dtype).kind not in "iu" or any(number.ndim for number in numbers):
        return None
    low, high, shift, scale = (float(number) for number in numbers)
    return Whole(
        int(high - low), lambda x: jnp.rint(x * scale + (shift - low)), lambda value: (value + (low - shift)) / scale
    )


def whole_numbers(spec: Spec) -> Whole:
    """Returns the conversion of data that are whole numbers of one known range.

    Args:
      spec: facts of the data.

    Raises:
      UserError: for other data.
    """
    values = whole(spec)
    if values is None:
        raise UserError(f"{spec.name} holds real numbers; expected whole numbers of one range")
    return values


def bernoulli(spec: Spec) -> Likelihood:
    """Returns independent bits with logits l: log p = x l - log(1 + exp l), which is finite for any finite l.

    Args:
      spec: facts of the data.
    """
    values = whole_numbers(spec)

    def log_prob(params: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        return values.of(x) * out[..., 0] - jax.nn.softplus(out[..., 0])

    def draw(key: jax.Array, params: dict, out: jax.Array) -> jax.Array:
        return values.back((out[..., 0] + jax.random.logistic(key, out.shape[:-1]) > 0).astype(jnp.float32))

    return Likelihood(1, log_prob, lambda params, out: values.back(jax.nn.sigmoid(out[..., 0])), draw, name="bernoulli")


def categorical(spec: Spec) -> Likelihood:
    """Returns a categorical distribution of each number; the net gives one logit for each value.

    Args:
      spec: facts of the data.
    """
    values = whole_numbers(spec)

    def log_prob(params: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        chosen = jnp.take_along_axis(out, values.of(x).astype(jnp.int32)[..., None], -1)[..., 0]
        return chosen - jax.nn.logsumexp(out, -1)

    def mean(params: dict, out: jax.Array) -> jax.Array:
        return values.back(jax.nn.softmax(out) @ jnp.arange(values.top + 1, dtype=jnp.float32))

    def draw(key: jax.Array, params: dict, out: jax.Array) -> jax.Array:
        return values.back(jax.random.categorical(key, out).astype(jnp.float32))

    return Likelihood(values.top + 1, log_prob, mean, draw, name="categorical")


def log_beta_binomial(heads: jax.Array, top: int, a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns log p(heads) - log C(top, heads) = log B(heads + a, top - heads + b) - log B(a, b).

    Gamma functions are computed by Stirling's series from 8 on. In float32, differences of `gammaln` lose their digits
    if a and b are large. Here large terms that cancel are never computed. The sum of p over all heads of 255 tosses is
    1 to 2e-4 in float32.

    Args:
      heads: number of heads [...].
      top: number of tosses.
      a: first parameter of the beta distribution [...], above 0.
      b: second parameter of the beta distribution [...], above 0.
    """
    tails = top - heads

    def products(low: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the two factors of Gamma(low + 8) / Gamma(low), which is too large for 16 bits."""
        return (low * (low + 7)) * ((low + 1) * (low + 6)), ((low + 2) * (low + 5)) * ((low + 3) * (low + 4))

    def series(z: jax.Array) -> jax.Array:
        return (1 / 12 - (1 / 360 - 1 / 1260 / jnp.square(z)) / jnp.square(z)) / z

    def rising(low: jax.Array, by: jax.Array | int) -> jax.Array:
        """Returns log Gamma(low + by) / Gamma(low) - by (log(low + 8) - 1)."""
        start = low + 8
        far = (start + by - 0.5) * jnp.log1p(by / start) + series(start + by) - series(start)
        return far - sum(jnp.log(high / low) for high, low in zip(products(low + by), products(low)))

    share = heads * jnp.log((a + 8) / (a + b + 8)) + tails * jnp.log((b + 8) / (a + b + 8))
    return share + (rising(a, heads) + rising(b, tails) - rising(a + b, top))


def beta_binomial(spec: Spec) -> Likelihood:
    """Returns the number of heads in `top` tosses of a coin drawn from Beta(a, b); the net gives log a and log b.

    Args:
      spec: facts of the data.
    """
    values = whole_numbers(spec)
    factorial = np.append(0, np.cumsum(np.log(np.arange(1, values.top + 1))))  # logs of the factorials
    ways = (factorial[-1] - factorial - factorial[::-1]).astype(np.float32)

    def numbers(out: jax.Array) -> tuple[jax.Array, jax.Array]:
        a, b = (jnp.exp(jnp.clip(out[..., place], -LARGEST, LARGEST)) for place in (0, 1))
        return a, b

    def log_prob(params: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        (a, b), heads = numbers(out), values.of(x)
        return jnp.asarray(ways)[heads.astype(jnp.int32)] + log_beta_binomial(heads, values.top, a, b)

    def mean(params: dict, out: jax.Array) -> jax.Array:
        a, b = numbers(out)
        return values.back(values.top * a / (a + b))

    def draw(key: jax.Array, params: dict, out: jax.Array) -> jax.Array:
        coin_key, toss_key = jax.random.split(key)
        coin = jax.random.beta(coin_key, *numbers(out))
        return values.back(jax.random.binomial(toss_key, values.top, jnp.clip(coin, 0, 1)).astype(jnp.float32))

    return Likelihood(2, log_prob, mean, draw, name="beta_binomial")


def logistic_mixture(spec: Spec, components: int = 5) -> Likelihood:
    """Returns a mixture of logistics, in which a value has the mass of its bin; the outermost bins reach to infinity.

    Salimans et al. 2017 (arXiv 1701.05517), section 2.1, for every channel separately. With t = (edge - mean) / scale,
    sigma(t+) - sigma(t-) = sigma(t+) sigma(-t-) (1 - exp(t- - t+)). This form is exact, and finite at any distance from
    the mean.

    Args:
      spec: facts of the data.
      components: number of logistics; by default 5.
    """
    values = whole_numbers(spec)
    check_whole("components", components)
    half = 1 / values.top  # half the width of a bin, for values in [-1, 1]

    def parts(out: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        share, mean, log_scale = jnp.split(out, 3, -1)
        return jax.nn.log_softmax(share), mean, jnp.clip(log_scale, SHARPEST, -SHARPEST)

    def log_prob(params: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        share, mean, log_scale = parts(out)
        place = values.of(x)[..., None]
        centred = 2 * half * place - 1 - mean
        above = jax.nn.log_sigmoid((centred + half) * jnp.exp(-log_scale))
        below = jax.nn.log_sigmoid((half - centred) * jnp.exp(-log_scale))
        between = jnp.log(-jnp.expm1(-2 * half * jnp.exp(-log_scale)))
        first, last = place == 0, place == values.top
        each = jnp.where(last, 0, above) + jnp.where(first, 0, below) + jnp.where(first | last, 0, between)
        return jax.nn.logsumexp(share + each, -1)

    def mean(params: dict, out: jax.Array) -> jax.Array:
        """Returns the mean of the components clipped to [-1, 1].

        It is the sum of shares times the integral of P(above t) from -1 to 1.
        """
        share, mean, log_scale = parts(out)
        scale = jnp.exp(log_scale)
        above = scale * (jax.nn.softplus((mean + 1) / scale) - jax.nn.softplus((mean - 1) / scale))
        return values.back(jnp.sum(jnp.exp(share) * above, -1) / (2 * half))

    def draw(key: jax.Array, params: dict, out: jax.Array) -> jax.Array:
        which_key, noise_key = jax.random.split(key)
        share, mean, log_scale = parts(out)
        which = jax.random.categorical(which_key, share)[..., None]
        mean, log_scale = (jnp.take_along_axis(each, which, -1)[..., 0] for each in (mean, log_scale))
        drawn = mean + jnp.exp(log_scale) * jax.random.logistic(noise_key, mean.shape)
        return values.back(jnp.clip(jnp.rint((drawn + 1) / (2 * half)), 0, values.top))

    return Likelihood(3 * components, log_prob, mean, draw, name="logistic_mixture")


def gaussian(spec: Spec) -> Likelihood:
    """Returns the Gaussian N(out, s^2) with one trained scale s.

    Whole numbers are first spread over their bins by noise u (Theis et al. 2016, arXiv 1511.01844). Then log p(x) >=
    E_u log p(x + u), including the volume of the bin: a lower bound in nats of the whole numbers.

    Args:
      spec: facts of the data.
    """
    values = whole(spec)
    bin_size = 1 / float(np.asarray(spec.scale)) if values else 1.0

    def smooth(key: jax.Array, x: jax.Array) -> jax.Array:
        return x + bin_size * jax.random.uniform(key, x.shape, minval=-0.5, maxval=0.5) if values else x

    def log_prob(params: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        return gaussian_log_prob(x, out[..., 0], params["log_scale"]) + np.log(bin_size)

    def draw(key: jax.Array, params: dict, out: jax.Array) -> jax.Array:
        return out[..., 0] + jnp.exp(params["log_scale"]) * jax.random.normal(key, out.shape[:-1])

    weights = {"log_scale": ()}
    return Likelihood(1, log_prob, lambda params, out: out[..., 0], draw, weights, smooth, name="gaussian")


def mixed(spec: Spec, temperature: float = 1.0) -> Likelihood:
    """Returns the density of the numbers and levels of a table; missing cells (NaN) count 0.

    The net puts out a flat vector of `distributions.columns`. A level has the probability of its logit. A number x has
    a mode k, and given the mode the density N(x; mean + 4 deviation tanh(a), (4 deviation s)^2). The scale s is trained
    for each column and stays above 0.1. Source: Xu et al. 2019 (TVAE, arXiv 1907.00503, section 4.4), who draw the mode
    of x by its responsibilities r.

    Here every mode counts: the objective is sum_k r_k (log p(x, k) - log r_k), a lower bound of log sum_k p(x, k).
    Optimising log sum_k p(x, k) directly, without given modes, ends in worse maxima.

    Args:
      spec: facts of the data.
      temperature: divisor of the logits of levels and modes in a draw given the latent; by default 1. At 0 a draw takes
        the likeliest level and mode, but a number is still drawn around its mode. Below 1, columns that the latent
        determines agree more often, and rare levels are rarer than in the model. Cells completed given other cells then
        no longer follow the posterior of the model.

    Raises:
      UserError: for a temperature below 0.
    """
    if not temperature >= 0:
        raise UserError(f"temperature is {temperature}; expected at least 0, which takes the likeliest")
    layout = form.layout_of(spec)
    real = np.isin(np.arange(len(layout.groups.sizes)), layout.numbers)
    spread = layout.member[:, layout.numbers].T  # [G, L]
    column = layout.groups.column

    def parts(params: dict, out: jax.Array) -> tuple[jax.Array, ...]:
        distance, logits = form.split(layout, out)
        return jnp.tanh(distance), jnp.where(layout.possible[None], logits, form.NEVER), scale(params)

    def scale(params: dict) -> jax.Array:
        log_scale = params.get("log_scale", jnp.zeros(0))
        return jnp.logaddexp(log_scale, np.float32(np.log(SHARP)))  # [G]; a hard bound would stop training

    def log_prob(params: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        distance, logits, log_scale = parts(params, out)
        observed, x = ~jnp.isnan(x), jnp.nan_to_num(x)
        centre = layout.mean[None] + layout.width[None] * matmul(distance, spread)  # [N, L]
        of_number = gaussian_log_prob(
            x[:, column], centre, matmul(log_scale, spread)[None] + np.log(layout.width)[None]
        )
        log_r = form.normalised(layout, form.log_responsibilities(layout, x))
        each = form.normalised(layout, logits) + jnp.where(layout.levelled[None], 0, of_number) - log_r
        return jnp.where(observed, matmul(jnp.exp(log_r) * each, layout.member), 0)

    def mean(params: dict, out: jax.Array) -> jax.Array:
        """Returns the means of numbers and the likeliest levels."""
        distance, logits, _ = parts(params, out)
        centre = layout.mean[None] + layout.width[None] * matmul(distance, spread)
        middle = matmul(jnp.exp(form.normalised(layout, logits)) * centre, layout.member)
        return jnp.where(real[None], middle, form.likeliest(layout, logits))

    def draw(key: jax.Array, params: dict, out: jax.Array) -> jax.Array:
        noise_key, key = jax.random.split(key)
        distance, logits, log_scale = parts(params, out)
        distance = distance + jnp.exp(log_scale)[None] * jax.random.normal(noise_key, distance.shape)
        return form.draw_rows(layout, key if temperature > 0 else None, logits / (temperature or 1), distance)

    count = len(layout.numbers)
    weights = {"log_scale": (count,)} if count else {}  # because an array without elements cannot be saved
    shape = form.representation(spec).shape
    return Likelihood(
        1, log_prob, mean, draw, weights, read=lambda x: form.read(layout, None, x), shape=shape, name="mixed"
    )


LIKELIHOODS: dict[str, Callable[..., Likelihood]] = {
    "mixed": mixed,
    "bernoulli": bernoulli,
    "categorical": categorical,
    "beta_binomial": beta_binomial,
    "logistic_mixture": logistic_mixture,
    "gaussian": gaussian,
}
LikelihoodChoice = Annotated[Mapping | Likelihood | None, Choices(LIKELIHOODS, 1)]
FITTING = {  # data -> likelihoods that fit them, the default first
    "bits": ("bernoulli",),
    "whole numbers": ("beta_binomial", "logistic_mixture", "categorical", "gaussian"),
    "real numbers": ("gaussian",),
    "columns": ("mixed",),
}


def fitting(spec: Spec, options: Mapping | Likelihood | None) -> Likelihood:
    """Returns the likelihood of a model.

    Args:
      spec: facts of the data.
      options: a `name` in `LIKELIHOODS` and its options; or a likelihood; or None for the first likelihood that fits
        the data.

    Raises:
      UserError: for an unknown name or option, or a likelihood that does not fit the data.
    """
    values = whole(spec)
    kind = "real numbers" if values is None else "bits" if values.top == 1 else "whole numbers"
    kind = "columns" if spec.tabular else kind
    options = options or {"name": FITTING[kind][0]}
    if isinstance(options, Mapping) and options.get("name") in LIKELIHOODS and options["name"] not in FITTING[kind]:
        hint = (
            ". Set --config.data.transform=dynamic_binary to make images bits" if options["name"] == "bernoulli" else ""
        )
        raise UserError(
            f"likelihood is {options['name']!r} and {spec.name} has {kind}; expected {' or '.join(FITTING[kind])}{hint}"
        )
    likelihood = build("likelihood", LIKELIHOODS, options, spec)
    if not isinstance(likelihood, Likelihood):
        raise UserError(
            f"likelihood is an object of type {type(likelihood).__name__}; expected a gen_jax.distributions.pixels.Likelihood"
        )
    if likelihood.shape:
        return likelihood

    def log_prob(params: dict, out: jax.Array, x: jax.Array) -> jax.Array:
        """Returns the log-probabilities of images, computed on rows of numbers.

        Because XLA:CPU vectorises the last axis, a grey image with its single channel would take 30 times as long.
        """
        rows = out.reshape(len(x), -1, likelihood.width), x.reshape(len(x), -1)
        nats = likelihood.log_prob(params, *rows)
        if jnp.shape(nats) != rows[1].shape:
            raise UserError(
                f"likelihood.log_prob gives values of shape {[*jnp.shape(nats)]}; expected {[*rows[1].shape]}, nats of "
                f"each number of x. Leave out a mean or a sum"
            )
        return nats.reshape(x.shape)

    return likelihood._replace(log_prob=log_prob, shape=(*spec.shape, likelihood.width))
