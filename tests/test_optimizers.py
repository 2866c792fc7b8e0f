"""Schedules and moving averages as functions of the examples seen."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax.errors import UserError
from gen_jax.optimizers import moving_average, optimizer, schedule


@pytest.mark.parametrize("shape, middle", {"cosine": 0.55, "linear": 0.55, "exponential": 0.1**0.5}.items())
def test_schedules_start_stop_and_stay(shape, middle):
    value = schedule({"start": 1.0, "stop": 0.1, "examples": 1000, "shape": shape})
    seen = jnp.array([0.0, 500.0, 1000.0, 5000.0])
    np.testing.assert_allclose(value(seen), [1, middle, 0.1, 0.1], rtol=1e-5)


def test_cosine_is_flat_at_both_ends():
    value = schedule({"start": 1.0, "stop": 0.0, "examples": 1000})
    np.testing.assert_allclose(
        value(jnp.array([0.0, 10, 250, 990, 1000])), [1, 0.99975, 0.853553, 0.000247, 0], atol=1e-5
    )


def test_optimizer_of_a_moment_equals_optax():
    moving = {"start": 1e-2, "stop": 1e-3, "examples": 100, "shape": "linear"}
    at = optimizer({"name": "adam", "learning_rate": moving, "b1": 0.0, "b2": 0.9})
    params, gradient = jnp.array([1.0, -2.0]), jnp.array([0.5, 0.25])
    state = at(jnp.float32(0)).init(params)
    reference = optax.adam(5.5e-3, b1=0.0, b2=0.9)
    ours, _ = at(jnp.float32(50)).update(gradient, state, params)
    theirs, _ = reference.update(gradient, reference.init(params), params)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_gradients_are_clipped_by_their_global_norm():
    at = optimizer({"name": "sgd", "learning_rate": 1.0, "clip_norm": 1.0})(jnp.float32(0))
    params = {"a": jnp.zeros(2), "b": jnp.zeros(1)}
    for length, expected in ((10.0, 1.0), (0.5, 0.5)):  # a long gradient is shortened, a short one is kept
        gradient = {"a": length * jnp.array([2.0, -1.0]) / 3, "b": length * jnp.array([2.0]) / 3}
        updates, _ = at.update(gradient, at.init(params), params)
        np.testing.assert_allclose(updates["a"], -expected * np.array([2.0, -1.0]) / 3, rtol=1e-5)
        np.testing.assert_allclose(updates["b"], [-expected * 2 / 3], rtol=1e-5)


def test_moving_average_halves_in_its_half_life():
    average = jnp.array([1.0])
    for _ in range(10):
        average = moving_average(average, jnp.array([0.0]), jnp.float32(50), jnp.float32(500))
    np.testing.assert_allclose(average, [0.5], rtol=1e-5)
    np.testing.assert_allclose(moving_average(average, jnp.array([3.0]), jnp.float32(50), jnp.float32(0)), [3.0])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "adm"}, "unknown optimizer 'adm'.*adam"),
        ({"learning_rate": 1.0}, "is missing"),
        ({"name": "adam", "learning_rat": 1.0}, "'learning_rat'.*learning_rate"),
        ({"name": "adam", "learning_rate": {"start": 1.0}}, "schedule.*stop, examples"),
        ({"name": "adam", "learning_rate": {"start": 1.0, "stop": 0.1, "examples": 0}}, "examples of a schedule is 0"),
        ({"name": "sgd", "learning_rate": {"start": 1.0, "stop": 0.1, "examples": 9, "shape": "cubic"}}, "'cubic'"),
        ({"name": "sgd"}, "sgd.*lacks learning_rate"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        optimizer(options)
