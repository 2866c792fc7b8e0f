"""Vector quantisation against brute force, and a prior over codes against all the grids there are."""

from functools import cache, partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import host, make_spec
from scipy.stats import chisquare

from gen_jax.conditions import NONE, Conditions
from gen_jax.distributions import pixels
from gen_jax.errors import UserError
from gen_jax.losses import quantise
from gen_jax.losses.quantise import Codebook
from gen_jax.models.vqvae import Vqvae, decode_draw, decode_mean, loss, nearest_codes, vqvae
from gen_jax.models.vqvae import init as vqvae_init
from gen_jax.nets import GRID_DECODERS, GRID_ENCODERS
from gen_jax.nets.raster import Raster, draw_codes
from gen_jax.nets.recurrent import Recurrent
from gen_jax.registry import build

KEY = jax.random.key(0)
SPEC = make_spec("image", (2, 2, 1))._replace(dtype="uint8", low=0, high=1, classes=("a", "b"))
GRIDS = np.array([*product(range(3), repeat=2)], np.int32).reshape(-1, 2, 1)
NET = {"name": "conv", "channels": (4,), "blocks": 0}


def random(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def raster(height=2, width=1, classes=0):
    net = Raster(Recurrent("gru", 8), 3, height, width, Conditions(classes))
    params = jax.jit(net.init)(
        KEY, jnp.zeros((1, height, width), jnp.int32), {"y": jnp.zeros(1, jnp.int32)} if classes else None
    )
    return net, jax.tree.map(lambda leaf: 3 * leaf, params)


def log_prob(net, params, codes, y=None):
    """Nats of each code of grids, which lead."""
    logits = jax.nn.log_softmax(net.apply(params, jnp.asarray(codes), y))
    return np.asarray(jnp.take_along_axis(logits, jnp.asarray(codes)[..., None], -1)[..., 0], np.float64)


def test_nearest_codes_are_those_of_brute_force():
    z, e = random(5, 2, 2, 3), random(7, 3)
    expected = np.square(z[..., None, :] - e).sum(-1).argmin(-1)
    assert np.array_equal(quantise.nearest(z, e), expected)


def test_straight_through_has_the_value_of_the_code_and_its_gradient():
    z, e = random(4, 3), random(4, 3) + 1
    np.testing.assert_allclose(quantise.straight_through(z, e), e, rtol=1e-6)
    got = jax.grad(lambda z: jnp.sin(quantise.straight_through(z, e)).prod())(z)
    np.testing.assert_allclose(got, jax.grad(lambda e: jnp.sin(e).prod())(e), rtol=1e-4, atol=1e-7)


def test_a_codebook_moves_by_the_formula_and_smoothing_is_not_written_back():
    before = Codebook(np.array([2, 0, 1], np.float32), random(3, 2))
    z, codes, weight = random(4, 2), np.array([0, 0, 2, 1]), np.array([1, 1, 1, 0], np.float32)
    after = quantise.moved(before, 0.9, z, codes, weight)
    np.testing.assert_allclose(after.counts, [0.9 * 2 + 0.1 * 2, 0, 0.9 + 0.1], rtol=1e-6)
    sums = 0.9 * before.sums + 0.1 * np.stack([z[0] + z[1], np.zeros(2), z[2]])
    np.testing.assert_allclose(after.sums, sums, rtol=1e-5)
    smoothed = np.asarray(quantise.smoothed(after.counts))
    expected = (after.counts + 1e-5) / (3 + 3e-5) * 3
    np.testing.assert_allclose(smoothed, expected, rtol=1e-5)
    assert smoothed.sum() == pytest.approx(3, rel=1e-6) and smoothed.min() > 0
    np.testing.assert_allclose(quantise.vectors(after)[0], sums[0] / expected[0], rtol=1e-5)


def test_a_dead_code_begins_anew_and_the_others_stay():
    before, new = Codebook(np.array([4.0, 0.001, 2, 2], np.float32), random(4, 2)), random(4, 2)
    after = quantise.restarted(before, 0.1, new)
    for each in (0, 2, 3):
        assert after.counts[each] == before.counts[each] and np.array_equal(after.sums[each], before.sums[each])
    np.testing.assert_allclose(quantise.vectors(after)[1], new[1], rtol=1e-4)
    never = quantise.restarted(before, 0.0, new)
    assert np.array_equal(never.counts, before.counts) and np.array_equal(never.sums, before.sums)


def test_new_codes_are_different_vectors_and_never_padding():
    z, weight = np.arange(12, dtype=np.float32)[:, None], np.repeat([1, 0], [8, 4]).astype(np.float32)
    drawn = np.asarray(quantise.draw_vectors(KEY, z, weight, 8))
    assert sorted(drawn[:, 0]) == list(range(8))
    assert np.array_equal(quantise.draw_vectors(KEY, z[:8], weight[:8], 5), quantise.draw_vectors(KEY, z, weight, 5))


def test_perplexity_counts_codes_in_even_use():
    weight = np.ones(12, np.float32)
    assert float(quantise.perplexity(np.arange(12) % 6, weight, 6)) == pytest.approx(6, rel=1e-5)
    assert float(quantise.perplexity(np.full(12, 3), weight, 6)) == pytest.approx(1)
    assert float(quantise.perplexity(np.arange(12) % 2, weight * (np.arange(12) < 1), 6)) == pytest.approx(1)


def test_the_prior_reads_no_later_code_and_sums_to_one():
    net, params = raster(2, 2)
    grids = np.array([*product(range(3), repeat=4)], np.int32).reshape(-1, 2, 2)
    nats = log_prob(net, params, grids).reshape(81, 4)
    assert np.exp(nats.sum(1)).sum() == pytest.approx(1, abs=1e-5)
    flat = grids.reshape(81, 4)
    for place in range(4):
        for start in {tuple(row) for row in flat[:, : place + 1]}:
            same = nats[(flat[:, : place + 1] == start).all(1), place]
            np.testing.assert_allclose(same, same[0], atol=1e-6)
        assert np.ptp(nats[:, place]) > 0.01  # but those before


def test_drawn_codes_have_the_probabilities_that_are_scored():
    net, params = raster(classes=2)
    for label in (0, 1):
        share = np.exp(log_prob(net, params, GRIDS, {"y": jnp.full(9, label)}).sum((1, 2)))
        drawn = np.asarray(draw_codes(net, KEY, params, {"y": jnp.full(4000, label)}, 4000))
        seen = np.bincount(drawn[:, 0, 0] * 3 + drawn[:, 1, 0], minlength=9)
        assert chisquare(seen, 4000 * share / share.sum()).pvalue > 1e-3


@cache
def learnt(conditional=False):
    """A model of four bits whose grid has four codes, after some steps, and what it learnt from."""
    options = {"encoder": NET, "decoder": NET, "codebook_size": 3, "code_size": 2, "conditional": conditional}
    model = vqvae(SPEC, **options, prior={"name": "gru", "units": 4})
    x = (np.random.default_rng(0).random((16, 2, 2, 1)) < 0.5).astype(np.float32)
    batch = {"x": x, "y": np.arange(16) % 2}
    state, step = jax.jit(model.init)(KEY, batch), jax.jit(model.step)
    for number in range(5):
        state, metrics = step(jax.random.fold_in(KEY, number), state, batch)
    return model, state, batch, metrics


def test_the_bound_is_below_the_exact_log_prob_by_all_codes():
    model, state, batch, metrics = learnt()
    height, width = model.encode(KEY, state, batch)["z"].shape[1:]
    grids = np.array([*product(range(3), repeat=height * width)], np.int32).reshape(-1, height, width)
    net = Raster(Recurrent("gru", 4), 3, height, width, NONE)
    prior = log_prob(net, state.params["prior"], grids).sum((1, 2))
    p = np.asarray(model.decode(KEY, state, {"z": grids})["x"], np.float64)[:, None]  # [81, 1, 2, 2, 1]
    likely = np.log(np.where(batch["x"] > 0, p, 1 - p)).sum((2, 3, 4)) + prior[:, None]  # [81, 16]
    exact, bound = np.logaddexp.reduce(likely, 0), np.asarray(model.log_prob_bound(KEY, state, batch))
    assert (bound < exact + 1e-5).all() and bound.mean() < exact.mean() - 1e-4
    index = (grids[:, None] == np.asarray(model.encode(KEY, state, batch)["z"])).all((2, 3)).argmax(0)
    np.testing.assert_allclose(bound, likely[index, np.arange(16)], rtol=1e-4)
    np.testing.assert_array_equal(bound, model.log_prob_bound(KEY, state, batch, num_samples=7))
    metrics = {name: float(value) for name, value in metrics.items()}
    assert metrics["bound"] == pytest.approx(metrics["log_likelihood"] - metrics["nats_of_codes"], rel=1e-5)
    assert 1 <= metrics["perplexity"] <= 3 and 0 <= metrics["used"] <= 1


def test_the_first_codebook_is_of_vectors_of_the_batch():
    model, _, batch, _ = learnt()
    state = jax.jit(model.init)(KEY, batch)
    metrics = jax.jit(model.step)(KEY, state, batch)[1]
    assert float(metrics["used"]) == 1 and float(metrics["commitment"]) < 10


def by_hand():
    """An autoencoder of images 4 x 4 of real numbers with grids 2 x 2 of five codes, its state, and a batch."""
    spec = make_spec("image", (4, 4, 1))
    likelihood = pixels.fitting(spec, {"name": "gaussian"})
    encoder = build("encoder", GRID_ENCODERS, NET, 3, 2)
    decoder = build("decoder", GRID_DECODERS, NET, likelihood.shape, 2)
    prior = Raster(Recurrent("gru", 4), 5, 2, 2, Conditions(2))
    nets = Vqvae(encoder, decoder, prior, likelihood, spec.shape, 5, 3, conditions=Conditions(2), commitment=0.7)
    batch = {
        "x": jax.random.normal(jax.random.key(1), (6, 4, 4, 1)),
        "y": jnp.arange(6) % 2,
        "weight": jnp.float32([1, 1, 1, 1, 1, 0]),
    }
    sgd = optax.sgd(0.1)
    init = jax.jit(partial(vqvae_init, nets, {"images": lambda seen: sgd, "prior": lambda seen: sgd}))
    return nets, init(KEY, batch), batch


@pytest.mark.parametrize("first", [True, False])
def test_the_loss_is_a_function_that_can_be_differentiated(first):
    """The formula of the paper, whose codes and offsets e - z stand still: the encoder's gradient is straight-through."""
    nets, state, batch = by_hand()
    start = host(state.params)
    function = jax.jit(jax.value_and_grad(partial(loss, nets), has_aux=True))
    (value, terms), gradient = function(start, KEY, batch, state.codebook, first)
    codes = terms.codes.reshape(6, 2, 2)
    e = (terms.codebook.sums / terms.codebook.counts[:, None])[codes]
    encode = lambda params: nets.encoder.apply(params["images"]["encoder"], batch["x"])
    offset = e - jax.jit(encode)(start)

    @jax.jit
    def formula(params):
        z = encode(params)
        mean = nets.decoder.apply(params["images"]["decoder"], z + offset)[..., 0]
        log_scale = params["images"]["likelihood"]["log_scale"]
        log_x = -0.5 * jnp.square((batch["x"] - mean) / jnp.exp(log_scale)) - log_scale - 0.5 * np.log(2 * np.pi)
        logits = jax.nn.log_softmax(nets.prior.apply(params["prior"], codes, {"y": batch["y"]}))
        log_codes = jnp.take_along_axis(logits, codes[..., None], -1)
        distance = jnp.square(z - e)
        parts = (-log_x[:5], -log_codes[:5], 0.7 * distance[:5])  # the last row is padding
        return sum(part.sum() for part in parts) / 5

    assert float(value) == pytest.approx(float(formula(start)), rel=1e-4)
    gradient, expected = host(gradient), host(jax.jit(jax.grad(formula))(start))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), gradient, expected)
    norm = jax.jit(optax.tree.norm)
    for part in ("encoder", "decoder", "likelihood", "prior"):
        chosen = jax.tree.map_with_path(
            lambda path, leaf, part=part: leaf if f"['{part}']" in jax.tree_util.keystr(path) else np.zeros_like(leaf),
            gradient,
        )
        length = np.asarray(norm(chosen))
        way = optax.tree.scale(0.01 / length, chosen)
        rise = formula(optax.tree.add(start, way)) - formula(optax.tree.sub(start, way))
        assert length > 0.05, part
        assert float(rise) == pytest.approx(0.02 * float(length), rel=0.02), part


@pytest.mark.study
def test_codes_decode_to_a_mean_and_to_draws_around_it():
    nets, state, batch = by_hand()
    latent = {"z": jnp.tile(nearest_codes(nets, state, batch["x"])[:1], (2000, 1, 1)), "y": jnp.arange(2000) % 2}
    mean = decode_mean(nets, KEY, state, latent)
    drawn = decode_draw(nets, KEY, state, latent)
    assert np.array_equal(mean["y"], latent["y"]) and np.array_equal(drawn["y"], latent["y"])
    error = np.asarray(drawn["x"] - mean["x"], np.float64)
    assert np.abs(error.mean(0)).max() < 5 / 2000**0.5
    np.testing.assert_allclose(error.std(0), 1, atol=0.1)  # the scale before the first step


def test_errors_are_one_line():
    model, state, batch, _ = learnt()
    image, bad = SPEC, np.full((1, 2, 2), 3)
    for message, call in {
        "holds vector data; expected images": lambda: vqvae(make_spec("vector", (2,))),
        "are missing; .* Set model.conditional=False": lambda: vqvae(image._replace(classes=()), conditional=True),
        "codebook_size is 0; expected a whole number": lambda: vqvae(image, codebook_size=0),
        "decay is 1; expected from 0 to below 1": lambda: vqvae(image, decay=1),
        "commitment is -1": lambda: vqvae(image, commitment=-1),
        "unknown encoder 'cnv'; expected .*Did you mean 'conv'": lambda: vqvae(image, encoder={"name": "cnv"}),
        "unknown prior 'gruu'; expected .*Did you mean 'gru'": lambda: vqvae(image, prior={"name": "gruu"}),
        "cannot be conditioned on 'x'": lambda: model.sample(KEY, state, 1, {"x": bad, "mask": bad}),
        "latent z is .*; expected codes": lambda: model.decode(KEY, state, {"z": bad}),
        "num_samples is 0": lambda: model.log_prob_bound(KEY, state, batch, num_samples=0),
        "y of the batch is missing": lambda: learnt(True)[0].log_prob_bound(KEY, state, {"x": batch["x"]}),
    }.items():
        with pytest.raises(UserError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
