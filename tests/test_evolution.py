"""Evolution strategies against the closed-form gradient of the smoothed loss, and the laws of rank shaping."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax.errors import UserError
from gen_jax.optimizers.evolution import centred_ranks, evolution_gradient

KEY = jax.random.key(0)
THETA = {"w": jnp.array([[0.3, -0.5], [1.0, 0.2]]), "b": jnp.array([0.7])}
SLOPE = {"w": jnp.array([[1.0, -2.0], [0.5, 0.0]]), "b": jnp.array([3.0])}
SIGMA = 0.5
SIZE = 5  # parameters in all
PAIRS = 200  # in most tests: what is compiled once serves them all


def dot(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)))


def linear(params):
    return dot(params, SLOPE)


def quadratic(params):
    """1/2 |theta|^2 + slope . theta; smoothed it is that plus sigma^2 D / 2, and its gradient theta + slope."""
    return dot(params, params) / 2 + linear(params)


def wave(params):
    """sum sin(theta); smoothed it is exp(-sigma^2 / 2) times that, and so is its gradient: E e^(i sigma e)."""
    return sum(jnp.sin(each).sum() for each in jax.tree.leaves(params))


SMOOTHED = {  # loss -> (value, gradient) of E loss(theta + sigma e)
    linear: (linear(THETA), SLOPE),
    quadratic: (quadratic(THETA) + SIGMA**2 * SIZE / 2, jax.tree.map(jnp.add, THETA, SLOPE)),
    wave: (
        np.exp(-(SIGMA**2) / 2) * wave(THETA),
        jax.tree.map(lambda each: np.exp(-(SIGMA**2) / 2) * jnp.cos(each), THETA),
    ),
}


@pytest.mark.parametrize("loss", SMOOTHED, ids=lambda loss: loss.__name__)
def test_unshaped_estimates_the_smoothed_loss_and_its_gradient(loss):
    """Within 5 standard errors, which are measured over independent keys; they are small, so the test can fail."""
    estimate = partial(evolution_gradient, loss=loss, params=THETA, pairs=PAIRS, deviation=SIGMA, shaped=False)
    estimates = jax.vmap(estimate)(jax.random.split(KEY, 100))
    for found, exact in zip(jax.tree.leaves(estimates), jax.tree.leaves(SMOOTHED[loss])):
        error = np.std(found, axis=0) / np.sqrt(len(found))
        assert np.max(error) < 0.05
        assert np.all(np.abs(np.mean(found, axis=0) - exact) < 5 * error + 1e-5)


@pytest.mark.study
def test_pairs_cancel_what_is_even():
    """Around its minimum a quadratic is the same on both sides, and a constant is the same everywhere."""
    origin = jax.tree.map(jnp.zeros_like, THETA)
    even, constant = (lambda params: dot(params, params)), (lambda params: jnp.float32(7.0))
    for loss, shaped in ((even, False), (even, True), (constant, True)):
        gradient = evolution_gradient(KEY, loss, origin, PAIRS, SIGMA, shaped)[1]
        assert all(np.all(each == 0) for each in jax.tree.leaves(gradient))


def test_a_linear_loss_is_estimated_from_anywhere():
    """The same gradient far away and with a constant added: the pairs remove the baseline."""
    far = jax.tree.map(lambda each: each + 3.0, THETA)
    near = evolution_gradient(KEY, linear, THETA, PAIRS, SIGMA, shaped=False)[1]
    for loss, params in ((linear, far), (lambda params: linear(params) + 10.0, THETA)):
        other = evolution_gradient(KEY, loss, params, PAIRS, SIGMA, shaped=False)[1]
        for a, b in zip(jax.tree.leaves(near), jax.tree.leaves(other)):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.study
def test_one_pair_is_the_formula():
    """A linear loss gives (slope . e) e, and so e up to its sign, which cancels; the wave has no such short form."""
    along = evolution_gradient(KEY, linear, THETA, 1, SIGMA, shaped=False)[1]
    e = jax.tree.map(lambda each: each / jnp.sqrt(dot(SLOPE, along)), along)
    plus, minus = (wave(jax.tree.map(lambda p, n, s=s: p + s * SIGMA * n, THETA, e)) for s in (1, -1))
    for shaped, factor in ((False, (plus - minus) / (2 * SIGMA)), (True, jnp.sign(plus - minus) / (2 * SIGMA))):
        value, gradient = evolution_gradient(KEY, wave, THETA, 1, SIGMA, shaped)
        np.testing.assert_allclose(value, (plus + minus) / 2, rtol=1e-4)
        for found, noise in zip(jax.tree.leaves(gradient), jax.tree.leaves(e)):
            np.testing.assert_allclose(found, factor * noise, rtol=1e-4, atol=1e-6)


def test_shaping_sees_only_the_order():
    losses = (quadratic, lambda params: jnp.exp(quadratic(params)), lambda params: 100 * quadratic(params) - 3)
    gradients = [evolution_gradient(KEY, loss, THETA, PAIRS, 0.1)[1] for loss in losses]
    for other in gradients[1:]:
        for a, b in zip(jax.tree.leaves(gradients[0]), jax.tree.leaves(other)):
            np.testing.assert_array_equal(a, b)
    falling = evolution_gradient(KEY, lambda params: -quadratic(params), THETA, PAIRS, 0.1)[1]
    for a, b in zip(jax.tree.leaves(gradients[0]), jax.tree.leaves(falling)):
        np.testing.assert_allclose(a, -b, rtol=1e-5)
    unshaped = evolution_gradient(KEY, quadratic, THETA, PAIRS, 0.1, shaped=False)[1]
    assert not np.allclose(unshaped["b"], gradients[0]["b"], rtol=1e-2)


def test_ranks():
    np.testing.assert_allclose(centred_ranks(jnp.array([3.0, -1.0, 10.0])), [0, -0.5, 0.5])
    np.testing.assert_allclose(centred_ranks(jnp.array([2.0, 1.0, 2.0, 5.0, 1.0])), [0.125, -0.375, 0.125, 0.5, -0.375])
    np.testing.assert_allclose(centred_ranks(jnp.array([4.0, 4.0])), [0, 0])
    np.testing.assert_allclose(centred_ranks(jnp.array([jnp.inf, jnp.nan, -jnp.inf])), [0, 0.5, -0.5])
    np.testing.assert_allclose(centred_ranks(jnp.array([1e-30, -1e-30])), [0.5, -0.5])


@pytest.mark.parametrize("shaped", [True, False])
def test_descent_reaches_the_minimum(shaped):
    """64 steps of SGD on a quadratic whose minimum is -slope, without one derivative."""
    tx = optax.sgd(0.05 if shaped else 0.2)

    @jax.jit
    def step(key, params, state):
        value, gradient = evolution_gradient(key, quadratic, params, PAIRS, 0.1, shaped)
        updates, state = tx.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    params, state = THETA, tx.init(THETA)
    for each in range(64):
        params, state, value = step(jax.random.fold_in(KEY, each), params, state)
    least = quadratic(jax.tree.map(jnp.negative, SLOPE))
    assert quadratic(params) - least < 0.05 * (quadratic(THETA) - least)
    assert value == pytest.approx(quadratic(params), abs=1.0)


def test_the_estimate_is_a_function_of_its_key():
    first, again, other = (evolution_gradient(key, wave, THETA, PAIRS, 0.1) for key in (KEY, KEY, jax.random.key(1)))
    for a, b, c in zip(*map(jax.tree.leaves, (first, again, other))):
        assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert jax.tree.structure(first[1]) == jax.tree.structure(THETA)
    assert [each.shape for each in jax.tree.leaves(first[1])] == [each.shape for each in jax.tree.leaves(THETA)]
    assert {each.dtype for each in jax.tree.leaves(first)} == {jnp.dtype("float32")}


def test_a_loss_without_a_gradient_is_learnt_from():
    """A count of negative entries has the gradient 0 almost everywhere; its smoothed form falls in each of them."""

    def negatives(params):
        return sum(jnp.sum(each < 0).astype(jnp.float32) for each in jax.tree.leaves(params))

    assert all(np.all(each == 0) for each in jax.tree.leaves(jax.grad(negatives)(THETA)))
    gradient = evolution_gradient(KEY, negatives, THETA, PAIRS, 1.0)[1]
    assert all(np.all(each < 0) for each in jax.tree.leaves(gradient))


@pytest.mark.parametrize("pairs, deviation", [(0, 0.1), (-3, 0.1), (4, 0.0), (4, -1.0), (4, float("nan"))])
def test_impossible_settings_are_named(pairs, deviation):
    with pytest.raises(
        UserError, match=f"pairs is {pairs} and deviation is {deviation}; expected at least 1 and more than 0"
    ):
        evolution_gradient(KEY, linear, THETA, pairs, deviation)
