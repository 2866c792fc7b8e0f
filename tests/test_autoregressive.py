"""Recurrent nets: the contract of every cell, cells against Flax's, heads by enumeration, lanes, and draws."""

import re
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import host, make_spec
from jax.experimental import rnn as cudnn
from jax.test_util import check_grads

import gen_jax
from gen_jax import sample, train
from gen_jax.conditions import NONE
from gen_jax.distributions.frames import Choice, draw_token, fitting
from gen_jax.errors import UserError
from gen_jax.metrics.features import real_data
from gen_jax.metrics.sequences.timegan import discriminative_score, predictive_score
from gen_jax.models.autoregressive import AutoregressiveNet, autoregressive, first_lanes, next_frame_loss
from gen_jax.models.autoregressive import init as first_state
from gen_jax.models.markov import markov
from gen_jax.nets.cells import CELLS, Linear, unroll_gated
from gen_jax.nets.embedding import Embedded
from gen_jax.nets.predictor import Predictor
from gen_jax.nets.rcgan import RecurrentDiscriminator, RecurrentGenerator
from gen_jax.nets.recurrent import Recurrent, evened
from gen_jax.storage import loading
from gen_jax.verbs import draw
from gen_jax.verbs.score import make_scorer

KEY = jax.random.key(0)
B, T, D, H = 3, 6, 4, 5
LENGTH = np.array([6, 3, 1])
LINEAR = [name for name, cell in CELLS.items() if isinstance(cell, Linear)]
BLOCKS = {"residual": True, "norm": "rms", "feedforward": 2}
every_cell = pytest.mark.parametrize("cell", CELLS)
SGD = {"name": "sgd", "learning_rate": 0.0}


def tokens_spec(values: int = 3, length: int = 5):
    return make_spec("text", (length,))._replace(info={"vocabulary": list("abcdefgh"[:values])})


@lru_cache
def prepared(cell: str, **options):
    """A net of two layers, its weights, what it carries, and frames."""
    net = Recurrent(cell, H, 2, **options)
    carry = jax.tree.map(lambda zeros: jax.random.normal(KEY, zeros.shape), net.init_carry(B))
    x = jax.random.normal(jax.random.key(1), (B, T, D))
    params = jax.jit(partial(net.init, method="unroll"))(KEY, carry, x)
    return net, params, carry, x, jax.jit(partial(net.apply, method="unroll"))


def by_steps(net, params, carry, x, length=LENGTH):
    """h and the last carry, frame by frame, with what a length means written out."""
    step, found = jax.jit(partial(net.apply, method="step")), []
    for time in range(x.shape[1]):
        new, h = step(params, carry, x[:, time])
        valid = jnp.asarray(time < length)[:, None]
        carry = jax.tree.map(lambda n, o: jnp.where(valid, n, o), new, carry)  # noqa: B023
        found.append(jnp.where(valid, h, 0))
    return carry, jnp.stack(found, 1)


@every_cell
def test_one_pass_is_its_steps_and_its_chunks(cell):
    net, params, carry, x, unroll = prepared(cell)
    for length in (np.full(B, T), LENGTH):
        whole = unroll(params, carry, x, length)
        chex.assert_trees_all_close(whole, by_steps(net, params, carry, x, length), atol=2e-6)
    half, first = unroll(params, carry, x[:, :2])
    last, second = unroll(params, half, x[:, 2:])
    chex.assert_trees_all_close((last, jnp.concatenate([first, second], 1)), unroll(params, carry, x), atol=2e-6)
    anew = unroll(params, carry, x, None, np.array([True, False, True]))[1]
    chex.assert_trees_all_close(anew[1:2], unroll(params, carry, x)[1][1:2], atol=2e-6)
    chex.assert_trees_all_close(anew[::2], unroll(params, net.init_carry(B), x)[1][::2], atol=2e-6)


@every_cell
def test_no_output_knows_what_comes_later(cell):
    _, params, carry, x, unroll = prepared(cell)
    before, after = (unroll(params, carry, each)[1] for each in (x, x.at[:, 3].add(1)))
    assert np.array_equal(before[:, :3], after[:, :3])
    assert np.all(np.abs(before - after)[:, 3:].max(-1) > 0)


@every_cell
def test_gradients_are_those_of_the_steps(cell):
    net, params, carry, x, _ = prepared(cell)
    weights = jax.random.normal(jax.random.key(2), (B, T, H))

    def value(unroll, params, carry, x):
        last, h = unroll(params, carry, x)
        return (h * weights).sum() + sum((each**2).sum() for each in jax.tree.leaves(last))

    fast = partial(value, lambda *args: net.apply(*args, LENGTH, method="unroll"))
    slow = partial(value, partial(by_steps, net))
    found, wanted = (jax.jit(jax.grad(each, (0, 1, 2)))(params, carry, x) for each in (fast, slow))
    chex.assert_trees_all_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", [name for name in CELLS if name not in LINEAR])
def test_gathered_gradients_are_those_of_the_equations(cell):
    _, params, carry, x, _ = prepared(cell)
    weights, carry, x = params["params"]["layer_0"], carry[0], x.swapaxes(0, 1)
    valid = (np.arange(T)[:, None] < LENGTH)[..., None]

    def plain(weights, carry, x):
        def move(carry, now):
            x, valid = now
            from_h = carry[0] @ weights["recurrent"] + weights.get("hidden_bias", jnp.zeros(1))[None]
            from_h = weights["recurrent"] if CELLS[cell].deep else from_h
            new = CELLS[cell].gates(carry, x @ weights["input"] + weights["bias"][None], from_h)
            new = tuple(jnp.where(valid, *each) for each in zip(new, carry))
            return new, new[0]

        return jax.lax.scan(move, carry, (x, valid))

    def gradient(unroll):
        def value(*args):
            last, h = unroll(*args)
            return (h**2).sum() + sum((each**3).sum() for each in last)

        return jax.jit(jax.grad(value, (0, 1, 2)))(weights, carry, x)

    found = gradient(lambda weights, carry, x: unroll_gated(CELLS[cell], weights, carry, x, valid))
    chex.assert_trees_all_close(found, gradient(plain), rtol=1e-4, atol=1e-5)


def test_the_gradient_of_an_lru_is_finite_where_its_eigenvalues_are_almost_1():
    _, params, carry, x, unroll = prepared("lru")
    params = jax.tree.map_with_path(lambda path, each: each * 0 - 20 if "nu" in str(path[-1]) else each, params)
    gradient = jax.grad(lambda params: (unroll(params, carry, x)[1] ** 2).sum())(params)
    chex.assert_tree_all_finite(gradient)


@pytest.mark.parametrize("cell", LINEAR)
def test_linear_cells_are_the_same_in_parallel(cell):
    _, params, carry, x, unroll = prepared(cell)
    parallel = prepared(cell, scan="associative")[4]
    for length in (None, LENGTH):
        chex.assert_trees_all_close(unroll(params, carry, x, length), parallel(params, carry, x, length), atol=2e-6)

    def gradient(unroll):
        return jax.jit(jax.grad(lambda params: (unroll(params, carry, x, LENGTH)[1] ** 2).sum()))(params)

    found, wanted = gradient(parallel), gradient(unroll)
    chex.assert_trees_all_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_cudnn_is_handed_the_same_lstm(monkeypatch):
    """Its kernels run on a GPU alone; JAX's reference of them reads the weights and lengths that they are given."""

    def reference(x, h, c, kernels, length, **shape):
        sizes = {name: shape[name] for name in ("input_size", "hidden_size", "num_layers", "bidirectional")}
        return cudnn.lstm_ref(x, h, c, *cudnn.unpack_lstm_weights(kernels, **sizes), length, **shape)

    _, params, carry, x, unroll = prepared("lstm")
    monkeypatch.setattr(cudnn, "lstm", reference)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    net = Recurrent("lstm", H, 2, scan="cudnn")
    for length in (None, np.array([6, 3, 0])):
        found = net.apply(params, carry, x, length, method="unroll")
        chex.assert_trees_all_close(found, unroll(params, carry, x, length), atol=2e-6)


@pytest.mark.parametrize("options", [BLOCKS, {"residual": True, "norm": "layer"}])
def test_blocks_keep_the_contract_and_take_frames_of_silence(options):
    net, params, carry, x, unroll = prepared("mingru", **options)
    x = x.at[:, 0].set(0)
    chex.assert_trees_all_close(unroll(params, carry, x, LENGTH), by_steps(net, params, carry, x), atol=1e-5)
    gradient = jax.grad(lambda x: unroll(params, carry, x)[1].sum())(x)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() < 100


@pytest.mark.study
def test_dropout_is_locked_in_time():
    net = Recurrent("gru", 64, 1, dropout=0.5)
    carry, x = net.init_carry(2), jnp.ones((2, 5, 4))
    params = jax.jit(partial(net.init, method="unroll"))(KEY, carry, x)
    dropped = net.apply(params, carry, x, method="unroll", rngs={"dropout": KEY})[1] == 0
    assert np.array_equal(dropped, np.broadcast_to(dropped[:, :1], dropped.shape))
    assert 0.3 < dropped.mean() < 0.7 and not np.array_equal(dropped[0], dropped[1])
    assert not (net.apply(params, carry, x, method="unroll")[1] == 0).any()
    anew = net.clone(locked=False).apply(params, carry, x, method="unroll", rngs={"dropout": KEY})[1] == 0
    assert 0.3 < anew.mean() < 0.7 and not np.array_equal(anew[:, 0], anew[:, 1])


@pytest.mark.study
def test_input_dropout_takes_numbers_out_of_frames():
    net = Recurrent("gru", H, 1, input_dropout=0.5)
    carry, x = net.init_carry(400), jnp.ones((400, 1, 2))
    params = jax.jit(partial(net.init, method="unroll"))(KEY, carry, x)
    found = net.apply(params, carry, x, method="unroll", rngs={"dropout": KEY})[1][:, 0]
    kinds = jnp.array([[0, 0], [0, 2], [2, 0], [2, 2]])[:, None]  # what is left stands for what is not
    wanted = net.apply(params, net.init_carry(4), kinds.astype(jnp.float32), method="unroll")[1][:, 0]
    same = (np.abs(found[:, None] - wanted[None]) < 1e-6).all(-1)  # [rows, kinds]
    assert (same.sum(1) == 1).all() and (np.abs(same.mean(0) - 0.25) < 0.1).all()


def gates(tree, *names):
    return jnp.concatenate([tree[name]["kernel"] for name in names], -1)


FLAX = {  # cell -> Flax's cell, its carry by ours, and our weights by its
    "vanilla": (
        nn.SimpleCell(H),
        lambda carry: carry[0],
        lambda p: {"input": p["i"]["kernel"], "bias": p["i"]["bias"], "recurrent": p["h"]["kernel"]},
    ),
    "lstm": (
        nn.OptimizedLSTMCell(H),
        lambda carry: (carry[1], carry[0]),
        lambda p: {
            "input": gates(p, "ii", "if", "io", "ig"),
            "recurrent": gates(p, "hi", "hf", "ho", "hg"),
            "bias": jnp.concatenate([p[name]["bias"] for name in ("hi", "hf", "ho", "hg")]),
        },
    ),
    "gru": (
        nn.GRUCell(H),
        lambda carry: carry[0],
        lambda p: {
            "input": gates(p, "ir", "iz", "in"),
            "recurrent": gates(p, "hr", "hz", "hn"),
            "bias": jnp.concatenate([p[name]["bias"] for name in ("ir", "iz", "in")]),
            "hidden_bias": jnp.concatenate([jnp.zeros(2 * H), p["hn"]["bias"]]),
        },
    ),
}


@pytest.mark.parametrize("cell", FLAX)
def test_cells_are_flaxs(cell):
    theirs, carry_of, weights_of = FLAX[cell]
    net, carry = Recurrent(cell, H), jax.tree.map(lambda zeros: zeros + 0.3, Recurrent(cell, H).init_carry(B))
    x = jax.random.normal(KEY, (B, T, D))
    params = theirs.init(KEY, carry_of(carry[0]), x[:, 0])["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(KEY, leaf.shape), params)
    h = net.apply({"params": {"layer_0": weights_of(params)}}, carry, x, method="unroll")[1]
    other = carry_of(carry[0])
    for time in range(T):
        other, wanted = theirs.apply({"params": params}, other, x[:, time])
        np.testing.assert_allclose(h[:, time], wanted, atol=1e-6)


def test_other_cells_are_their_equations():
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def weights_of(cell):
        _, params, carry, x, _ = prepared(cell)
        net = Recurrent(cell, H)
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"]["layer_0"])
        h = net.apply({"params": {"layer_0": params}}, carry[:1], x, method="unroll")[1]
        return params, np.float64(carry[0]), np.float64(x[:, 0]), h[:, 0]

    p, (h,), x, found = weights_of("sigmoid")
    np.testing.assert_allclose(found, sigmoid(x @ p["input"] + h @ p["recurrent"] + p["bias"]), atol=1e-6)
    p, (h,), x, found = weights_of("gru_reset_before")
    (wr, wz, wn), (ur, uz, un) = np.split(p["input"], 3, -1), np.split(p["recurrent"], 3, -1)
    r, z = sigmoid(x @ wr + h @ ur), sigmoid(x @ wz + h @ uz)
    np.testing.assert_allclose(found, (1 - z) * np.tanh(x @ wn + (r * h) @ un) + z * h, atol=1e-6)
    p, (h,), x, found = weights_of("mingru")
    wz, wh = np.split(p["input"], 2, -1)
    np.testing.assert_allclose(found, (1 - sigmoid(x @ wz)) * h + sigmoid(x @ wz) * (x @ wh), atol=1e-6)
    p, (h,), x, found = weights_of("minlstm")
    wf, wi, wh = np.split(p["input"], 3, -1)
    f, i = sigmoid(x @ wf), sigmoid(x @ wi)
    np.testing.assert_allclose(found, (f * h + i * (x @ wh)) / (f + i), atol=1e-6)
    p, (real, imaginary), x, found = weights_of("lru")
    eigenvalue = np.exp(-np.exp(p["own"]["nu"]) + 1j * np.exp(p["own"]["theta"]))
    both = np.split(p["input"], 2, -1)
    h = eigenvalue * (real + 1j * imaginary) + np.sqrt(1 - np.abs(eigenvalue) ** 2) * (x @ both[0] + 1j * (x @ both[1]))
    np.testing.assert_allclose(found, np.concatenate([h.real, h.imag], -1) @ p["own"]["out"], atol=1e-5)
    assert np.all((np.abs(eigenvalue) >= 0.9) & (np.abs(eigenvalue) <= 0.999))


ROLL = make_spec("roll", (2, 3))


@pytest.mark.parametrize("values", [3, 300])
def test_tokens_reach_the_layers_as_loudly_whatever_the_vocabulary(values):
    net = Predictor(Recurrent("vanilla", 64), 1, values, False, NONE, {})
    carry, tokens = net.recurrent.init_carry(64), jnp.arange(64)[:, None] % values
    carry, _, _ = net.apply(net.init(KEY, carry, tokens, method="unroll"), carry, tokens, method="unroll")
    assert 0.25 < float(jnp.arctanh(carry[0][0]).std()) < 1.5  # bare one-hot rows have 0.17 and 0.07


def test_frames_of_zeros_and_ones_are_scaled_to_a_mean_square_of_one():
    x = jnp.asarray([[0, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]], jnp.float32)
    np.testing.assert_allclose((evened(x) ** 2).mean(-1), [1, 1, 0], rtol=1e-6)
    assert bool(jnp.isfinite(jax.jacobian(evened)(x)).all())


HEADED = {"categorical": tokens_spec(), **dict.fromkeys(("bernoulli", "visible", "nade", "bernoulli_mixture"), ROLL)}


@lru_cache
def learnt(head: str):
    """A small model after a few steps, and everything that could be."""
    spec = HEADED[head]
    values, dtype = (3, jnp.int32) if head == "categorical" else (2, jnp.float32)
    outcomes = jnp.asarray([*product(range(values), repeat=int(np.prod(spec.shape)))], dtype)
    outcomes = {"x": outcomes.reshape(-1, *spec.shape)}
    fast = {"name": "adam", "learning_rate": 0.05}
    model = autoregressive(spec, {"name": "gru", "units": 6}, {"name": head}, optimizer=fast)
    batch = {"x": outcomes["x"][:: len(outcomes["x"]) // 7]}
    state, step = model.init(KEY, batch), jax.jit(model.step)
    for _ in range(10):
        state, _ = step(KEY, state, batch)
    return model, state, outcomes


@pytest.mark.parametrize("head", HEADED)
def test_draws_have_the_probabilities_that_are_scored(head):
    model, state, outcomes = learnt(head)
    p = np.exp(np.float64(model.log_prob(KEY, state, outcomes)))
    assert p.sum() == pytest.approx(1, abs=1e-5) and p.max() > 2 / len(p)
    num, values = 20_000, int(outcomes["x"].max()) + 1
    x = np.asarray(model.sample(KEY, state, num)["x"]).reshape(num, -1).astype(int)
    counts = np.bincount(x @ values ** np.arange(x.shape[1])[::-1], minlength=len(p))
    noise = np.sqrt(2 / np.pi * p * (1 - p) / num).sum() / 2  # of the total variation, where all is right
    assert np.abs(counts / num - p).sum() / 2 < 1.15 * noise


def test_reals_are_a_density():
    spec = make_spec("series", (1, 1))
    model = autoregressive(spec, {"name": "vanilla", "units": 4}, {"name": "gaussian_mixture", "components": 3})
    x = jnp.linspace(-30, 30, 20_001)[:, None, None]
    state = jax.jit(model.init)(KEY, {"x": x})
    p = np.exp(np.float64(model.log_prob(KEY, state, {"x": x})))
    assert np.trapezoid(p, x[:, 0, 0]) == pytest.approx(1, abs=1e-3)
    drawn = np.asarray(model.sample(KEY, state, 5000)["x"]).ravel()
    mean = np.trapezoid(p * x[:, 0, 0], x[:, 0, 0])
    assert drawn.mean() == pytest.approx(mean, abs=0.06)
    assert drawn.std() == pytest.approx(np.sqrt(np.trapezoid(p * (x[:, 0, 0] - mean) ** 2, x[:, 0, 0])), rel=0.05)


def lanes_of(spec, rows: int, window: int, windows: int):
    x = np.random.default_rng(0).integers(0, 3, (rows, window * windows)).astype(np.int32)
    return x, [{"x": x[:, n * window : (n + 1) * window], "reset": np.full(rows, n == 0)} for n in range(windows)]


@pytest.mark.parametrize("cell", ["lstm", "mingru"])
def test_a_lane_goes_on_where_it_ended(cell):
    """Windows in turn have the likelihood of the whole; a reset makes them sequences of their own."""
    model = autoregressive(tokens_spec(), {"name": cell, "units": 6, "layers": 2}, optimizer=SGD)
    whole, batches = lanes_of(model, 2, 4, 3)
    state, step, found = model.init(KEY, batches[0]), jax.jit(model.step), []
    for batch in batches:
        state, metrics = step(KEY, state, batch)
        found.append(metrics["nats_per_token"] * 8)
    scored = [-float(model.log_prob(KEY, state, {"x": whole[:, : 4 * n]}).sum()) for n in (1, 2, 3)]
    np.testing.assert_allclose(np.cumsum(found), scored, rtol=1e-5)
    anew = step(KEY, state, {**batches[1], "reset": np.ones(2, bool)})[1]["nats_per_token"]
    assert anew == pytest.approx(-float(model.log_prob(KEY, state, {"x": batches[1]["x"]}).sum()) / 8, rel=1e-5)
    with pytest.raises(UserError, match="the same number of rows"):
        model.step(KEY, state, {name: value[:1] for name, value in batches[1].items()})
    with pytest.raises(UserError, match="reset of the batch is missing"):
        model.step(KEY, state, {"x": batches[1]["x"]})


def test_lanes_of_rolls_go_on_too():
    model = autoregressive(ROLL, {"name": "gru", "units": 6}, optimizer=SGD)
    whole = np.float32(np.random.default_rng(0).random((2, 6, *ROLL.shape[1:])) < 0.5)
    first, second = ({"x": whole[:, i : i + 3], "reset": np.full(2, i == 0)} for i in (0, 3))
    state, before = jax.jit(model.step)(KEY, model.init(KEY, first), first)
    state, after = jax.jit(model.step)(KEY, state, second)
    scored = -float(model.log_prob(KEY, state, {"x": whole}).sum())
    assert 6 * (before["nats_per_frame"] + after["nats_per_frame"]) == pytest.approx(scored, rel=1e-5)
    assert np.array_equal(state.lanes[1], whole[:, -1])


def test_a_lane_that_ends_within_a_window_keeps_its_last_frame():
    model = autoregressive(tokens_spec(), {"name": "gru", "units": 6}, optimizer=SGD)
    whole, (first, second, _) = lanes_of(model, 2, 4, 3)
    state, length, step = model.init(KEY, first), np.array([4, 2]), jax.jit(model.step)
    state, _ = step(KEY, state, {**first, "length": length})
    assert np.array_equal(state.lanes[1], [whole[0, 3], whole[1, 1]])
    metrics = step(KEY, state, {**second, "length": np.array([4, 4])})[1]
    joined = np.concatenate([whole[1, :2], whole[1, 4:8]])[None]
    parts = [
        -float(model.log_prob(KEY, state, {"x": x})[0]) for x in (whole[:1, :8], whole[:1, :4], joined, joined[:, :2])
    ]
    assert metrics["nats_per_token"] * 8 == pytest.approx(parts[0] - parts[1] + parts[2] - parts[3], rel=1e-5)


@pytest.mark.study
@pytest.mark.parametrize("spec, head", [(tokens_spec(), "categorical"), (make_spec("roll", (5, 3)), "nade")])
def test_the_loss_is_a_function_that_can_be_differentiated(spec, head):
    """By hand, without a model: the gradient is that of finite differences along itself."""
    density = fitting(spec, {"name": head})
    values = 3 if head == "categorical" else 0
    predictor = Predictor(Recurrent("gru", 6), density.width, values, not values, NONE, density.weights)
    net = AutoregressiveNet(predictor, density, spec.shape[1:])
    x = jnp.arange(4 * np.prod(spec.shape)).reshape(4, *spec.shape) % 7 % 3
    batch = {
        "x": x if values else jnp.float32(x > 0),
        "length": np.array([5, 2, 4, 5]),
        "weight": np.array([1.0, 1.0, 1.0, 0.0]),
    }
    params = host(jax.jit(partial(first_state, net, lambda examples: optax.sgd(0.1)))(KEY, batch).params)
    loss = jax.jit(partial(next_frame_loss, net))

    def value(params):
        return loss(params, None, batch)[0]

    gradient = host(jax.jit(jax.grad(value))(params))
    length = jax.jit(optax.tree.norm)(gradient)
    way = jax.tree.map(lambda leaf: leaf * (0.02 / length), gradient)
    rise = value(optax.tree.add(params, way)) - value(optax.tree.sub(params, way))
    assert length > 0.1 and np.isclose(rise, 0.04 * length, rtol=0.01)
    rows = [
        {"x": batch["x"][row : row + 1, :frames]} for row, frames in enumerate((5, 2, 4))
    ]  # the loss is the mean of their 11 frames
    alone = sum(loss(params, None, row)[0] * row["x"].shape[1] for row in rows)
    np.testing.assert_allclose(value(params), alone / 11, rtol=1e-5)
    halves = [{"x": batch["x"][:1, :2]}, {"x": batch["x"][:1, 2:]}]
    first, (nats, lanes) = loss(params, None, halves[0], first_lanes(net, 1))
    assert first == nats  # without label smoothing
    second, _ = loss(params, None, halves[1], lanes)
    np.testing.assert_allclose(2 * first + 3 * second, 5 * loss(params, None, rows[0])[0], rtol=1e-5)


def test_scores_and_samples_are_compiled_once(caplog):
    model, state, outcomes = learnt("categorical")
    compiled = []
    for _ in range(2):
        caplog.clear()
        with jax.log_compiles():
            model.log_prob(KEY, state, {"x": outcomes["x"][:13]})
            model.sample(KEY, state, 13)
        compiled.append([each for each in caplog.messages if each.startswith("Compiling")])
    assert compiled[0] and not compiled[1]


def test_gradients_are_clipped_after_they_are_taken():
    clipped = {"name": "sgd", "learning_rate": 1.0, "clip_norm": 0.01}
    model = autoregressive(tokens_spec(), {"name": "gru", "units": 6}, optimizer=clipped)
    batch = {"x": np.ones((4, 5), np.int32)}
    state = jax.jit(model.init)(KEY, batch)
    after, metrics = jax.jit(model.step)(KEY, state, batch)
    moved = sum(float(((a - b) ** 2).sum()) for a, b in zip(*(jax.tree.leaves(each.params) for each in (state, after))))
    assert moved**0.5 == pytest.approx(0.01, rel=1e-3) and metrics["gradient_norm"] > 0.1


@pytest.mark.study
def test_a_sample_is_the_same_whatever_stands_beside_it():
    model, state, _ = learnt("categorical")
    many, few = model.sample(KEY, state, 6)["x"], model.sample(KEY, state, 2)["x"]
    assert np.array_equal(many[:2], few)
    beside = model.sample(KEY, state, 2, how={"top_k": np.array([0, 1])})["x"]  # drawn from sorted logits
    assert np.array_equal(beside[0], many[0])
    x, length = np.zeros((2, 4), np.int32), np.array([9, 4])
    more = model.sample(
        KEY, state, 2, {"x": many[:2], "mask": np.arange(5)[None] < [[3], [0]], "length": np.array([9, 5])}
    )
    assert np.array_equal(more["x"][0, :5], many[0]) and np.array_equal(
        more["x"][1, :5], many[1]
    )  # it goes on as it would
    assert more["x"].shape == (2, 9) and not more["x"][1, 5:].any()
    given = model.sample(KEY, state, 2, {"x": x + 2, "mask": x == 0, "length": length})["x"]
    assert np.array_equal(given[:, :4], x + 2)


def test_temperature_top_k_and_nucleus():
    logits, num = jnp.log(jnp.array([0.1, 0.5, 0.15, 0.25])), 4000

    def shares(temperature=1.0, top_k=0, top_p=1.0):
        choice = Choice(jnp.float32(temperature), jnp.int32(top_k), jnp.float32(top_p))
        drawn = jax.vmap(lambda key: draw_token(key, logits, choice))(jax.random.split(KEY, num))
        return np.bincount(drawn, minlength=4) / num

    np.testing.assert_allclose(shares(), [0.1, 0.5, 0.15, 0.25], atol=0.03)
    hot = np.sqrt([0.1, 0.5, 0.15, 0.25])
    np.testing.assert_allclose(shares(temperature=2.0), hot / hot.sum(), atol=0.03)
    for alone in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.4}, {"top_p": 0.0}):
        assert shares(**alone)[1] == 1
    np.testing.assert_allclose(shares(top_k=2), [0, 2 / 3, 0, 1 / 3], atol=0.03)
    np.testing.assert_allclose(shares(top_p=0.8), [0, 5 / 9, 1.5 / 9, 2.5 / 9], atol=0.03)
    np.testing.assert_allclose(shares(top_k=2, top_p=0.6), [0, 1, 0, 0], atol=0.03)  # of what is left: 2/3 and 1/3


@pytest.mark.parametrize(
    "how, words",
    [
        ({"temperature": np.array([-1.0, 1])}, r"temperature is \[-1.\]; expected a number from 0"),
        ({"temperature": np.array([np.nan, 1])}, "temperature"),
        ({"temperature": -1}, r"temperature is \[-1\]; expected a number from 0"),
        (
            {"top_k": np.array([4, 1])},
            r"top_k is \[4\]; expected a whole number from 0 to 3, for all samples or for each",
        ),
        ({"top_k": np.array([1.0, 1])}, "whole number"),
        ({"top_p": np.array([0.5])}, "for each"),
        ({"top_q": 0.5}, "no sampler option 'top_q'; expected temperature, top_k, top_p, stream"),
    ],
)
def test_an_unusable_option_is_refused(how, words):
    model, state, _ = learnt("categorical")
    with pytest.raises(UserError, match=words):
        model.sample(KEY, state, 2, how=how)


def test_an_option_may_be_one_number_for_all():
    model, state, _ = learnt("categorical")
    alike, alone = ({"top_k": 2, "top_p": 0.9}, {"top_k": np.full(3, 2), "top_p": np.full(3, 0.9)})
    assert np.array_equal(model.sample(KEY, state, 3, how=alike)["x"], model.sample(KEY, state, 3, how=alone)["x"])


def test_each_sample_has_its_own_option_in_whatever_chunk():
    model, state, _ = learnt("categorical")
    how = {"temperature": np.array([0.0, 0, 0, 0, 1]), "top_k": [0, 0, 0, 0, 1]}
    drawn = draw.draw(model, state, tokens_spec(), 0, 5, how=how, size=2)["x"]
    likeliest = draw.draw(model, state, tokens_spec(), 0, 1, how={"temperature": 0})["x"]
    assert np.array_equal(drawn, np.repeat(likeliest, 5, 0))
    free = draw.draw(model, state, tokens_spec(), 0, 5, size=2)["x"]
    assert not np.array_equal(free, drawn)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"x": np.zeros((2, 3), int), "mask": np.array([[0, 1, 1]] * 2)}, "continues a prefix"),
        ({"y": np.zeros(2, int)}, "'y'"),
    ],
)
def test_an_unusable_given_is_refused(given, words):
    model, state, _ = learnt("categorical")
    with pytest.raises(UserError, match=words):
        model.sample(KEY, state, 2, given)


def test_only_tokens_have_a_nucleus():
    model, state, _ = learnt("visible")
    cold = model.sample(KEY, state, 2, how={"temperature": np.zeros(2)})["x"]
    assert np.array_equal(cold[0], cold[1])
    with pytest.raises(UserError, match="top_p filters tokens"):
        model.sample(KEY, state, 2, how={"top_p": np.full(2, 0.5)})


@pytest.mark.parametrize(
    "spec, options, words",
    [
        (make_spec("vector", (2,)), {}, "holds vector data, no sequences; expected 'made'"),
        (ROLL, {"head": {"name": "categorical"}}, "head is 'categorical' .* expected bernoulli or visible or nade"),
        (ROLL, {"head": {"name": "visibel"}}, "Did you mean 'visible'"),
        (
            ROLL,
            {"net": {"name": "gru", "scan": "associative"}},
            "cell is gru; .* linear in h: mingru, minlstm, lru",
        ),
        (ROLL, {"net": {"name": "lstm", "scan": "cudnn"}}, "lstm on cpu; expected lstm on an NVIDIA GPU"),
        (ROLL, {"net": {"name": "grue"}}, "Did you mean 'gru'"),
        (ROLL, {"net": {"name": "gru", "units": 0}}, "units is 0; expected a whole number, at least 1"),
        (ROLL, {"net": {"name": "gru", "units": 2.5}}, "units is 2.5; expected a whole number"),
        (ROLL, {"net": {"name": "gru", "feedforward": -1}}, "feedforward is -1; expected a whole number, at least 0"),
        (ROLL, {"head": {"name": "bernoulli_mixture", "components": 0}}, "components is 0; expected a whole number"),
        (ROLL, {"head": {"name": "nade", "hidden": -1}}, "hidden is -1; expected a whole number, at least 1"),
        (ROLL, {"net": {"name": "gru", "dropout": 1.0}}, "dropout is 1.0"),
        (ROLL, {"net": {"name": "gru", "input_dropout": -1}}, "input_dropout is -1"),
        (ROLL, {"net": {"name": "gru", "norm": "batch"}}, "norm"),
        (ROLL, {"net": {"name": "gru", "unit": 3}}, "option of net 'gru'"),
        (ROLL, {"conditional": True}, "expected labels or a condition for a conditional autoregressive model"),
    ],
)
def test_an_unusable_model_is_refused(spec, options, words):
    with pytest.raises(UserError, match=words):
        model = autoregressive(spec, **options)
        model.init(KEY, {"x": jnp.zeros((1, *spec.shape))})


@pytest.mark.study
def test_a_conditional_model_draws_and_scores_by_label():
    spec = tokens_spec()._replace(classes=("a", "b", "c"))
    adam = {"name": "adam", "learning_rate": 0.05}
    model = autoregressive(spec, {"name": "gru", "units": 8}, conditional=True, optimizer=adam)
    y = np.array([0, 1, 2, 2])
    batch = {"x": np.int32(np.tile(y[:, None], 5)), "y": y}
    state, step = model.init(KEY, batch), jax.jit(model.step)
    for _ in range(80):
        state, _ = step(KEY, state, batch)
    asked = np.array([2, 0, 1, 1])
    drawn = model.sample(KEY, state, 4, {"y": asked})
    assert np.array_equal(drawn["y"], asked) and (np.asarray(drawn["x"]) == asked[:, None]).mean() > 0.8
    assert np.all(model.log_prob(KEY, state, batch) > model.log_prob(KEY, state, {**batch, "y": (y + 1) % 3}))
    with pytest.raises(UserError, match="y of the batch is missing"):
        model.log_prob(KEY, state, {"x": batch["x"]})
    for wrong in (np.array([7, 0, 1, 2]), np.array([0]), np.zeros(4)):
        with pytest.raises(UserError, match="given y"):
            model.log_prob(KEY, state, {**batch, "y": wrong})
    shares = np.bincount(model.sample(KEY, state, 400)["y"], minlength=3) / 400
    np.testing.assert_allclose(shares, [0.25, 0.25, 0.5], atol=0.08)


def test_a_recurrent_critic_minds_the_order_of_time():
    x = np.random.default_rng(0).normal(size=(4, 6, 2)).astype(np.float32)
    critic = RecurrentDiscriminator({"name": "gru", "units": 8})
    c, other = (Embedded(jnp.eye(3)[(np.arange(4) + shift) % 3]) for shift in (0, 1))
    params = jax.jit(critic.init)(KEY, x, c)
    logits = critic.apply(params, x, c)
    assert logits.shape == (4,)
    assert np.abs(logits - critic.apply(params, x[:, ::-1], c)).min() > 1e-3
    assert np.abs(logits - critic.apply(params, x, other)).min() > 1e-3


def test_frames_of_a_recurrent_generator_follow_from_the_noise_before():
    generator = RecurrentGenerator((6, 2), {"name": "gru", "units": 8})
    z = jax.random.normal(KEY, (3, 18))
    params = jax.jit(generator.init)(KEY, z)
    x, later = generator.apply(params, z), generator.apply(params, z.at[:, 9:].add(1))  # frame 3 on
    assert np.array_equal(x[:, :3], later[:, :3]) and np.abs(x - later)[:, 3:].max() > 0
    with pytest.raises(UserError, match="latent_size is 20; expected a multiple of 6"):
        generator.init(KEY, jnp.zeros((1, 20)))
    with pytest.raises(UserError, match="unknown noise 'row'.*frame, series"):
        RecurrentGenerator((6, 2), noise="row").init(KEY, z)
    with pytest.raises(UserError, match=r"series \[T, D\]"):
        RecurrentDiscriminator().init(KEY, jnp.zeros((1, 8, 8, 1)))


@pytest.mark.study
def test_noise_of_the_series_stands_beside_every_frame():
    generator = RecurrentGenerator((6, 2), {"name": "gru", "units": 8}, "series")
    z = jax.random.normal(KEY, (3, 5))
    params = jax.jit(generator.init)(KEY, z)
    slopes = jax.jacobian(lambda z: generator.apply(params, z[None])[0])(z[0])  # [6, 2, 5]
    assert bool((slopes != 0).all())


@pytest.mark.study
def test_the_gradient_of_a_penalty_is_right():
    """Reverse over reverse, through the gathered gradients of the weights."""
    critic, x = RecurrentDiscriminator({"name": "lstm", "units": 4}), jax.random.normal(KEY, (2, 5, 3))
    params = jax.jit(critic.init)(KEY, x)

    def penalty(params):
        return (jax.grad(lambda x: critic.apply(params, x).sum())(x) ** 2).sum()

    check_grads(jax.jit(penalty), (params,), 1, modes=["rev"], atol=2e-2, rtol=2e-2, eps=1e-2)


def waves(num: int, seed: int) -> np.ndarray:
    """Series [N, 8, 3] in [0, 1]: sines of a frequency and a phase of their own."""
    frequency, phase = np.random.default_rng(seed).uniform(0.3, 0.8, (2, num, 1, 3))
    return (0.5 + 0.5 * np.sin(np.arange(8)[:, None] * frequency + phase)).astype(np.float32)


@pytest.mark.study
def test_timegans_scores_know_series_from_noise_and_from_series_out_of_order(monkeypatch):
    monkeypatch.setattr(
        "gen_jax.metrics.sequences.timegan.STEPS", {"discriminative_score": 1500, "predictive_score": 1500}
    )
    real, other = waves(500, 0), waves(500, 1)
    noise = np.random.default_rng(0).random(real.shape).astype(np.float32)
    mixed = other[:, [4, 1, 6, 0, 7, 3, 5, 2]]
    assert discriminative_score(real, other) < 0.1
    assert min(discriminative_score(real, each) for each in (noise, mixed)) > 0.2
    assert predictive_score(real, other) < 0.75 * min(predictive_score(real, mixed), predictive_score(real, noise))


@pytest.mark.study
def test_timegans_scores_are_measured_with_their_oracle(monkeypatch):
    monkeypatch.setattr("gen_jax.metrics.sequences.timegan.STEPS", {"discriminative_score": 20, "predictive_score": 20})
    spec = make_spec("series", (8, 3))._replace(low=0.0, high=1.0, sizes={"train": 60, "test": 50})
    rows = {"train": {"x": waves(60, 0)}, "test": {"x": waves(50, 1)}}
    model = SimpleNamespace(
        sample=lambda key, state, num, given, how: {"x": waves(num, 2)}, log_prob=None, given=(), options={}
    )
    names = ["discriminative_score", "predictive_score"]
    scores = make_scorer(
        real_data(spec, lambda split, num: {"x": rows[split]["x"][:num]}, ("train", "test")), names, num=40, seed=0
    ).score(model, None)
    for name in names:
        entry = scores[name]
        assert 0 <= entry["value"] <= 1 and 0 <= entry["oracle"] <= 1 and entry["details"]["deviation"] >= 0
        assert entry["protocol"]["repeats"] == 5 and entry["protocol"]["oracle_split"] == "test"


@pytest.mark.study
def test_a_fork_with_another_number_of_lanes_begins_them_anew(tmp_path, one_device, capsys):
    (tmp_path / "own.txt").write_text("to be or not to be, that is the question. " * 40)
    flags = [f"--config.data.path={tmp_path / 'own.txt'}", "--config.data.window=8", "--config.model.net.units=8"]
    flags += ["--config.model.net.layers=1", "--config.eval_every=0", "--config.sample_every=0", "--quiet"]
    command = ["train", "--config", str(Path(__file__).parents[1] / "configs" / "mingru.py"), *flags, "--workdir"]
    train.main([*command, str(tmp_path / "four"), "--config.batch_size=4", "--config.steps=3"])
    four = ["--fork", str(tmp_path / "four"), "--config.steps=5"]
    train.main([*command, str(tmp_path / "same"), "--config.batch_size=4", *four, "--config.log_every=1"])
    assert "every lane begins anew" not in capsys.readouterr().out
    train.main([*command, str(tmp_path / "two"), "--config.batch_size=2", *four])
    assert "batch_size was 4 in" in capsys.readouterr().out
    before, after = gen_jax.load(tmp_path / "four").state, gen_jax.load(tmp_path / "two").state
    assert after.lanes[1].shape == (2,) and after.step == 5 and after.examples == before.examples + 4
    with pytest.raises(UserError, match="batch_size was 4"):
        train.main([*command, str(tmp_path / "four"), "--config.batch_size=2", "--config.steps=5"])


@pytest.mark.study
def test_the_command_draws_as_boldly_as_it_is_told(tmp_path, monkeypatch, capsys):
    model, state, _ = learnt("categorical")
    settings = {"sample": {"length": None}}
    monkeypatch.setattr(
        loading, "load", lambda *args: loading.Loaded(model, state, tokens_spec(), settings, 10, Path())
    )

    def drawn(*flags):
        sample.main(["sample", "--workdir", "any", "--num=6", "--out", str(tmp_path / "x.npz"), *flags])
        return np.load(tmp_path / "x.npz")["x"]

    likeliest = drawn("--temperature=0")
    assert (likeliest == likeliest[0]).all() and (drawn() != likeliest).any()
    assert np.array_equal(drawn("--top_k=1"), likeliest) and np.array_equal(drawn("--top_p=0.0"), likeliest)
    for flag, words in (
        ("--temperature=warm", "--temperature is warm; expected a number"),
        ("--temperature=[1]", "expected a number"),
        ("--temperature=-1", "temperature is [-1]"),
        ("--temperature=inf", "temperature is [inf]"),
        ("--top_k=1.5", "a whole number"),
        ("--top_p=2", "a number from 0 to 1"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            drawn(flag)
    monkeypatch.setattr(draw, "SHORT", 6)
    first = drawn("--seed=3")[0]
    capsys.readouterr()
    sample.main(["sample", "--workdir", "any", "--stream", "--seed=3"])
    assert capsys.readouterr().out == "".join("abc"[int(token)] for token in first) + "\n"
    with pytest.raises(UserError, match="--num is 6 with --stream"):
        drawn("--stream")
    for spec, unable, words in (
        (ROLL, model, "expected text for --stream"),
        (tokens_spec(), markov(tokens_spec(), 1), "no sampler option 'stream'"),
    ):
        monkeypatch.setattr(
            loading, "load", Mock(return_value=loading.Loaded(unable, state, spec, settings, 10, Path()))
        )
        with pytest.raises(UserError, match=words):
            sample.main(["sample", "--workdir", "any", "--stream"])
