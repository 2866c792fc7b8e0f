"""A hierarchical autoencoder: the sums of its KLs, its bounds, its latents and their path, repair, what it refuses."""

from functools import lru_cache, partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import host, make_spec

from gen_jax.conditions import Conditions
from gen_jax.distributions import pixels
from gen_jax.distributions.multivariate_normal import gaussian_kl, gaussian_log_prob
from gen_jax.errors import UserError
from gen_jax.models.ladder import Ladder, decode, elbo_loss, encode, ladder, propose, retrace
from gen_jax.models.ladder import init as ladder_init
from gen_jax.models.latent_variable import layer_kl
from gen_jax.nets.ladder import mlp_ladder

KEY = jax.random.key(0)
BITS = make_spec("vector", (4,))._replace(dtype="uint8", low=0, high=1, classes=("a", "b"))
SEEN = np.array([0, 3, 12, 15])
NET = {"name": "mlp", "latents": (1, 1, 1), "hidden": (6,)}
OUTCOMES = jnp.asarray(np.indices((2,) * 4).reshape(4, -1).T, jnp.float32)  # [16, 4]
TARGET = {"x": jnp.repeat(OUTCOMES[SEEN], 16, 0), "y": jnp.arange(64) % 2, "weight": jnp.ones(64)}
tiny = partial(ladder, BITS, NET, sweeps=30)


@lru_cache
def learnt(steps: int = 200, free_nats: float = 0.0):
    """A model of four patterns of bits, its state after so many steps, and the metrics of the last."""
    model = adam_model(free_nats)
    state, step, metrics = jax.jit(model.init)(KEY, TARGET), jax.jit(model.step), {}
    for each in range(steps):
        state, metrics = step(jax.random.fold_in(KEY, each), state, TARGET)
    return model, state, metrics


@lru_cache
def adam_model(free_nats: float):
    return tiny(optimizer={"name": "adam", "learning_rate": 0.02}, free_nats=free_nats)


@lru_cache
def log_prob() -> np.ndarray:
    """log p(x) of all outcomes [16] by what the learnt model says of 2^18 latents, each drawn layer after layer."""
    model, state, _ = learnt()
    z = jax.random.normal(jax.random.key(1), (2**18, 3))
    mean = jnp.clip(model.decode(KEY, state, {"z": z})["x"], 1e-7, 1 - 1e-7)
    log_x = OUTCOMES @ jnp.log(mean).T + (1 - OUTCOMES) @ jnp.log1p(-mean).T  # [16, K]
    return np.asarray(jax.nn.logsumexp(log_x, axis=1) - np.log(len(z)))


def strayed(params):
    """Weights of heads that are not zero."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(KEY, len(leaves))
    return jax.tree.unflatten(tree, [x + 0.3 * jax.random.normal(key, x.shape) for key, x in zip(keys, leaves)])


@pytest.mark.study
def test_kl_is_the_mean_of_log_q_over_p_along_the_sampled_path():
    """In the latents' own coordinates, z_l = mean_l + scale_l eps_l, by Gaussians that a Python loop puts together."""
    nets, num = mlp_ladder((4, 1), latents=(1, 2, 3), hidden=(6,)), 20_000
    features, up = jax.jit(nets.up.init_with_output)(KEY, OUTCOMES[5:6])
    down = jax.jit(nets.down.init)(KEY, jnp.zeros((1, 6)), features)
    down = jax.jit(strayed)(down)
    features = jax.jit(nets.up.apply)(up, jnp.tile(OUTCOMES[5], (num, 1)))
    noise = jax.random.normal(KEY, (num, 6))
    (_, eps, mean, log_scale), seen = jax.jit(
        lambda: nets.down.apply(
            down, noise, features, capture_intermediates=lambda module, _: module.name in ("prior", "latent")
        )
    )()
    kl, ends = gaussian_kl(mean, log_scale), (0, 1, 3, 6)
    for layer, (start, end) in enumerate(pairwise(ends), 1):
        heads = seen["intermediates"][f"layer_{layer}"]
        p_mean, p_raw = jnp.split(heads["prior"]["__call__"][0], 2, -1)
        p_log_scale, part = 5 * jnp.tanh(p_raw / 5), slice(start, end)
        q_mean, q_log_scale = p_mean + jnp.exp(p_log_scale) * mean[:, part], p_log_scale + log_scale[:, part]
        z = q_mean + jnp.exp(q_log_scale) * noise[:, part]
        weights = down["params"][f"layer_{layer}"]["latent"]
        into = heads["latent"]["__call__"][0]
        np.testing.assert_allclose(z @ weights["kernel"] + weights["bias"][None], into, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(
            kl[:, part], gaussian_kl(q_mean, q_log_scale, p_mean, p_log_scale), rtol=1e-3, atol=1e-4
        )
        ratio = gaussian_log_prob(z, q_mean, q_log_scale) - gaussian_log_prob(z, p_mean, p_log_scale)  # of log q / p
        difference = np.asarray((ratio - kl[:, part]).sum(1), np.float64)
        assert kl[:, part].sum(1).mean() > 0.01
        assert abs(difference.mean()) < 4 * difference.std() / num**0.5
    np.testing.assert_allclose(eps, mean + jnp.exp(log_scale) * noise, rtol=1e-5, atol=1e-6)


@pytest.mark.study
def test_more_samples_tighten_the_bound_up_to_the_likelihood():
    """All outcomes, of which those never learnt from have loose bounds; the likelihood of the others is known well."""
    model, state, _ = learnt()
    rows = {"x": jnp.tile(OUTCOMES, (64, 1))}
    bounds = [np.asarray(model.log_prob_bound(KEY, state, rows, num)).reshape(64, 16).mean(0) for num in (1, 5, 50)]
    assert bounds[0].mean() < bounds[1].mean() < bounds[2].mean()
    exact = log_prob()[SEEN]
    assert bounds[0][SEEN].mean() < exact.mean() + 0.01
    np.testing.assert_allclose(bounds[2][SEEN], exact, atol=0.05)


@pytest.mark.study
def test_samples_have_the_probabilities_of_the_likelihood():
    model, state, _ = learnt()
    drawn = np.asarray(model.sample(KEY, state, 8000)["x"]) @ np.array([8, 4, 2, 1])
    share = np.bincount(drawn.astype(int), minlength=16) / 8000
    np.testing.assert_allclose(share, np.exp(log_prob()), atol=0.02)


def test_decoding_a_drawn_latent_is_the_generative_path():
    model, state = tiny(means=True), learnt()[1]
    prior_key, _ = jax.random.split(KEY)
    decoded = model.decode(KEY, state, model.prior(prior_key, state, 8))["x"]
    assert np.array_equal(decoded, model.sample(KEY, state, 8)["x"])


@pytest.mark.study
def test_codes_are_the_posterior_means_given_the_means_above():
    model, state, _ = learnt()
    latent = model.encode(KEY, state, {"x": OUTCOMES})
    assert latent["z"].shape == latent["scale"].shape == (16, 3) and (latent["scale"] > 0).all()
    again = model.decode(KEY, state, latent)["x"]
    np.testing.assert_allclose(np.asarray(again)[SEEN], np.asarray(OUTCOMES)[SEEN], atol=0.2)
    nets = mlp_ladder((4, 1), latents=(1, 1, 1), hidden=(6,))
    features = nets.up.apply(state.average["up"], OUTCOMES)
    z = jnp.zeros((16, 3))
    for _ in range(3):  # each pass settles one more layer
        _, _, z, _ = nets.down.apply(state.average["down"], z, features, fixed=True)
    np.testing.assert_allclose(latent["z"], z, rtol=1e-5, atol=1e-6)


def test_posterior_is_the_prior_at_first():
    model, state, _ = learnt(0)
    latent = model.encode(KEY, state, {"x": OUTCOMES})
    assert np.array_equal(latent["z"], np.zeros((16, 3))) and np.array_equal(latent["scale"], np.ones((16, 3)))


@pytest.mark.study
def test_every_layer_is_used_with_free_bits():
    metrics = {name: float(value) for name, value in learnt(free_nats=0.1)[2].items()}
    assert all(metrics[f"kl_{layer}"] > 0.05 for layer in (1, 2, 3))
    assert metrics["kl"] == pytest.approx(sum(metrics[f"kl_{layer}"] for layer in (1, 2, 3)), rel=1e-5)
    assert metrics["elbo"] == pytest.approx(metrics["log_likelihood"] - metrics["kl"], rel=1e-5)


@pytest.mark.study
def test_free_bits_and_the_weight_of_the_kl_leave_the_elbo_and_change_the_step():
    """With sgd a step is linear in the weight: half way up it lies between a step without a KL and one with all of it."""
    _, state, _ = learnt()
    warm = {"start": 0.0, "stop": 1.0, "examples": 100, "shape": "linear"}
    models = [
        tiny(optimizer={"name": "sgd", "learning_rate": 0.1}, **each) for each in ({"free_nats": 50.0}, {"kl": warm})
    ]
    state = state._replace(optimizer=jax.eval_shape(models[0].init, KEY, TARGET).optimizer)  # holds no arrays
    free = jax.jit(models[0].step)(KEY, state, TARGET)
    step = jax.jit(models[1].step)
    none, half, full = (step(KEY, state._replace(examples=jnp.int32(seen)), TARGET) for seen in (0, 50, 200))
    for other in (free, none, half):
        assert float(full[1]["elbo"]) == pytest.approx(float(other[1]["elbo"]), rel=1e-6)
        assert float(full[1]["gradient_norm"]) != pytest.approx(float(other[1]["gradient_norm"]), rel=1e-3)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), none[0].params, free[0].params)
    for low, middle, high in zip(*(jax.tree.leaves(each[0].params) for each in (none, half, full))):
        np.testing.assert_allclose(middle, (low + high) / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.study
def test_clipping_and_averages_are_honoured():
    model = tiny(optimizer={"name": "sgd", "learning_rate": 1.0, "clip_norm": 0.01}, ema_half_life=64.0)
    before = jax.jit(model.init)(KEY, TARGET)
    after, metrics = jax.jit(model.step)(KEY, before, TARGET)
    moved = jax.tree.map(jnp.subtract, after.params, before.params)
    assert metrics["gradient_norm"] > 0.01
    assert float(sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(moved))) ** 0.5 == pytest.approx(0.01, rel=1e-3)
    for old, new, average in zip(*(jax.tree.leaves(each) for each in (before.params, after.params, after.average))):
        np.testing.assert_allclose(average, (old + new) / 2, rtol=1e-5, atol=1e-7)


@pytest.mark.study
def test_repair_draws_what_is_hidden_given_what_is_observed():
    model, state, _ = learnt()
    x, mask = np.tile([0.0, 0, 1, 0], (2000, 1)), np.tile([1, 0, 1, 0], (2000, 1))
    drawn = np.asarray(model.sample(KEY, state, 2000, {"x": x, "mask": mask})["x"])
    assert (drawn[:, 0] == 0).all() and (drawn[:, 2] == 1).all()
    fits = np.flatnonzero((np.asarray(OUTCOMES[:, 0]) == 0) & (np.asarray(OUTCOMES[:, 2]) == 1))
    exact = np.exp(log_prob()[fits])
    found = [np.all(drawn == np.asarray(OUTCOMES[each]), axis=1).mean() for each in fits]
    np.testing.assert_allclose(found, exact / exact.sum(), atol=0.04)


def by_hand(free_nats=0.0):
    """A ladder of vectors of three real numbers whose heads are not zero, its weights, and a batch."""
    spec = make_spec("vector", (3,))
    likelihood = pixels.fitting(spec, {"name": "gaussian"})
    up, down, sizes = mlp_ladder(likelihood.shape, Conditions(2), (1, 2), (6,))
    nets = Ladder(up, down, likelihood, spec.shape, sizes, conditions=Conditions(2), free_nats=free_nats)
    batch = {
        "x": jax.random.normal(jax.random.key(1), (6, 3)),
        "y": jnp.arange(6) % 2,
        "weight": jnp.float32([1, 1, 1, 1, 1, 0]),
    }
    params = jax.jit(partial(ladder_init, nets, lambda seen: optax.sgd(0.1)))(KEY, batch).params
    return nets, host(jax.jit(strayed)(params)), batch


@pytest.mark.study
@pytest.mark.parametrize("free_nats", [0.0, 50.0])
def test_the_loss_is_a_function_that_can_be_differentiated(free_nats):
    """By hand, without a model: its gradient is that of finite differences, in each net by itself."""
    nets, params, batch = by_hand(free_nats)
    value = jax.jit(lambda params: elbo_loss(nets, params, jax.random.key(2), batch, 0.5)[0])
    gradient, norm = host(jax.jit(jax.grad(value))(params)), jax.jit(optax.tree.norm)
    for part in params:
        length = np.asarray(norm(gradient[part]))
        way = optax.tree.scale(0.005 / length, gradient[part])
        up = {**params, part: optax.tree.add(params[part], way)}
        down = {**params, part: optax.tree.sub(params[part], way)}
        assert length > 0.05, part
        assert float(value(up) - value(down)) == pytest.approx(0.01 * float(length), rel=0.02), part


@pytest.mark.study
def test_the_loss_is_the_formula_on_the_path_of_its_latents():
    nets, params, batch = by_hand()
    loss, metrics = elbo_loss(nets, params, jax.random.key(2), batch, 0.5)
    noise = jax.random.normal(jax.random.split(jax.random.key(2))[0], (6, 3))
    c = {"y": batch["y"]}
    features = encode(nets, params, batch["x"], c)
    proposal = propose(nets, params, features, noise, c)
    z, mean, log_scale, out = proposal
    np.testing.assert_allclose(z, mean + np.exp(log_scale) * noise, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(decode(nets, params, z, c), out, rtol=1e-5, atol=1e-6)
    again = retrace(nets, params, features, z, c)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), again, proposal)
    log_x = gaussian_log_prob(batch["x"], out[..., 0], params["likelihood"]["log_scale"]).sum(1)
    kl = 0.5 * (np.exp(2 * log_scale) + mean**2 - 1) - log_scale  # [6, 3]
    layers = np.stack([kl[:, 0], kl[:, 1] + kl[:, 2]], 1)
    np.testing.assert_allclose(layer_kl((1, 2), proposal), layers, rtol=1e-5, atol=1e-6)
    rows = slice(0, 5)  # the last one is padding
    expected = {
        "log_likelihood": log_x[rows].mean(),
        "elbo": (log_x - layers.sum(1))[rows].mean(),
        "kl": layers.sum(1)[rows].mean(),
        "kl_1": layers[rows, 0].mean(),
        "kl_2": layers[rows, 1].mean(),
    }
    assert metrics.keys() == expected.keys()
    for name, nats in expected.items():
        assert float(metrics[name]) == pytest.approx(float(nats), rel=1e-4), name
    assert float(loss) == pytest.approx(float(0.5 * expected["kl"] - expected["log_likelihood"]), rel=1e-4)


def test_a_conditional_model_needs_labels_to_score():
    with pytest.raises(UserError, match="y of the batch is missing"):
        tiny(conditional=True).log_prob_bound(KEY, None, {"x": OUTCOMES})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"net": {"name": "rnn"}}, "unknown ladder 'rnn'"),
        ({"net": {"name": "mlp", "latents": ()}}, "latents of a ladder are missing"),
        ({"net": {"name": "mlp", "latents": (4, 0)}}, "latents is 0"),
        ({"net": {"name": "conv"}}, "for images"),
        ({"kl": 0}, "kl is 0; expected more than 0"),
        ({"free_nats": -1}, "free_nats is -1"),
        ({"sweeps": 0}, "sweeps is 0"),
        ({"likelihood": {"name": "gaussian"}}, "expected bernoulli"),
        ({"spec": make_spec("text", (4,))}, "holds text data"),
        ({"spec": BITS._replace(classes=()), "conditional": True}, "expected labels or a condition"),
        ({"spec": make_spec("image", (8, 8, 1)), "net": {"name": "conv", "layers": (1, 1, 1)}}, "layers"),
        ({"spec": make_spec("image", (8, 8, 1)), "net": {"name": "conv", "layers": (0, 0)}}, "expected some"),
    ],
)
def test_mistakes_are_one_line(options, message):
    with pytest.raises(UserError, match=message) as found:
        ladder(**{"spec": BITS, "net": NET, **options})
    assert "\n" not in str(found.value)
