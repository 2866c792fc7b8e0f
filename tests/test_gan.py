"""What the arguments of `gan` mean, each seen in the state that a step leaves, and the losses as functions."""

import math
from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import make_spec

from gen_jax.conditions import Conditions
from gen_jax.distributions.columns import representation
from gen_jax.errors import UserError
from gen_jax.losses.adversarial import LOSSES
from gen_jax.losses.penalties import PENALTIES
from gen_jax.models.gan import gan
from gen_jax.models.gan.losses import (
    Adversaries,
    discriminator_loss,
    draw,
    generate,
    generator_loss,
    mismatched_logits,
)
from gen_jax.models.gan.steps import Recipe, backpropagation, init
from gen_jax.nets.embedding import ConditionedNet, with_vector
from gen_jax.optimizers import optimizer, schedule

KEY = jax.random.key(0)
RATE = 0.1
SGD = {"name": "sgd", "learning_rate": RATE}
MLP = {"name": "mlp", "hidden": (8,)}
ZERO = {"name": "mlp", "hidden": (), "initializer": "normal", "scale": 0.0}  # linear, and 0 before it learns
SPEC = make_spec("vector", (2,))._replace(classes=("a", "b", "c"))
X = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
BATCH = {"x": X, "y": np.repeat([0, 2], 6), "weight": np.ones(12, np.float32)}
LAST_IS_PADDING = {**BATCH, "weight": np.array([1.0] * 11 + [0.0], np.float32)}


def make(net=MLP, **options):
    plain = {"generator": net, "discriminator": net, "loss": "non_saturating", "penalty": "none", "latent_size": 3}
    return gan(SPEC, **{**plain, "generator_optimizer": SGD, "discriminator_optimizer": SGD, **options})


def stepped(batch=BATCH, **options):
    """A model, its first state, and the state after a step."""
    model = make(**options)
    before = jax.jit(model.init)(KEY, batch)
    return model, before, jax.jit(model.step)(jax.random.key(1), before, batch)[0]


def dense(net):
    return np.asarray(net["params"]["Dense_0"]["kernel"])[:, 0], np.asarray(net["params"]["Dense_0"]["bias"])


def test_n_critic_updates_on_disjoint_parts_come_before_one_of_the_generator():
    _, _, after = stepped(net=ZERO, loss="wasserstein", n_critic=3)
    kernel, _ = dense(after.discriminator)
    np.testing.assert_allclose(kernel, RATE * 3 * X.mean(0), rtol=1e-5)  # each part moves it by its mean
    np.testing.assert_allclose(dense(after.generator)[1], RATE * kernel, rtol=1e-5)
    assert int(after.step) == 1 and int(after.examples) == 12


@pytest.mark.study
def test_packs_are_judged_as_one_row_and_count_where_all_of_it_counts():
    for batch, rows in ((BATCH, X), (LAST_IS_PADDING, X[:10])):
        _, _, after = stepped(batch, net=ZERO, pack=2)
        kernel, _ = dense(after.discriminator)
        expected = RATE / 2 * np.concatenate([rows[::2].mean(0), rows[1::2].mean(0)])  # sigmoid(0) = 1/2
        np.testing.assert_allclose(kernel, expected, rtol=1e-5)


@pytest.mark.study
def test_the_weights_of_the_discriminator_alone_are_clipped():
    _, _, after = stepped(loss="wasserstein", weight_clip=0.03)
    largest = [max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(net)) for net in (after[3], after[4])]
    assert after._fields[3:5] == ("generator", "discriminator")
    assert largest[0] > 0.3 and largest[1] == pytest.approx(0.03)


@pytest.mark.study
def test_samples_use_the_statistics_that_the_generator_gathered():
    model, before, after = stepped(generator={**MLP, "norm": "batch"})
    old, new = (jax.tree.leaves(state.generator_ema["batch_stats"]) for state in (before, after))
    assert all(np.abs(one - other).min() > 0 for one, other in zip(old, new))
    forgot = after._replace(generator_ema={**after.generator_ema, "batch_stats": before.generator["batch_stats"]})
    assert not np.allclose(model.sample(KEY, after, 4)["x"], model.sample(KEY, forgot, 4)["x"])


@pytest.mark.study
def test_each_update_of_the_discriminator_is_one_power_iteration():
    _, before, after = stepped(discriminator={**MLP, "norm": "spectral"})
    for layer in before.discriminator["params"]:
        kernel = np.asarray(after.discriminator["params"][layer]["kernel"], np.float64)
        (old,), (new,) = (
            [
                value
                for path, value in jax.tree.leaves_with_path(net["spectral"])
                if layer in str(path) and value.ndim == 2
            ]
            for net in (before.discriminator, after.discriminator)
        )
        v = kernel @ np.asarray(old, np.float64)[0]
        u = kernel.T @ v
        np.testing.assert_allclose(new[0], u / np.linalg.norm(u), atol=1e-5)


@pytest.mark.study
def test_a_generator_drops_units_while_it_learns_and_none_in_its_samples():
    model, before, after = stepped(generator={**MLP, "dropout": (0.5, 0.0)})
    _, same, plain = stepped()
    chex.assert_trees_all_equal(before.generator, same.generator)
    assert not np.allclose(dense(after.generator)[0], dense(plain.generator)[0], atol=1e-6)
    chex.assert_trees_all_equal(model.sample(KEY, before, 4), make().sample(KEY, same, 4))


@pytest.mark.study
def test_labels_are_drawn_as_often_as_they_were_seen():
    model, before, after = stepped(LAST_IS_PADDING, conditional=True)
    np.testing.assert_array_equal(after.classes, [6, 0, 5])
    drawn = np.bincount(model.sample(KEY, after, 4000)["y"], minlength=3) / 4000
    np.testing.assert_allclose(drawn, [6 / 11, 0, 5 / 11], atol=0.03)
    assert set(model.sample(KEY, before, 100)["y"].tolist()) == {0, 1, 2}


@pytest.mark.study
@pytest.mark.parametrize("penalty, gamma", [("none", 1.0), ("r1", 0.0)])
def test_the_monitor_measures_both_gradients_and_changes_nothing(penalty, gamma):
    batch = LAST_IS_PADDING

    def metrics_and_state(**options):
        model = make(**options)
        return jax.jit(model.step)(jax.random.key(1), jax.jit(model.init)(KEY, batch), batch)[::-1]

    watched, state = metrics_and_state(penalty=penalty, gamma=gamma, monitor=True)
    known, _ = metrics_and_state(penalty="r1_r2", gamma=0.0)
    plain, same = metrics_and_state(penalty=penalty, gamma=gamma)
    for name in ("r1", "r2"):
        np.testing.assert_allclose(watched[name], known[name], rtol=1e-5)
    assert watched.keys() - plain.keys() == {"r1", "r2"} - plain.keys()
    chex.assert_trees_all_close(state, same, rtol=1e-5)


@pytest.mark.study
@pytest.mark.parametrize("options", [{"loss": "relativistic"}, {"n_critic": 2}, {"pack": 2}])
def test_batch_norm_bears_a_part_that_is_all_padding(options):
    batch = {**BATCH, "weight": np.array([1.0] + [0.0] * 11, np.float32)}
    after = stepped(batch, net={**MLP, "norm": "batch"}, **options)[2]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))


WRONG = [
    ({"pack": 0}, "pack is 0; expected at least 1"),
    ({"n_critic": 0}, "n_critic is 0; expected at least 1"),
    ({"latent_size": -1}, "latent_size is -1; expected at least 1"),
    ({"weight_clip": 0.0}, "weight_clip is 0.0; expected more than 0"),
    (
        {"conditional": True, "pack": 2, "discriminator": {"name": "dcgan"}},
        "pack is 2 in a conditional gan; expected .* 'mlp'",
    ),
    ({"matching": True}, "matching is True without conditions; expected model.conditional=True"),
    ({"matching": True, "conditional": True, "adversarial": 0}, "matching is True and adversarial is 0"),
    ({"matching": True, "conditional": True, "pack": 2}, "matching is True and pack is 2; expected pack=1"),
    ({"loss": "hinges"}, "'hinges'.*hinge"),
    ({"penalty": "r3"}, "'r3'.*r1"),
]


@pytest.mark.parametrize("options, message", WRONG)
def test_arguments_that_no_gan_can_have(options, message):
    with pytest.raises(UserError, match=message):
        make(**options)


def test_a_batch_that_cannot_be_split_is_refused():
    with pytest.raises(UserError, match="12 rows cannot be split into the 5 parts, in packs of 2"):
        stepped(n_critic=5, pack=2)


class Perceptron(nn.Module):
    """A net of float64 with one hidden layer, or none; conditions stand beside the input."""

    shape: tuple[int, ...] = ()
    hidden: int = 5

    @nn.compact
    def __call__(self, x, c=None, weight=None):
        x = with_vector(x.reshape(len(x), -1), c)
        if self.hidden:
            x = jnp.tanh(nn.Dense(self.hidden, param_dtype=jnp.float64)(x))
        return nn.Dense(math.prod(self.shape), param_dtype=jnp.float64)(x).reshape(-1, *self.shape)


def played(loss, penalty, classes=0, pack=1, hidden=5):
    """Returns two nets, a state and a batch whose last two rows are padding, all made by hand."""
    conditions = Conditions(classes)
    nets = Adversaries(
        generator=ConditionedNet(Perceptron((2,)), conditions),
        discriminator=ConditionedNet(Perceptron((), hidden), conditions),
        loss=LOSSES[loss],
        penalty=PENALTIES[penalty],
        prior=jax.random.normal,
        form=representation(SPEC._replace(classes=())),
        shape=(2,),
        latent_size=3,
        conditions=conditions,
        pack=pack,
    )
    tx, constant = optimizer(SGD), schedule(1.0)
    batch = {"x": jnp.asarray(X, jnp.float64), "weight": jnp.asarray([1.0] * 10 + [0.0] * 2)}
    batch |= {"y": jnp.arange(12) % 3} if classes else {}
    recipe = Recipe(backpropagation(), tx, tx, constant, constant, constant)
    return nets, jax.jit(partial(init, nets, recipe))(KEY, batch), batch


GAMES = [
    ("minimax", "none", 0, 1),
    ("non_saturating", "r1", 0, 1),
    ("minimax", "r1", 3, 2),
    ("relativistic", "r1_r2", 3, 1),
]


@pytest.mark.parametrize("net", ["generator", "discriminator"])
@pytest.mark.parametrize("loss, penalty, classes, pack", GAMES)
def test_gradients_of_the_losses_are_those_of_finite_differences(net, loss, penalty, classes, pack):
    with jax.enable_x64(True):
        nets, state, batch = played(loss, penalty, classes, pack)
        function = {"generator": generator_loss, "discriminator": partial(discriminator_loss, gamma=0.7)}[net]
        params = getattr(state, net)["params"]
        value = jax.jit(lambda params: function(nets, params, KEY, state, batch)[0])
        gradient = jax.jit(jax.grad(value))(params)
        assert optax.tree.norm(gradient) > 0.01
        for number in range(3):
            way = optax.tree.random_like(jax.random.key(number), params)
            ahead, behind = (value(optax.tree.add_scale(params, size, way)) for size in (1e-5, -1e-5))
            np.testing.assert_allclose((ahead - behind) / 2e-5, optax.tree.vdot(gradient, way), rtol=1e-5, atol=1e-9)


def test_rows_beside_conditions_of_other_rows_count_as_half_of_the_generated_ones():
    """Reed et al. 2016, algorithm 1, by hand: each of 10 rows beside the label of the row before it."""
    with jax.enable_x64(True):
        nets, state, batch = played("non_saturating", "none", 3)
        batch |= {"y": jnp.array([0, 1, 2, 2, 0, 1, 0, 0, 1, 2, 1, 0])}
        params = state.discriminator["params"]
        logits = lambda x, y: nets.discriminator.apply({"params": params}, x, {"y": y})
        fake = generate(nets, state.generator, draw(nets, KEY, 12), batch).x[:10]
        x, y = batch["x"][:10], batch["y"][:10]
        real, fakes, others = logits(x, y), logits(fake, y), logits(x, jnp.roll(y, 1))
        alike = np.asarray(y == jnp.roll(y, 1))
        assert alike.sum() == 2
        half = (jax.nn.softplus(fakes) + jax.nn.softplus(others)) / 2
        expected = np.mean(jax.nn.softplus(-real) + np.where(alike, jax.nn.softplus(fakes), half))
        value, metrics = discriminator_loss(nets._replace(matching=True), params, KEY, state, batch)
        np.testing.assert_allclose(value, expected)
        np.testing.assert_allclose(metrics["d_match"], np.mean(np.sign(real - others)[~alike]))


def test_conditions_of_padding_rows_stand_beside_no_row():
    with jax.enable_x64(True):
        nets, _, _ = played("non_saturating", "none", 3)
    batch = {"x": jnp.zeros((6, 2)), "y": jnp.array([0, 1, 2, 2, 1, 0]), "weight": jnp.array([1.0, 0, 1, 1, 0, 1])}
    others, differ = mismatched_logits(nets, lambda real, number, c: c["y"], batch["x"], batch)
    real = [0, 2, 3, 5]
    np.testing.assert_array_equal(others[np.array(real)], [0, 0, 2, 2])
    np.testing.assert_array_equal(differ[np.array(real)], [False, True, False, True])


@pytest.mark.study
def test_a_critic_learns_whether_a_row_fits_its_label():
    x = np.eye(3, dtype=np.float32)[np.arange(12) % 3][:, :2]
    batch = {"x": x, "y": np.arange(12) % 3, "weight": np.ones(12, np.float32)}
    model = make(
        conditional=True,
        matching=True,
        discriminator={"name": "mlp", "hidden": (32,)},
        discriminator_optimizer={"name": "adam", "learning_rate": 1e-2},
    )
    state, step = jax.jit(model.init)(KEY, batch), jax.jit(model.step)
    for number in range(300):
        state, metrics = step(jax.random.key(number), state, batch)
    assert metrics["d_match"] == 1


def test_the_losses_are_those_of_the_papers():
    """Goodfellow et al. 2014, eq. 1, and Mescheder et al. 2018, eq. 9: a linear critic has a constant gradient."""
    with jax.enable_x64(True):
        nets, state, batch = played("minimax", "r1", hidden=0)
        fake = generate(nets, state.generator, draw(nets, KEY, 12), batch).x[:10]
        kernel, bias = np.asarray(state.discriminator["params"]["Dense_0"]["kernel"])[:, 0], 0.3
        params = {"Dense_0": {"kernel": kernel[:, None], "bias": jnp.full(1, bias)}}
        real_logits, fake_logits = X[:10] @ kernel + bias, fake @ kernel + bias
        d_loss = np.mean(np.log1p(np.exp(-real_logits)) + np.log1p(np.exp(fake_logits)))
        r1 = kernel @ kernel / 2
        value, metrics = discriminator_loss(nets, params, KEY, state, batch, gamma=0.7)
        np.testing.assert_allclose(value, d_loss + 0.7 * r1)
        np.testing.assert_allclose([metrics["d_loss"], metrics["r1"]], [d_loss, r1])
        state = state._replace(discriminator={"params": params})
        value, _ = generator_loss(nets, state.generator["params"], KEY, state, batch)
        np.testing.assert_allclose(value, -np.mean(np.log1p(np.exp(fake_logits))))
