"""Autoencoders against closed forms, enumeration, integration over the latent and SciPy; every option changes what it says."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import host, make_spec, whole_spec, within
from scipy import special, stats

from gen_jax.coding import codec, integer
from gen_jax.data.spec import to_model
from gen_jax.distributions import pixels
from gen_jax.distributions.multivariate_normal import gaussian_kl, gaussian_log_prob
from gen_jax.errors import UserError
from gen_jax.losses.variational import doubly_reparameterised, free_bits, importance_bound
from gen_jax.models.completion import Joint, repaired
from gen_jax.models.vae import Autoencoder, elbo_loss, iwae_loss, reconstruction_loss, vae
from gen_jax.models.vae import init as vae_init
from gen_jax.nets import DECODERS, ENCODERS
from gen_jax.nets.embedding import Embedded
from gen_jax.registry import build

KEY = jax.random.key(0)
NET = {"name": "mlp", "hidden": (8,), "activation": "relu"}
PLAIN = {"name": "sgd", "learning_rate": 1.0}


# Gaussians


def test_kl_is_that_of_scales_not_of_variances():
    rng = np.random.default_rng(0)
    mean, log_scale, other, other_scale = rng.normal(size=(4, 6))
    kl = gaussian_kl(*map(jnp.float32, (mean, log_scale, other, other_scale)))
    s, t = np.exp(log_scale), np.exp(other_scale)
    np.testing.assert_allclose(
        kl, np.log(t / s) + (s**2 + (mean - other) ** 2) / (2 * t**2) - 0.5, rtol=1e-4, atol=1e-6
    )
    z = mean + s * rng.normal(size=(100_000, 6))
    within(stats.norm.logpdf(z, mean, s) - stats.norm.logpdf(z, other, t), kl)
    standard = stats.norm.logpdf(z, mean, s) - stats.norm.logpdf(z)
    within(standard, gaussian_kl(jnp.float32(mean), jnp.float32(log_scale)))
    np.testing.assert_allclose(
        gaussian_log_prob(*map(jnp.float32, (z[:9], np.tile(mean, (9, 1)), np.tile(log_scale, (9, 1))))),
        stats.norm.logpdf(z[:9], mean, s),
        rtol=1e-4,
        atol=1e-5,
    )


def test_free_bits_are_of_the_weighted_mean_of_a_latent():
    kl = jnp.array([[0.1, 3.0], [0.3, 1.0], [90.0, 90.0]])
    weight = jnp.array([1.0, 3.0, 0.0])
    cost = free_bits(kl, weight, 0.5)  # means 0.25 and 1.5
    np.testing.assert_allclose(cost[:2], [0.5 + 3.0, 0.5 + 1.0], rtol=1e-6)
    slope = jax.grad(lambda kl: weight @ free_bits(kl, weight, 0.5))(kl)
    np.testing.assert_allclose(slope, weight[:, None] * np.array([[0.0, 1.0]]), rtol=1e-6)
    np.testing.assert_allclose(free_bits(kl, weight, 0.2)[:2], kl.sum(1)[:2], rtol=1e-6)


# bounds


def test_the_importance_bound_and_its_gradient_are_those_of_a_sum():
    log_w = np.random.default_rng(0).normal(0, 5, (7, 4))
    value, gradient = jax.vjp(importance_bound, jnp.float32(log_w))
    w = np.exp(log_w)
    np.testing.assert_allclose(value, np.log(w.mean(0)), rtol=1e-5)
    np.testing.assert_allclose(gradient(jnp.ones(4))[0], w / w.sum(0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(importance_bound(jnp.full((3, 1), -1e4)), -1e4)


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_doubly_reparameterised_gradients_are_those_of_the_bound(beta):
    """Of x | z ~ N(theta z, 1) and q = N(phi x, exp(spread)), with K = 16: the same mean, less variance."""
    x, weight = jnp.array([0.5, -1.0, 2.0, 9.0]), jnp.array([0.2, 0.5, 0.3, 0.0])
    start = {"theta": jnp.float32(1.2), "phi": jnp.float32(0.2), "spread": jnp.float32(-0.3)}

    def parts(params, z, mean, log_scale):
        row = x[None] + 0 * z
        ratio = gaussian_log_prob(z) - gaussian_log_prob(z, mean[None], log_scale)
        return gaussian_log_prob(row, params["theta"] * z), ratio

    def plain(params, key):
        mean = params["phi"] * x
        z = mean[None] + jnp.exp(params["spread"]) * jax.random.normal(key, (16, 4))
        log_x, ratio = parts(params, z, mean, params["spread"])
        return importance_bound(log_x + beta * ratio) @ weight, importance_bound(log_x + ratio)

    def doubly(params, key):
        mean = params["phi"] * x
        z = mean[None] + jnp.exp(params["spread"]) * jax.random.normal(key, (16, 4))
        fixed = jax.lax.stop_gradient((mean, params["spread"]))
        bound, surrogate = doubly_reparameterised(lambda params, z: parts(params, z, *fixed), params, z, weight, beta)
        return surrogate, bound

    keys = jax.random.split(KEY, 10_000)
    (one, bound), (other, same) = (
        jax.jit(jax.vmap(jax.grad(each, has_aux=True), (None, 0)))(start, keys) for each in (plain, doubly)
    )
    np.testing.assert_allclose(bound, same, rtol=1e-5)
    for name in start:
        within(np.asarray(one[name]) - np.asarray(other[name]), 0)
    np.testing.assert_allclose(one["theta"], other["theta"], rtol=1e-3, atol=1e-4)
    if beta == 1:
        assert np.var(other["phi"]) < 0.5 * np.var(one["phi"])
        assert np.var(other["spread"]) < 0.5 * np.var(one["spread"])


BITS = whole_spec((1, 3, 1), 0, 1, "none")
GREY = whole_spec((8, 8, 1), 0, 3, "signed")
ALL_BITS = np.float32(np.stack(np.meshgrid(*[[0, 1]] * 3, indexing="ij"), -1).reshape(8, 1, 3, 1))
GRID = np.linspace(-8, 8, 2001)
LOG_PRIOR = stats.norm.logpdf(GRID) + np.log(GRID[1] - GRID[0])


def learn(model, batch, steps, key=KEY):
    state, step = jax.jit(model.init)(key, batch), jax.jit(model.step)
    for each in range(steps):
        state, _ = step(jax.random.fold_in(key, each), state, batch)
    return state


@lru_cache
def tiny():
    """A vae of three bits with one latent, trained a little: all it says can be integrated."""
    model = vae(BITS, NET, NET, latent_size=1, optimizer={"name": "adam", "learning_rate": 0.03})
    rows = np.repeat(ALL_BITS, [6, 1, 1, 1, 1, 1, 1, 4], 0)
    return model, learn(model, {"x": jnp.asarray(rows), "weight": jnp.ones(16)}, 60)


def log_table(model, state):
    """log p(x | z) [8, G] of all outcomes on the grid, in float64."""
    p = np.asarray(model.decode(KEY, state, {"z": jnp.float32(GRID)[:, None]})["x"], np.float64).reshape(1, -1, 3)
    x = ALL_BITS.reshape(8, 1, 3)
    return np.log(np.where(x > 0, p, 1 - p)).sum(-1)


def test_bounds_grow_towards_the_exact_log_likelihood():
    model, state = tiny()
    table, batch = log_table(model, state), {"x": jnp.asarray(ALL_BITS)}
    exact = special.logsumexp(table + LOG_PRIOR, axis=1)
    assert np.exp(exact).sum() == pytest.approx(1, abs=1e-5)
    keys, bounds = jax.random.split(KEY, 100), {}
    for num in (1, 5, 50):
        each = np.asarray([model.log_prob_bound(key, state, batch, num_samples=num) for key in keys], np.float64)
        bounds[num] = each.mean(0), each.std(0) / np.sqrt(len(keys))
    for (low, low_error), (high, high_error) in (
        (bounds[1], bounds[5]),
        (bounds[5], bounds[50]),
        (bounds[50], (exact, 0 * exact)),
    ):
        assert (low <= high + 5 * np.hypot(low_error, high_error) + 1e-5).all()
    assert (bounds[1][0] < exact - 1e-3).any()  # the posterior is no Gaussian: there is a gap to close
    np.testing.assert_allclose(bounds[50][0], exact, atol=0.05)
    code = model.encode(KEY, state, batch)
    q = stats.norm.logpdf(GRID[None], *(np.asarray(code[name], np.float64) for name in ("z", "scale")))
    share = np.exp(q) * (GRID[1] - GRID[0])
    elbo = (share * (table + stats.norm.logpdf(GRID) - q)).sum(1)
    assert (np.abs(bounds[1][0] - elbo) <= 5 * bounds[1][1] + 1e-4).all()


@pytest.mark.study
def test_bounds_of_whole_numbers_by_a_gaussian_count_their_bins():
    spec = whole_spec((1, 1, 1), 0, 3, "signed")
    model = vae(spec, NET, NET, {"name": "gaussian"}, latent_size=1)
    batch = {"x": jnp.asarray(to_model(spec, np.arange(4, dtype=np.int16)).reshape(4, 1, 1, 1))}
    state = learn(model, {**batch, "weight": jnp.ones(4)}, 1)
    bounds = np.asarray([model.log_prob_bound(key, state, batch, 2000) for key in jax.random.split(KEY, 20)])
    z = jnp.float32(GRID)[:, None]
    mean, scale = (
        np.asarray(model.decode(KEY, state, {"z": z})["x"]).reshape(-1, 1),
        np.exp(float(state.average["likelihood"]["log_scale"])),
    )
    edges = (np.arange(5) - 2) / 1.5
    p = np.exp(LOG_PRIOR) @ np.diff(stats.norm.cdf((edges[None] - mean) / scale), axis=1)  # of each value's bin
    error = bounds.std(0) / np.sqrt(20)
    assert (bounds.mean(0) <= np.log(p) + 5 * error + 0.02).all()
    np.testing.assert_allclose(bounds.mean(0), np.log(p), atol=0.25)


def changes(model, state, batch, keys):
    """What a step of plain descent changes, for each key: minus the gradients."""
    old = state.params
    step = jax.jit(jax.vmap(lambda key: jax.tree.map(jnp.subtract, model.step(key, state, batch)[0].params, old)))
    return host(step(keys))


@pytest.mark.study
def test_objectives_have_the_same_mean_gradient():
    state = tiny()[1]
    batch, keys = {"x": jnp.asarray(ALL_BITS), "weight": jnp.arange(8.0)}, jax.random.split(KEY, 1000)
    make = partial(vae, BITS, NET, NET, latent_size=1, optimizer=PLAIN, num_samples=16)
    state = state._replace(optimizer=jax.jit(make().init)(KEY, batch).optimizer)
    iwae, dreg = (changes(make(objective=name), state, batch, keys) for name in ("iwae", "dreg"))
    for one, other in zip(jax.tree.leaves(iwae), jax.tree.leaves(dreg)):
        within(one - other, 0, slack=1e-6)
    variances = [sum(leaf.var(0).sum() for leaf in jax.tree.leaves(each["encoder"])) for each in (iwae, dreg)]
    assert variances[1] < 0.7 * variances[0]
    np.testing.assert_allclose(  # the decoder's are the same to the digit
        *(each["decoder"]["params"]["Dense_1"]["bias"] for each in (iwae, dreg)), rtol=1e-3, atol=1e-5
    )


# repair


def joint(posterior, log_likelihood, draw):
    """p(x, z) of one latent, with a Gaussian proposal of it."""

    def log_weight(q, z, x):
        return log_likelihood(z, x).sum(1) + (gaussian_log_prob(z) - gaussian_log_prob(z, *q)).sum(1)

    def propose(q, noise, x):
        z = q[0] + jnp.exp(q[1]) * noise
        return z, log_weight(q, z, x)

    return Joint(1, posterior, propose, log_weight, log_likelihood, draw)


def chain(rows, mask, posterior, sweeps, loading=(2.0, -1.5, 2.5), bias=(0.3, 0.0, -0.5)):
    """`rows` completed by logits loading z + bias, of one latent."""
    loading, bias = jnp.array([loading]), jnp.array([bias])
    likelihood = pixels.bernoulli(BITS)
    out = lambda z: (z * loading + bias)[..., None]
    x = jnp.asarray(rows, jnp.float32)
    parts = joint(
        posterior,
        lambda z, x: likelihood.log_prob({}, out(z), x),
        lambda key, z: likelihood.draw(key, {}, out(z)),
    )
    return repaired(KEY, x, jnp.broadcast_to(jnp.array([mask]), x.shape), sweeps, parts)


@pytest.mark.study
@pytest.mark.parametrize("mask", [(1, 0, 0), (0, 1, 1), (0, 0, 0)])
def test_completions_have_their_probabilities_whatever_the_encoder(mask):
    def wrong(x):
        return 0.9 - 1.1 * x[:, :1] + 0.6 * x[:, 1:2] - 0.4 * x[:, 2:], jnp.full((len(x), 1), -0.1)

    rows = np.tile([[1.0, 0.0, 1.0]], (5000, 1))
    x = np.asarray(jax.jit(partial(chain, mask=mask, posterior=wrong, sweeps=100))(rows))
    seen = np.array(mask, bool)
    assert (x[:, seen] == rows[:, seen]).all()
    logits = GRID[:, None] * np.array([2.0, -1.5, 2.5]) + np.array([0.3, 0.0, -0.5])
    every = ALL_BITS.reshape(8, 3)
    p = np.exp((every[:, None] * logits - np.logaddexp(0, logits)).sum(-1) + LOG_PRIOR).sum(1)  # [8]
    p = np.where((every[:, seen] == rows[:1, seen]).all(1), p, 0)
    p /= p.sum()
    within((x[:, None] == every[None]).all(-1), p)


@pytest.mark.study
def test_repair_does_not_diverge_under_a_poor_encoder():
    """x = 1.2 z + noise, and a posterior's mean of x_1 + x_2: a chain that always took it would grow 1.2 times a sweep."""
    rows, mask = jnp.tile(jnp.array([[0.8, jnp.nan]]), (4000, 1)), jnp.tile(jnp.array([[1, 0]]), (4000, 1))
    parts = joint(
        lambda x: (x.sum(1, keepdims=True), jnp.full((len(x), 1), 0.3)),
        lambda z, x: gaussian_log_prob(x, 1.2 * z),
        lambda key, z: 1.2 * z + jax.random.normal(key, (len(z), 2)),
    )
    x = repaired(KEY, rows, mask, 160, parts)
    assert (x[:, 0] == rows[:, 0]).all()
    slope = 1.44 / 2.44
    within(x[:, 1], slope * 0.8)
    within((x[:, 1] - slope * 0.8) ** 2, 2.44 - 1.44 * slope)


@pytest.mark.study
def test_a_sample_keeps_what_is_given():
    model, state = tiny()
    x = np.tile(ALL_BITS[5], (300, 1, 1, 1))
    mask = np.zeros_like(x)
    mask[:, :, 0] = 1
    hidden = np.where(mask > 0, x, np.nan)
    one = np.asarray(model.sample(KEY, state, 300, {"x": hidden, "mask": mask})["x"])
    assert np.array_equal(one[:, :, 0], x[:, :, 0]) and np.isin(one, (0, 1)).all()
    p = np.exp(special.logsumexp(log_table(model, state) + LOG_PRIOR, axis=1))[4:]  # the first bit is set
    within((one[:, None] == ALL_BITS[None, 4:]).all((-1, -2, -3)), p / p.sum(), slack=1e-3)
    assert len(np.unique(one.reshape(300, -1), axis=0)) > 1
    assert np.array_equal(one, model.sample(KEY, state, 300, {"x": hidden, "mask": mask})["x"])
    means = vae(BITS, NET, NET, latent_size=1, means=True)
    x = np.asarray(means.sample(KEY, state, 300, {"x": hidden, "mask": mask})["x"])
    assert np.array_equal(x[:, :, 0], hidden[:, :, 0]) and 0 < x[:, :, 1:].min() and x[:, :, 1:].max() < 1
    plain = means.sample(KEY, state, 300)["x"]
    latent = means.prior(jax.random.split(KEY)[0], state, 300)
    np.testing.assert_allclose(plain, means.decode(KEY, state, latent)["x"], rtol=1e-6)


def test_given_numbers_that_do_not_fit_are_one_line():
    model, state = tiny()
    x, ones = np.zeros((2, 1, 3, 1)), np.ones((2, 1, 3, 1))
    for given, line in (
        ({"x": x}, "mask is missing"),
        ({"mask": ones}, "x is missing"),
        ({"x": x[:1], "mask": ones}, r"shape of given x is \(1, 1, 3, 1\); expected \(2, 1, 3, 1\)"),
        ({"x": x, "mask": ones[..., 0]}, "shape of given mask"),
        ({"x": x * np.nan, "mask": ones}, "not finite"),
        ({"y": np.zeros(2, int)}, "cannot be conditioned on 'y'"),
    ):
        with pytest.raises(UserError, match=line) as error:
            model.sample(KEY, state, 2, given)
        assert "\n" not in str(error.value)


# options


def vectors(num=32):
    rng = np.random.default_rng(0)
    return {"x": jnp.float32(rng.normal((1.5, -1.0), (0.8, 0.3), (num, 2))), "y": jnp.arange(num) % 3}


VECTOR = make_spec("vector", (2,))._replace(classes=("a", "b", "c"))


def test_without_kl_codes_are_points_and_the_prior_is_fitted_to_them():
    model = vae(VECTOR, NET, NET, latent_size=2, kl=0, optimizer={"name": "sgd", "learning_rate": 0.0})
    assert model.log_prob_bound is None and model.log_prob is None
    state, step, batch = jax.jit(model.init)(KEY, vectors()), jax.jit(model.step), vectors()
    params = jax.tree.map(lambda leaf: leaf, state.params)
    bias = params["encoder"]["params"]["Dense_1"]["bias"]
    params["encoder"]["params"]["Dense_1"]["bias"] = bias + 300.0  # where squares have no digits left for a spread
    state = state._replace(params=params, average=params)
    for half in (slice(0, 16), slice(16, 32)):
        state, _ = step(KEY, state, {"x": batch["x"][half], "weight": jnp.ones(16)})
    codes = model.encode(KEY, state, batch)
    assert not np.any(codes["scale"])
    z = np.float64(codes["z"])
    np.testing.assert_allclose(state.moments[0], z.mean(0), rtol=1e-5)
    np.testing.assert_allclose(state.moments[1], np.cov(z.T, bias=True), rtol=2e-3, atol=1e-3)
    drawn = np.float64(model.prior(KEY, state, 20_000)["z"])
    within(drawn, z.mean(0), slack=1e-3)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(z.T, bias=True), rtol=0.06, atol=0.02)
    with pytest.raises(UserError, match="cannot be conditioned on 'mask'|cannot be conditioned on 'x'"):
        model.sample(KEY, state, 2, {"x": np.zeros((2, 2)), "mask": np.ones((2, 2))})


@pytest.mark.study
def test_the_weight_of_the_kl_follows_its_schedule():
    batch = {**vectors(), "weight": jnp.ones(32)}
    make = partial(vae, VECTOR, NET, NET, latent_size=2, optimizer=PLAIN)
    rising, full = make(kl={"start": 0.0, "stop": 1.0, "examples": 100, "shape": "linear"}), make()
    state = jax.jit(full.init)(KEY, batch)
    step = jax.jit(rising.step)

    def change(step, examples=0):
        new, metrics = step(KEY, state._replace(examples=jnp.int32(examples)), batch)
        flat = [np.ravel(leaf) for leaf in jax.tree.leaves(jax.tree.map(jnp.subtract, new.params, state.params))]
        return np.concatenate(flat), float(metrics["elbo"])

    (none, low), (half, mid), (end, high), (after, _) = (change(step, each) for each in (0, 50, 100, 200))
    np.testing.assert_allclose(half, (none + end) / 2, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(after, end, rtol=1e-5)
    np.testing.assert_allclose(change(jax.jit(full.step))[0], end, rtol=1e-3, atol=1e-4)
    assert np.abs(none - end).max() > 0.01 and low == mid == high  # what is measured has all of it
    free, unclamped = change(jax.jit(make(free_nats=1e3).step))
    np.testing.assert_allclose(free, none, rtol=1e-3, atol=1e-4)  # every KL is below
    assert unclamped == pytest.approx(low, rel=1e-6)


@pytest.mark.study
def test_averaged_weights_score_and_sample():
    model = vae(VECTOR, NET, NET, latent_size=2, optimizer=PLAIN, ema_half_life=32.0)
    batch = {**vectors(), "weight": jnp.ones(32)}
    state = jax.jit(model.init)(KEY, batch)
    new, _ = jax.jit(model.step)(KEY, state, batch)
    for old, now, average in zip(*map(jax.tree.leaves, (state.params, new.params, new.average))):
        np.testing.assert_allclose(average, (old + now) / 2, rtol=1e-5, atol=1e-6)
    other = new._replace(params=jax.tree.map(jnp.zeros_like, new.params))
    assert np.array_equal(model.sample(KEY, new, 3)["x"], model.sample(KEY, other, 3)["x"])
    assert np.array_equal(model.log_prob_bound(KEY, new, batch), model.log_prob_bound(KEY, other, batch))


def test_dropout_is_of_training():
    def metric(net, key):
        model = vae(VECTOR, net, NET, latent_size=2, kl=0)
        batch = {**vectors(), "weight": jnp.ones(32)}
        state = jax.jit(model.init)(KEY, batch)
        code = model.encode(key, state, batch)["z"]
        return float(jax.jit(model.step)(key, state, batch)[1]["log_likelihood"]), np.asarray(code)

    dropped = {**NET, "dropout": (0.0, 0.5)}
    (one, code), (other, same) = (metric(dropped, jax.random.key(seed)) for seed in (1, 2))
    assert one != other and np.array_equal(code, same)
    plain, code = metric(NET, KEY)
    assert plain == metric(NET, jax.random.key(1))[0] and plain not in (one, other) and np.array_equal(code, same)


def test_conditional_bounds_need_labels_and_read_them():
    model = vae(VECTOR, NET, NET, latent_size=2, conditional=True)
    batch = vectors()
    state = learn(model, {**batch, "weight": jnp.ones(32)}, 1)
    other = {**batch, "y": (batch["y"] + 1) % 3}
    assert not np.allclose(model.log_prob_bound(KEY, state, batch), model.log_prob_bound(KEY, state, other))
    code = model.encode(KEY, state, batch)
    assert np.array_equal(code["y"], batch["y"]) and not np.allclose(code["z"], model.encode(KEY, state, other)["z"])
    assert not np.allclose(
        model.decode(KEY, state, code)["x"], model.decode(KEY, state, {**code, "y": other["y"]})["x"]
    )
    given = {"x": np.asarray(batch["x"]), "mask": np.tile([[1, 0]], (32, 1)), "y": np.full(32, 2)}
    sample = model.sample(KEY, state, 32, given)
    assert (sample["y"] == 2).all() and np.array_equal(sample["x"][:, 0], batch["x"][:, 0])
    for function in (model.log_prob_bound, model.encode):
        with pytest.raises(UserError, match="y of the batch is missing"):
            function(KEY, state, {"x": batch["x"]})
        with pytest.raises(UserError, match="expected a class from 0 to 2"):
            function(KEY, state, {**batch, "y": batch["y"] + 1})
    with pytest.raises(UserError, match="num_samples is 0; expected"):
        model.log_prob_bound(KEY, state, batch, num_samples=0)


TEXT = make_spec("text", (5,))
WRONG = {
    "latent_size": (VECTOR, {"latent_size": 0}, "latent_size is 0; expected a whole number"),
    "num_samples": (VECTOR, {"num_samples": 1.5}, "num_samples is 1.5; expected a whole number"),
    "sweeps": (VECTOR, {"sweeps": 0}, "sweeps is 0; expected"),
    "objective": (VECTOR, {"objective": "iwea"}, "Did you mean 'iwae'"),
    "kl": (VECTOR, {"kl": -1.0}, "kl is -1.0; expected 0 or more"),
    "free": (VECTOR, {"free_nats": -1.0}, "free_nats is -1.0; expected 0 or more"),
    "free iwae": (VECTOR, {"free_nats": 1.0, "objective": "iwae"}, "objective 'iwae'; expected 0"),
    "deterministic": (VECTOR, {"kl": 0, "num_samples": 3}, "with kl 0; .* deterministic autoencoder"),
    "schedule": (VECTOR, {"kl": {"start": 0.0, "stop": 1.0}}, "schedule 'schedule' lacks examples"),
    "encoder": (VECTOR, {"encoder": {"name": "cnov"}}, "Did you mean 'conv'"),
    "decoder": (VECTOR, {"decoder": {"name": "mlp", "hiden": 3}}, "Did you mean 'hidden'"),
    "labels": (VECTOR._replace(classes=()), {"conditional": True}, "are missing; .* Set model.conditional=False"),
    "kind": (
        TEXT,
        {},
        "holds text data; expected images, class maps, clips, vectors, spectrograms, spectrograms with phases, sounds of one length, tables",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_one_line(case):
    spec, options, line = WRONG[case]
    with pytest.raises(UserError, match=line) as error:
        vae(spec, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("net", ["encoder", "decoder"])
@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_nets_with_a_state_of_their_own_are_refused(net, norm):
    with pytest.raises(UserError, match="expected norm='none'"):
        vae(VECTOR, **{net: {**NET, "norm": norm}}).init(KEY, vectors())


# the compressor


@pytest.mark.parametrize("low, high, transform", [(0, 1, "none"), (0, 255, "signed"), (10, 265, "unit")])
def test_the_integer_network_says_what_the_vae_says(low, high, transform):
    spec = whole_spec((2, 3, 1), low, high, transform)
    rng = np.random.default_rng(0)
    base = np.array([[0.9, 0.1, 0.6], [0.02, 0.5, 0.97]])[None, ..., None]
    slope = np.array([[0.0, 0.2, -0.3], [0.02, 0.4, 0.03]])[None, ..., None]
    grey = (base + slope * rng.uniform(-1, 1, (64, 1, 1, 1)) + rng.normal(0, 0.02, (64, 2, 3, 1))).clip(0, 1)
    raw = np.int16(np.rint(low + grey * (high - low)))
    options = {"encoder": NET, "decoder": NET, "latent_size": 2, "optimizer": {"name": "adam", "learning_rate": 0.03}}
    model = vae(spec, **options)
    batch = {"x": jnp.asarray(to_model(spec, raw)), "weight": jnp.ones(64)}
    state = learn(model, batch, 60)
    network = model.extras["integer_network"](state)
    mean, scale = integer.posterior(network, raw.reshape(64, -1) - low)
    code = model.encode(KEY, state, batch)
    np.testing.assert_allclose(mean / codec.UNIT, code["z"], atol=0.02)
    np.testing.assert_allclose(np.log(scale / codec.UNIT), np.log(code["scale"]), atol=0.04)
    z = np.rint(rng.normal(size=(5, 2)) * codec.UNIT)
    weights = integer.likelihood(network, z)  # [N, pixels, levels]
    likelihood = pixels.fitting(spec, None)
    net = DECODERS["mlp"]((*spec.shape, likelihood.width), hidden=(8,), activation="relu")
    out = net.apply(state.average["decoder"], jnp.float32(z / codec.UNIT)).reshape(5, 6, -1)
    values = to_model(spec, np.arange(low, high + 1, dtype=np.int16))
    table = np.stack([likelihood.log_prob({}, out, jnp.full((5, 6), value)) for value in values], -1)
    distance = np.abs(weights / weights.sum(-1, keepdims=True) - np.exp(table)).sum(-1) / 2
    assert distance.max() < 0.05
    spread = np.abs(np.exp(table)[:, :, None] - np.exp(table)[:, None]).sum(-1).max() / 2
    assert spread > 0.5  # pixels differ, and so would another order


REFUSED = {  # what cannot be an integer network
    "other net": (GREY, {"encoder": {"name": "conv", "channels": (4,)}}, "the encoder is a ConvEncoder; .*'mlp'"),
    "activation": (GREY, {"decoder": {**NET, "activation": "tanh"}}, "decoder.activation is 'tanh'; expected 'relu'"),
    "maxout": (GREY, {"encoder": {**NET, "pieces": 2}}, "encoder.pieces is 2; expected 1"),
    "output": (GREY, {"encoder": {**NET, "output": "tanh"}}, "encoder.output is 'tanh'; expected 'linear'"),
    "concatenate": (GREY, {"encoder": {**NET, "concatenate": True}}, "encoder.concatenate is True; expected False"),
    "labels": (
        GREY._replace(classes=("a", "b")),
        {"conditional": True},
        "this model cannot compress; expected a vae of .* without conditions",
    ),
    "deterministic": (
        GREY,
        {"kl": 0},
        "this model cannot compress; expected a vae of images of whole numbers, with kl above 0",
    ),
    "vector": (VECTOR, {}, "this model cannot compress; expected a vae of images of whole numbers"),
    "likelihood": (GREY, {"likelihood": {"name": "categorical"}}, "likelihood to compress with 'categorical'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_vae_that_cannot_compress_says_why(case):
    spec, options, line = REFUSED[case]
    model = vae(spec, **{"encoder": NET, "decoder": NET, "latent_size": 2, **options})
    with pytest.raises(UserError, match=line) as error:
        model.extras["integer_network"](model.init(KEY, {}))
    assert "\n" not in str(error.value)


# convolutions

CONV = {"channels": (8, 4), "blocks": 1}


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (8, 8, 1), (12, 8, 2)])
def test_conv_nets_fit_any_side(shape):
    c, encoder = Embedded(jnp.eye(3)[:2]), ENCODERS["conv"]((2, 5), **CONV)
    decoder = DECODERS["conv"]((*shape, 6), **CONV)
    code, _ = jax.eval_shape(lambda x: encoder.init_with_output(KEY, x, c), jnp.zeros((2, *shape)))
    out, _ = jax.eval_shape(lambda z: decoder.init_with_output(KEY, z, c), jnp.zeros((2, 5)))
    assert code.shape == (2, 2, 5) and out.shape == (2, *shape, 6) and out.dtype == jnp.float32


@pytest.mark.study
def test_conv_nets_read_labels_and_learn_everywhere():
    x, labels = jax.random.normal(KEY, (4, 8, 8, 1)), jnp.eye(3)[jnp.arange(4) % 3]
    c, other = Embedded(labels), Embedded(jnp.roll(labels, 1, 1))
    nets = ENCODERS["conv"]((5,), **CONV), DECODERS["conv"]((8, 8, 1, 2), **CONV)

    def loss(params, c):
        z = nets[0].apply(params[0], x, c)
        return jnp.mean(jnp.square(nets[1].apply(params[1], z, c) - x[..., None])), z

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    params = jax.jit(nets[0].init)(KEY, x, c), jax.jit(nets[1].init)(KEY, jnp.zeros((4, 5)), c)
    first, z = gradient(params, c)
    assert not np.allclose(z, gradient(params, other)[1])
    outputs = [nets[1].apply(params[1], jnp.ones((4, 5)), embedded) for embedded in (c, other)]
    assert not np.allclose(*outputs)
    params = jax.tree.map(lambda old, slope: old - 0.1 * slope, params, first)
    for path, leaf in jax.tree.leaves_with_path(gradient(params, c)[0]):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


def test_conv_nets_refuse_sides_they_cannot_halve():
    for shape, line in (((18, 18, 1), "a conv net cannot halve 18x18"), ((2,), "Choose mlp")):
        with pytest.raises(UserError, match=line):
            jax.eval_shape(lambda x: ENCODERS["conv"]((5,)).init(KEY, x), jnp.zeros((2, *shape)))
    with pytest.raises(UserError, match="blocks is -1; expected"):
        jax.eval_shape(lambda x: ENCODERS["conv"]((5,), blocks=-1).init(KEY, x), jnp.zeros((2, 8, 8, 1)))


@pytest.mark.parametrize("loss", [elbo_loss, iwae_loss, reconstruction_loss])
def test_a_loss_is_a_function_that_can_be_differentiated(loss):
    """By hand, without a model: the gradient is that of finite differences along itself."""
    spec = make_spec("image", (4, 4, 1))
    likelihood = pixels.fitting(spec, {"name": "gaussian"})
    nets = build("encoder", ENCODERS, NET, (2, 3)), build("decoder", DECODERS, NET, likelihood.shape)
    made = Autoencoder(*nets, likelihood, spec.shape, 3, num_samples=2)
    x = jax.random.normal(jax.random.key(1), (6, 4, 4, 1))
    params = jax.jit(partial(vae_init, made, lambda examples: optax.sgd(0.1)))(jax.random.key(0), {"x": x}).params

    @jax.jit
    def value(params):
        return loss(made, params, jax.random.key(2), {"x": x}, 0.5)[0]

    gradient = host(jax.jit(jax.grad(value))(params))
    length = jax.jit(optax.tree.norm)(gradient)
    way = jax.tree.map(lambda leaf: leaf * (0.01 / length), gradient)
    rise = value(optax.tree.add(params, way)) - value(optax.tree.sub(params, way))
    assert length > 0.1 and np.isclose(rise, 0.02 * length, rtol=0.02)
