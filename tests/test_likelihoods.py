"""The densities of what nets put out, against SciPy and enumeration."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec, whole_spec, within
from scipy import special, stats

from gen_jax.data.spec import to_model
from gen_jax.distributions import pixels
from gen_jax.errors import UserError

KEY = jax.random.key(0)

CASES = {
    "bernoulli": ("bernoulli", 0, 1, "none"),
    "bernoulli_signed": ("bernoulli", 3, 4, "signed"),
    "categorical": ("categorical", -8, 7, "unit"),
    "beta_binomial_16": ("beta_binomial", -8, 7, "rms"),
    "beta_binomial": ("beta_binomial", 0, 255, "signed"),
    "logistic_mixture_16": ("logistic_mixture", -8, 7, "unit"),
    "logistic_mixture": ("logistic_mixture", 0, 255, "signed"),
}
SUMS = {"beta_binomial": 3e-4, "beta_binomial_16": 2e-5}
every_case = pytest.mark.parametrize("case", CASES)


@lru_cache
def likelihood_of(case):
    name, *facts = CASES[case]
    spec = whole_spec((1,), *facts)
    values = to_model(spec, np.arange(spec.low, spec.high + 1, dtype=np.int16))
    likelihood = pixels.fitting(spec, {"name": name})
    table = jax.jit(  # [R, values] of out [R, W]
        lambda out: jax.vmap(lambda x: likelihood.log_prob({}, out, jnp.full(len(out), x)), out_axes=1)(values)
    )
    return spec, likelihood, values, table


def outs(width, num=30):
    """What nets may put out: small, large and absurd."""
    rng = np.random.default_rng(width)
    scale = np.repeat([0.3, 1, 3, 10, 1e3, 1e4], num // 6)[:, None]
    return np.float32(rng.normal(size=(num, width)) * scale)


def exact_table(case, out):
    """log p [R, values] in float64."""
    name, low, high, _ = CASES[case]
    top, out = high - low, np.float64(out)[:, None]
    value = np.arange(top + 1)[None]
    if name == "bernoulli":
        return stats.bernoulli.logpmf(value, special.expit(out[..., 0]))
    if name == "categorical":
        return special.log_softmax(out[:, 0], -1)
    if name == "beta_binomial":
        a, b = np.exp(np.clip(out, -pixels.LARGEST, pixels.LARGEST))[..., 0], None
        a, b = np.exp(np.clip(np.moveaxis(out, -1, 0), -pixels.LARGEST, pixels.LARGEST))
        return stats.betabinom.logpmf(value, top, a, b)
    share, mean, log_scale = np.split(out[:, 0, :, None], 3, 1)  # [R, K, 1]
    edges = (2 * np.arange(1, top + 1) - 1) / top - 1
    scale = np.exp(np.clip(log_scale, pixels.SHARPEST, -pixels.SHARPEST))
    t = (edges[None, None] - mean) / scale
    ends = np.zeros((*t.shape[:2], 1)), np.ones((*t.shape[:2], 1))
    below = np.diff(np.concatenate([ends[0], special.expit(t), ends[1]], -1), axis=-1)
    above = -np.diff(np.concatenate([ends[1], special.expit(-t), ends[0]], -1), axis=-1)
    each = np.where(np.pad(t, ((0, 0), (0, 0), (0, 1)), mode="edge") > 0, above, below)  # that which keeps its digits
    with np.errstate(divide="ignore"):
        return np.log((special.softmax(share, 1) * each).sum(1))


@every_case
def test_probabilities_sum_to_one_and_are_those_of_scipy(case):
    _, likelihood, _, table = likelihood_of(case)
    out = outs(likelihood.width)
    log_prob = np.asarray(table(out), np.float64)
    assert np.isfinite(log_prob).all()
    np.testing.assert_allclose(np.exp(log_prob).sum(1), 1, atol=SUMS.get(case, 1e-5))
    exact = exact_table(case, out)
    likely = exact > -25
    np.testing.assert_allclose(log_prob[likely], exact[likely], rtol=1e-4, atol=1e-3)
    assert (log_prob[~likely] < -24).all()


@every_case
def test_gradients_are_finite_however_far_a_net_strays(case):
    _, likelihood, _, table = likelihood_of(case)
    width = likelihood.width
    far = [sign * size * np.ones(width) for sign in (-1, 1) for size in (0, 1e3, 1e4)]
    far += [size * (-1.0) ** np.arange(width) for size in (-1e4, -1e3, 1e3, 1e4)]
    gradient = jax.jit(jax.jacrev(lambda out: table(out[None])[0]))
    for out in np.float32([*far, *outs(width, 6)]):
        assert np.isfinite(gradient(out)).all(), out
    assert np.abs(gradient(outs(width, 6)[0])).max() > 0.01


@every_case
def test_draws_have_the_probabilities_that_are_scored(case):
    _, likelihood, values, _ = likelihood_of(case)
    draw = jax.jit(likelihood.draw)
    for out in outs(likelihood.width)[[0, 7, 22, 28]]:
        p = np.exp(exact_table(case, out[None])[0])
        x = np.asarray(draw(KEY, {}, jnp.tile(out, (2000, 1))))
        assert x.shape == (2000,)
        counts = np.isclose(x[:, None], values[None], rtol=1e-6, atol=1e-6).sum(0)
        assert counts.sum() == 2000  # as raw values come to model space
        common = 2000 * p > 5
        seen, expected = ([*each[common], each[~common].sum()] for each in (counts, 2000 * p))
        if expected[-1] < 5:
            assert seen[-1] < 30
            seen, expected = seen[:-1], expected[:-1]
        if len(seen) > 1:
            expected = np.array(expected) * sum(seen) / sum(expected)
            assert stats.chisquare(seen, expected).pvalue > 1e-6
        else:
            assert seen[0] > 1970


@every_case
def test_means_are_expectations(case):
    spec, likelihood, values, _ = likelihood_of(case)
    out = outs(likelihood.width)
    expected = np.exp(exact_table(case, out)) @ np.float64(values)
    step = 1 / spec.scale
    slack = {"logistic_mixture": 0.55, "logistic_mixture_16": 0.55}.get(case, 1e-4 * (spec.high - spec.low))
    mean = np.asarray(likelihood.mean({}, out))  # of a logistic before it is rounded, the others to the digit
    np.testing.assert_allclose(mean, expected, rtol=0, atol=slack * step)
    assert values.min() - 0.3 * step <= mean.min() and mean.max() <= values.max() + 0.3 * step


@pytest.mark.study
def test_log_beta_binomial_keeps_its_digits():
    log_a, log_b = np.meshgrid(np.linspace(-7, 7, 29), np.linspace(-7, 7, 29))
    for top in (1, 15, 255):
        heads = np.arange(top + 1, dtype=np.float64)[:, None, None]
        a, b = (np.exp(np.float32(each))[None] + 0 * heads for each in (log_a, log_b))
        ours = pixels.log_beta_binomial(*map(jnp.float32, (heads + 0 * a, top, a, b)))
        a, b = np.float64(np.float32(a)), np.float64(np.float32(b))
        exact = special.betaln(heads + a, top - heads + b) - special.betaln(a, b)
        np.testing.assert_allclose(ours, exact, rtol=2e-6, atol=2e-6 * (top + 10))


def test_a_gaussian_of_whole_numbers_bounds_their_probability():
    spec = whole_spec((1,), 0, 15, "signed")
    likelihood = pixels.fitting(spec, {"name": "gaussian"})
    assert likelihood.weights == {"log_scale": ()}
    values = to_model(spec, np.arange(16, dtype=np.int16))
    out, half = jnp.full((16, 1), 0.1), 0.5 / spec.scale
    for log_scale in (-2.0, -0.5):
        own = {"log_scale": jnp.float32(log_scale)}
        spread = jax.vmap(lambda key: likelihood.smooth(key, values))(jax.random.split(KEY, 4000))
        off = (np.asarray(spread) - values) / half
        assert (np.abs(off) <= 1.001).all() and abs(off.std() - 1 / np.sqrt(3)) < 0.01
        bound = np.asarray(jax.vmap(partial(likelihood.log_prob, own, out))(spread), np.float64)
        edges = (np.append(values - half, values[-1] + half) - 0.1) / np.exp(log_scale)
        exact = np.log(np.diff(stats.norm.cdf(edges)))
        error = bound.std(0) / np.sqrt(len(bound))
        assert (bound.mean(0) <= exact + 5 * error + 1e-5).all()
        variance_in_bin = (half / np.exp(log_scale)) ** 2 / 3  # the gap is about half its derivative's square
        assert (exact - bound.mean(0) < 0.5 * variance_in_bin * (1 + edges[:-1] ** 2).max() + 5 * error).all()
    real = pixels.fitting(make_spec("vector", (2,)), None)
    x = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    assert real.smooth(KEY, x) is x
    np.testing.assert_allclose(
        real.log_prob({"log_scale": jnp.float32(0.7)}, jnp.full((4, 2, 1), 0.3), x),
        stats.norm.logpdf(x, 0.3, np.exp(0.7)),
        rtol=1e-5,
    )
    draws = real.draw(KEY, {"log_scale": jnp.float32(0.7)}, jnp.full((20_000, 2, 1), 0.3))
    within(draws, 0.3)
    assert np.std(draws) == pytest.approx(np.exp(0.7), rel=0.03)


def test_data_have_a_likelihood_of_their_own():
    sixteen = whole_spec((1,), 0, 15, "unit")
    bits, real = sixteen._replace(high=1), make_spec("vector", (2,))
    columns = sixteen._replace(low=[0, 0], high=[1, 9], shift=[0, 0], scale=[1, 9])  # no one range
    widths = [pixels.fitting(each, None).width for each in (bits, sixteen, real, columns)]
    assert widths == [1, 2, 1, 1]
    assert pixels.fitting(columns, None).weights and not pixels.fitting(bits, None).weights
    for spec, options, line in (
        (sixteen, {"name": "bernoulli"}, "whole numbers; expected .*dynamic_binary to make images bits"),
        (bits, {"name": "beta_binomial"}, "made-up has bits; expected bernoulli"),
        (real, {"name": "categorical"}, "real numbers; expected gaussian"),
        (columns, {"name": "logistic_mixture"}, "real numbers; expected gaussian"),
        (sixteen, {"name": "beta_binomal"}, "Did you mean 'beta_binomial'"),
        (sixteen, {"name": "logistic_mixture", "components": 0}, "components is 0; expected"),
        (sixteen, {"name": "logistic_mixture", "component": 3}, "Did you mean 'components'"),
        (sixteen, {"components": 3}, "name of likelihood is missing"),
    ):
        with pytest.raises(UserError, match=line) as error:
            pixels.fitting(spec, options)
        assert "\n" not in str(error.value)


def test_sixteen_bits_are_ready_at_once():
    spec = whole_spec((1,), 0, 65535, "unit")._replace(dtype="uint16")
    x = to_model(spec, np.array([0, 40_000, 65535], np.uint16))
    log_prob = pixels.fitting(spec, None).log_prob({}, jnp.zeros((3, 2)), x)  # a = b = 1: uniform
    np.testing.assert_allclose(log_prob, -np.log(65536), atol=0.15)  # what float32 leaves of such sums
