"""Schedules and moving averages as functions of the examples seen."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import make_spec

from gen_jax.errors import UserError
from gen_jax.models.updates import GradientState, started, updated
from gen_jax.models.vae import vae
from gen_jax.optimizers import moving_average, optimizer, schedule
from gen_jax.registry import epochs_as_examples


@pytest.mark.study
def test_schedules_count_epochs_of_the_training_rows():
    rate = {"start": 1e-3, "stop": 0.0, "epochs": 2.5, "shape": "linear"}
    options = {"optimizer": {"name": "adam", "learning_rate": rate}, "kl": 0.5}
    counted = epochs_as_examples(options, 40)
    assert counted["optimizer"]["learning_rate"] == {"start": 1e-3, "stop": 0.0, "examples": 100, "shape": "linear"}
    assert epochs_as_examples(counted, 7) is counted and "epochs" in rate
    assert epochs_as_examples({**rate, "epochs": np.float32(3)}, 40)["examples"] == 120
    model = vae(make_spec("vector", (2,))._replace(sizes={"train": 400, "half": 40}, split="half"), **options)
    assert model.origin["optimizer"]["learning_rate"] == rate  # as it was written, for the files of a run
    batch = {"x": jax.random.normal(jax.random.key(3), (100, 2))}
    state = jax.jit(model.init)(jax.random.key(0), batch)
    first, _ = jax.jit(model.step)(jax.random.key(1), state, batch)
    last, _ = jax.jit(model.step)(jax.random.key(2), first, batch)
    moved = [
        any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (old.params, new.params))))
        for old, new in ((state, first), (first, last))
    ]
    assert moved == [True, False]


@pytest.mark.parametrize(
    "rate, message",
    [
        ({"epochs": 2, "examples": 7}, "a schedule has epochs 2 and examples 7; expected one of them"),
        ({"epochs": 0}, "epochs of a schedule is 0; expected a number above 0"),
        ({"epochs": "two"}, "epochs of a schedule is two; expected a number above 0"),
        ({"epochs": True}, "epochs of a schedule is True; expected a number above 0"),
        ({"epochs": 2**30}, "epochs of a schedule is 1073741824 and the training split has 40 rows; expected 1 to"),
    ],
)
def test_faulty_epochs_of_a_schedule_are_refused(rate, message):
    with pytest.raises(UserError, match=message):
        epochs_as_examples({"start": 1.0, "stop": 0.5, **rate}, 40)


def test_a_half_life_that_grows_from_zero_makes_the_power_function_average():
    """Its weights grow with a power of the time of each weight (Karras et al. 2024, arXiv 2312.02696, section 3.1)."""
    gamma, steps, size = 5.0, 2000, 3
    growing = schedule(
        {"start": 0.0, "stop": steps * size * np.log(2) / (gamma + 1), "examples": steps * size, "shape": "linear"}
    )
    weights = np.random.default_rng(0).normal(size=steps + 1).cumsum() / np.sqrt(steps)
    tx = optimizer({"name": "sgd", "learning_rate": 1.0})
    state = GradientState(**started(tx, 0, jnp.float32(weights[0])))
    batch = {"x": jnp.zeros((size, 1))}

    def step(state, change):
        return updated(tx, growing, -change, state, batch), None

    state, _ = jax.lax.scan(step, state, jnp.asarray(np.diff(weights), jnp.float32))
    assert state.params == pytest.approx(weights[-1], abs=1e-3)
    profile = (np.arange(steps) + 1.0) ** gamma
    assert state.average == pytest.approx((profile * weights[1:]).sum() / profile.sum(), abs=5e-3)
    assert abs(state.average - weights[-1]) > 0.02  # the newest weight is another one


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
        ({"name": "adam", "learning_rate": {"start": 1.0, "stop": 0.1, "examples": 2**31}}, "expected 1 to 2147483647"),
        ({"name": "sgd", "learning_rate": {"start": 1.0, "stop": 0.1, "examples": 9, "shape": "cubic"}}, "'cubic'"),
        ({"name": "sgd"}, "sgd.*lacks learning_rate"),
        (
            {"name": "sgd", "learning_rate": {"start": None, "stop": 0.1, "examples": 9}},
            "start of a schedule is None; expected a number",
        ),
        (
            {"name": "sgd", "learning_rate": {"start": 0.0, "stop": 0.1, "examples": 9, "shape": "exponential"}},
            "an exponential schedule goes from 0.0 to 0.1; expected numbers above 0",
        ),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        optimizer(options)


def test_a_value_warms_up_in_proportion_to_the_examples():
    value = schedule({"start": 1.0, "stop": 0.0, "examples": 1000, "shape": "linear", "warm_up": 100})
    np.testing.assert_allclose(value(jnp.array([0.0, 50, 100, 500])), [0, 0.5 * 0.95, 0.9, 0.5], rtol=1e-5)
    with pytest.raises(
        UserError, match="warm_up of a schedule is 1000; expected a number of examples from 0 to below 1000"
    ):
        schedule({"start": 1.0, "stop": 0.0, "examples": 1000, "warm_up": 1000})


WEIGHTS = {
    "layer": {"kernel": jnp.diag(jnp.array([3.0, 1.0, 0.2])), "bias": jnp.ones(3)},
    "table": {"embedding": jnp.eye(3)},
}


def test_muon_makes_the_singular_values_of_inner_matrices_alike_and_leaves_the_rest_to_adam():
    at = optimizer({"name": "muon", "learning_rate": 0.01})(jnp.float32(0))
    update = jax.jit(at.update)
    updates, _ = update(WEIGHTS, at.init(WEIGHTS), WEIGHTS)
    size = np.linalg.svd(updates["layer"]["kernel"], compute_uv=False)
    assert size.max() / size.min() < 2  # 15 in the gradient
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(updates["layer"]["kernel"]))), 0.2 * 0.01, rtol=0.3)
    adam = optax.adamw(0.01, b1=0.9, b2=0.95, weight_decay=0.0, nesterov=True)
    expected = adam.update(WEIGHTS, adam.init(WEIGHTS), WEIGHTS)[0]
    for part, name in (("layer", "bias"), ("table", "embedding")):
        np.testing.assert_allclose(updates[part][name], expected[part][name], rtol=1e-5)


def test_rates_multiply_the_updates_of_a_path_and_zero_freezes_it():
    sgd = {"name": "sgd", "learning_rate": 1.0}
    at = optimizer({**sgd, "rates": {"layer": 0.5, "bias": 0, "table/embedding": 2.0}})(jnp.float32(0))
    updates, _ = at.update(WEIGHTS, at.init(WEIGHTS), WEIGHTS)
    np.testing.assert_allclose(updates["layer"]["kernel"], -0.5 * WEIGHTS["layer"]["kernel"])
    np.testing.assert_array_equal(updates["layer"]["bias"], np.zeros(3))
    np.testing.assert_allclose(updates["table"]["embedding"], -2 * WEIGHTS["table"]["embedding"])
    for rates, message in (
        ({"layer": -1}, "rates.layer is -1; expected a number of at least 0"),
        ({"layer": True}, "rates.layer is True; expected a number"),
        ({"lair": 1.0}, "rates name 'lair', which no weight has in its path; expected one of bias, embedding, kernel"),
    ):
        with pytest.raises(UserError, match=message):
            at = optimizer({**sgd, "rates": rates})(jnp.float32(0))
            at.update(WEIGHTS, at.init(WEIGHTS), WEIGHTS)
