"""Losses and penalties against the constants of target G4, closed forms and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.losses.adversarial import LOSSES
from gen_jax.losses.penalties import PENALTIES, interpolate, squared_gradient

KEY = jax.random.key(0)
REAL = jnp.array([-5.0, 1.4, 12.5, 2.7])
FAKE = jnp.array([10.0, 4.4, -5.5, 3.6])
# TF-GAN prints minimax G -4.82408 and D 6.19637 (target G4). Its discriminator smooths the real label to 0.875, which
# adds mean(real) / 8, and its generator adds the cross-entropy of a made-up real logit of 1; the equations have neither.
SMOOTHING = float(REAL.mean()) / 8
MADE_UP = float(np.log1p(np.exp(-1)))
CONSTANTS = {  # name -> (generator, discriminator)
    "minimax": (-4.82408 + MADE_UP, 6.19637 - SMOOTHING),
    "non_saturating": (1.38582, 6.19637 - SMOOTHING),
    "least_squares": (17.69625, 41.73375),
    "hinge": (-3.125, 6.75),
    "wasserstein": (-3.125, 0.225),
    "relativistic": (  # mean of log(1 + e^(real - fake)) and of log(1 + e^(fake - real)), in NumPy float64
        np.log1p(np.exp(np.float64(REAL) - np.float64(FAKE))).mean(),
        np.log1p(np.exp(np.float64(FAKE) - np.float64(REAL))).mean(),
    ),
}


def difference(function, x, epsilon=1e-2):
    """Central differences of a scalar function of a float32 vector."""
    shifts = jnp.eye(len(x)) * epsilon
    return np.array([(function(x + shift) - function(x - shift)) / (2 * epsilon) for shift in shifts])


def test_every_loss_has_its_constant():
    assert CONSTANTS.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", CONSTANTS)
def test_losses_equal_their_constants(name):
    generator, discriminator = CONSTANTS[name]
    np.testing.assert_allclose(LOSSES[name].generator(FAKE, REAL).mean(), generator, rtol=0, atol=1e-5)
    np.testing.assert_allclose(LOSSES[name].discriminator(REAL, FAKE).mean(), discriminator, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_equal_finite_differences(name):
    game = LOSSES[name]
    real, fake = REAL / 4, FAKE / 4
    halves = {
        "generator by fake": (lambda x: game.generator(x, real).mean(), fake),
        "discriminator by real": (lambda x: game.discriminator(x, fake).mean(), real),
        "discriminator by fake": (lambda x: game.discriminator(real, x).mean(), fake),
    }
    for what, (function, x) in halves.items():
        np.testing.assert_allclose(jax.grad(function)(x), difference(function, x), atol=1e-4, err_msg=what)


def test_only_the_paired_loss_reads_real_examples_in_the_generator():
    for game in LOSSES.values():
        gradient = jax.grad(lambda real, game=game: game.generator(FAKE, real).sum())(REAL)
        assert game.pairs == bool(np.any(gradient != 0))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("logit", [-1e4, 0.0, 1e4])
def test_extreme_logits_stay_finite(name, logit):
    real, fake = jnp.array([logit]), jnp.array([-logit])
    for function in (LOSSES[name].discriminator, lambda real, fake: LOSSES[name].generator(fake, real)):
        value, gradients = jax.value_and_grad(lambda *xs, f=function: f(*xs).sum(), argnums=(0, 1))(real, fake)
        assert np.isfinite(value) and np.isfinite(gradients).all()


def test_minimax_generator_saturates_and_the_other_does_not():
    sure = jnp.array([-20.0])
    slope = {name: float(jax.grad(lambda x, n=name: LOSSES[n].generator(x, x).sum())(sure)[0]) for name in CONSTANTS}
    assert abs(slope["minimax"]) < 1e-8 and slope["non_saturating"] == pytest.approx(-1)


# A quadratic critic D(x) = x^T A x / 2 + b^T x has the gradient A x + b (A symmetric): a closed form per row.
A = np.array([[2.0, 0.5], [0.5, -1.0]], np.float32)
B = np.array([0.3, -0.7], np.float32)
X = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
Z = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)


def quadratic(x, call=0):
    return jnp.einsum("nd,de,ne->n", x, A, x) / 2 + x @ B


def test_squared_gradient_is_that_of_each_row():
    logits, squared = squared_gradient(quadratic, X, 0)
    np.testing.assert_allclose(logits, quadratic(X), rtol=1e-6)
    np.testing.assert_allclose(squared, np.square(X @ A + B[None]).sum(1), rtol=1e-5)


def test_squared_gradient_sums_over_every_entry_of_an_image():
    images = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 4, 2)), jnp.float32)
    _, squared = squared_gradient(lambda x, call: (x**2).sum((1, 2, 3)), images, 0)
    np.testing.assert_allclose(squared, (4 * np.square(images)).sum((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("name, terms", {"none": [], "r1": ["r1"], "r2": ["r2"], "r1_r2": ["r1", "r2"]}.items())
def test_penalties_are_half_squared_gradients(name, terms):
    real, fake, penalties = PENALTIES[name](KEY, quadratic, jnp.asarray(X), jnp.asarray(Z))
    np.testing.assert_allclose(real, quadratic(X), rtol=1e-5)
    np.testing.assert_allclose(fake, quadratic(Z), rtol=1e-5)
    closed = {"r1": np.square(X @ A + B[None]).sum(1) / 2, "r2": np.square(Z @ A + B[None]).sum(1) / 2}
    assert list(penalties) == terms
    for term in terms:
        np.testing.assert_allclose(penalties[term], closed[term], rtol=1e-5)


@pytest.mark.parametrize("name", ["gradient_penalty", "zero_centred"])
def test_penalties_between_real_and_fake_have_their_closed_form(name):
    real, fake, penalties = PENALTIES[name](KEY, quadratic, jnp.asarray(X), jnp.asarray(Z))
    np.testing.assert_allclose(real, quadratic(X), rtol=1e-5)
    np.testing.assert_allclose(fake, quadratic(Z), rtol=1e-5)
    norm = np.linalg.norm(np.asarray(interpolate(KEY, X, Z)) @ A + B[None], axis=1)
    closed = {"gradient_penalty": np.square(norm - 1), "zero_centred": np.square(norm)}
    assert list(penalties) == [name]
    np.testing.assert_allclose(penalties[name], closed[name], rtol=1e-4)


@pytest.mark.parametrize("name", PENALTIES)
def test_each_pass_through_the_critic_has_a_number_of_its_own(name):
    """By which its dropout differs: real rows, generated ones, both or those between."""
    calls = []
    PENALTIES[name](KEY, lambda x, call: calls.append(call) or quadratic(x), jnp.asarray(X), jnp.asarray(Z))
    assert len(set(calls)) == len(calls)


def test_each_example_has_one_share_between_real_and_fake():
    real, fake = jnp.ones((400, 3, 3, 2)), jnp.zeros((400, 3, 3, 2))
    between = np.asarray(interpolate(KEY, real, fake)).reshape(400, -1)
    assert (between == between[:, :1]).all()  # one for all pixels of an image, not one a pixel
    assert len(np.unique(between[:, 0])) == 400 and 0 <= between.min() and between.max() <= 1
    assert between.mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(interpolate(KEY, real, real), real, rtol=1e-6)


def test_gradient_penalty_is_zero_for_a_critic_of_slope_one_and_finite_for_a_constant_one():
    slope = jnp.array([0.6, 0.8])
    value = PENALTIES["gradient_penalty"](KEY, lambda x, call: x @ slope, jnp.asarray(X), jnp.asarray(Z))[2]
    np.testing.assert_allclose(value["gradient_penalty"], 0, atol=1e-6)

    def constant(scale):
        critic = PENALTIES["gradient_penalty"](KEY, lambda x, call: scale * x[:, 0], jnp.asarray(X), jnp.asarray(Z))
        return critic[2]["gradient_penalty"].mean()

    assert constant(0.0) == pytest.approx(1, abs=1e-5) and np.isfinite(jax.grad(constant)(0.0))


@pytest.mark.parametrize("name", [name for name in PENALTIES if name != "none"])
def test_penalty_gradients_equal_finite_differences(name):
    def penalty(scale):  # D(x) = tanh(s_0 x_0) + s_1 x_0 x_1
        def critic(x, call):
            return jnp.tanh(scale[0] * x[:, 0]) + scale[1] * x[:, 0] * x[:, 1]

        values = PENALTIES[name](KEY, critic, jnp.asarray(X), jnp.asarray(Z))[2]
        return sum(value.mean() for value in values.values())

    scale = jnp.array([0.8, 0.4])
    np.testing.assert_allclose(jax.grad(penalty)(scale), difference(penalty, scale), rtol=2e-3, atol=1e-4)
