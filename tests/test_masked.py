"""Masked diffusion: its bound and its draws against all orders, rows given in part, and what it refuses."""

from functools import cache
from itertools import permutations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec, table_spec
from scipy import stats
from scipy.special import logsumexp

from gen_jax.errors import UserError
from gen_jax.models.masked import level_nats, logits_of, masked, masked_loss, order_log_prob, order_of

KEY = jax.random.key(0)
TABLE = table_spec(2, 3, 2)
ROWS = np.array([*product(range(2), range(3), range(2))])
NETS = {
    "mlp": {"name": "mlp", "width": 16, "blocks": 1},
    "transformer": {"name": "transformer", "units": 8, "layers": 1, "heads": 2},
}


@cache
def model_of(net: str):
    """A model whose weights are random, so that its orders disagree."""
    model = masked(TABLE, net=NETS[net])
    state = model.init(KEY, {"x": jnp.zeros((1, 3))})
    leaves, tree = jax.tree.flatten(state.params)
    noise = [leaf + 0.5 * jax.random.normal(jax.random.key(at), leaf.shape) for at, leaf in enumerate(leaves)]
    return model, state._replace(params=tree.unflatten(noise), average=tree.unflatten(noise))


@cache
def of_all_orders(net: str, mask: tuple = (True,) * 3) -> np.ndarray:
    """log p [orders, 12] of all rows of the observed columns in every order of them."""
    model, state = model_of(net)
    observed, batch = np.flatnonzero(mask), {"x": jnp.asarray(ROWS, jnp.float32)}
    values = []
    for order in permutations(observed):
        rank = np.full((len(ROWS), 3), 3)
        rank[:, list(order)] = np.arange(len(order))
        values.append(order_log_prob(model.init.args[0], state.average, jnp.asarray(rank), batch))
    return np.array(values, np.float64)


def exact(net: str, mask: tuple = (True,) * 3) -> np.ndarray:
    values = of_all_orders(net, mask)
    return logsumexp(values, 0) - np.log(len(values))


@pytest.mark.parametrize("net", NETS)
def test_every_order_is_a_probability_and_orders_differ(net):
    values = of_all_orders(net)
    np.testing.assert_allclose(np.exp(values).sum(1), 1, rtol=1e-5)
    assert values.std(0).max() > 0.05


@pytest.mark.study
@pytest.mark.parametrize("net", NETS)
def test_the_bound_is_below_the_mean_over_orders_and_reaches_it_with_many(net):
    model, state = model_of(net)
    batch, p = {"x": jnp.asarray(ROWS, jnp.float32)}, exact(net)
    one = np.array([model.log_prob_bound(key, state, batch) for key in jax.random.split(KEY, 200)])
    np.testing.assert_allclose(one.mean(0), of_all_orders(net).mean(0), atol=5 * one.std(0).max() / np.sqrt(200))
    many = np.asarray(model.log_prob_bound(KEY, state, batch, 4000))
    assert (one.mean(0) < p + 1e-3).all() and abs(many - p).max() < 0.05
    assert abs(many - p).mean() < abs(one.mean(0) - p).mean()


def test_the_loss_is_the_bound_on_average():
    model, state = model_of("mlp")
    net, batch = model.init.args[0], {"x": jnp.asarray(ROWS, jnp.float32)}
    keys = jax.random.split(KEY, 600)
    losses = np.asarray(jax.vmap(lambda key: masked_loss(net, state.params, key, batch))(keys))
    expected = -of_all_orders("mlp").mean()
    assert abs(losses.mean() - expected) < 5 * losses.std() / np.sqrt(600)


@pytest.mark.study
def test_missing_cells_are_left_out_of_the_bound_and_do_not_matter():
    model, state = model_of("mlp")
    mask = np.tile([True, False, True], (len(ROWS), 1))
    batch = {"x": jnp.asarray(ROWS, jnp.float32), "mask": jnp.asarray(mask)}
    found = np.asarray(model.log_prob_bound(KEY, state, batch, 4000))
    np.testing.assert_allclose(found, exact("mlp", (True, False, True)), atol=0.05)
    other = {**batch, "x": jnp.where(jnp.asarray(mask), batch["x"], 2 - batch["x"])}
    np.testing.assert_array_equal(found, model.log_prob_bound(KEY, state, other, 4000))


def chi_square(drawn: np.ndarray, p: np.ndarray) -> float:
    number = (drawn @ [6, 2, 1]).astype(int)
    counts = np.bincount(number, minlength=12)
    used = p > 1e-9
    assert counts[~used].sum() == 0
    return stats.chisquare(counts[used], counts.sum() * p[used] / p[used].sum()).pvalue


@pytest.mark.study
@pytest.mark.parametrize("net", NETS)
def test_draws_follow_the_mean_over_orders(net):
    model, state = model_of(net)
    assert chi_square(np.asarray(model.sample(KEY, state, 6000)["x"]), np.exp(exact(net))) > 1e-4


@pytest.mark.study
def test_draws_given_any_entries_follow_the_orders_that_begin_with_them():
    model, state = model_of("mlp")
    x, mask = np.zeros((6000, 3)), np.tile([False, True, False], (6000, 1))
    x[:, 1] = 2
    drawn = np.asarray(model.sample(KEY, state, 6000, {"x": x, "mask": mask})["x"])
    assert (drawn[:, 1] == 2).all()
    net, agree = model.init.args[0], ROWS[:, 1] == 2
    p = np.zeros(12)
    for rank in ([0, 3, 1], [1, 3, 0]):  # of the two hidden entries, given the one that is seen
        order = np.array(rank)
        nats = np.zeros(12)
        for place in range(2):
            visible = jnp.asarray((order < place) | (np.arange(3) == 1))[None].repeat(12, 0)
            each = level_nats(logits_of(net, state.average, jnp.asarray(ROWS), visible, None), jnp.asarray(ROWS))
            nats += np.asarray(each)[:, order == place][:, 0]
        p += np.where(agree, np.exp(nats), 0) / 2
    assert p.sum() == pytest.approx(1, abs=1e-5) and chi_square(drawn, p) > 1e-4


def test_fewer_steps_draw_several_entries_at_once_and_temperature_zero_the_likeliest():
    model, state = model_of("mlp")
    once = np.asarray(model.sample(KEY, state, 6000, how={"steps": 1})["x"])
    net = model.init.args[0]
    logits = logits_of(net, state.average, jnp.zeros((1, 3), jnp.int32), jnp.zeros((1, 3), bool), None)
    p = np.asarray(jax.nn.softmax(logits))[0]
    apart = np.array([p[range(3), row].prod() for row in ROWS])
    assert chi_square(once, apart) > 1e-4
    cold = np.asarray(model.sample(KEY, state, 50, how={"steps": 1, "temperature": 0.0})["x"])
    np.testing.assert_array_equal(cold, np.tile(p.argmax(1), (50, 1)))


def test_draws_of_a_row_do_not_depend_on_the_other_rows():
    model, state = model_of("mlp")
    few, many = (np.asarray(model.sample(KEY, state, num)["x"]) for num in (4, 9))
    np.testing.assert_array_equal(few, many[:4])


def test_an_order_ranks_the_entries_that_are_to_be_ordered():
    entries = np.random.default_rng(0).random((500, 6)) < 0.6
    rank = np.asarray(order_of(KEY, jnp.asarray(entries)))
    for row, which in zip(rank, entries):
        assert sorted(row[which]) == [*range(which.sum())] and (row[~which] == 6).all()
    full = np.asarray(order_of(KEY, jnp.ones((6000, 3), bool)))
    counts = np.unique(full @ [9, 3, 1], return_counts=True)[1]
    assert len(counts) == 6 and stats.chisquare(counts).pvalue > 1e-4


TEXT = make_spec("text", (4,))._replace(info={"vocabulary": ["a", "b", "<end>"], "end": 2, "ragged": True})
COUNTS = np.array([5.0, 0.0, 20.0, 11.0])  # training rows of each length
SHARES = (COUNTS + 1) / (COUNTS + 1).sum()


@cache
def texts() -> tuple[np.ndarray, np.ndarray]:
    """All texts of at most three tokens and their end, and their lengths."""
    rows = [[*row, 2] for length in range(4) for row in product(range(2), repeat=length)]
    return np.array([row + [0] * (4 - len(row)) for row in rows], np.int32), np.array([*map(len, rows)], np.int32)


@cache
def text_model():
    """A model of texts whose weights are random."""
    model = masked(TEXT, net=NETS["mlp"])
    state = model.init(KEY, {})
    leaves, tree = jax.tree.flatten(state.params)
    noise = [leaf + 0.5 * jax.random.normal(jax.random.key(at), leaf.shape) for at, leaf in enumerate(leaves)]
    return model, state._replace(average=tree.unflatten(noise), lengths=jnp.asarray(COUNTS))


@cache
def text_chances() -> np.ndarray:
    """p(x) of all texts: that of the length times the mean over all orders of the tokens before the end."""
    (model, state), (x, length) = text_model(), texts()
    chances = np.zeros(len(x))
    for row, size in enumerate(length):
        batch = {"x": jnp.asarray(x[row : row + 1]), "length": jnp.asarray(length[row : row + 1])}
        orders = [*permutations(range(size - 1))]
        ranks = np.full((len(orders), 4), 4)
        for at, order in enumerate(orders):
            ranks[at, list(order)] = np.arange(size - 1)
        many = {name: jnp.repeat(value, len(orders), 0) for name, value in batch.items()}
        values = order_log_prob(model.init.args[0], state.average, jnp.asarray(ranks), many)
        chances[row] = SHARES[size - 1] * np.exp(np.asarray(values, np.float64)).mean()
    return chances


def test_chances_of_all_texts_sum_to_one():
    chances, (_, length) = text_chances(), texts()
    for size, share in enumerate(SHARES, 1):
        assert chances[length == size].sum() == pytest.approx(share, rel=1e-5)


@pytest.mark.study
def test_the_bound_of_texts_reaches_the_mean_over_orders():
    (model, state), (x, length) = text_model(), texts()
    for frames in (4, 3):  # a batch may have the frames of its longest text
        short = length <= frames
        batch = {"x": jnp.asarray(x[short, :frames]), "length": jnp.asarray(length[short])}
        found = np.asarray(model.log_prob_bound(KEY, state, batch, 3000))
        np.testing.assert_allclose(found, np.log(text_chances())[short], atol=0.05)


def test_drawn_texts_have_these_chances_and_end():
    (model, state), x = text_model(), texts()[0]
    drawn = {name: np.asarray(value) for name, value in model.sample(KEY, state, 6000).items()}
    number = [row.tolist() for row in x]
    counts = np.bincount([number.index(row.tolist()) for row in drawn["x"]], minlength=len(x))
    chances = text_chances() / text_chances().sum()
    assert stats.chisquare(counts, 6000 * chances).pvalue > 1e-4
    np.testing.assert_array_equal(drawn["length"], 1 + (drawn["x"] == 2).argmax(1))
    few = model.sample(KEY, state, 5)
    np.testing.assert_array_equal(few["x"], drawn["x"][:5])


def test_texts_have_the_tokens_and_the_length_that_are_given():
    model, state = text_model()
    x, mask = np.zeros((400, 4), np.int32), np.zeros((400, 4), bool)
    x[:, 1], mask[:, 1] = 1, True
    drawn = {name: np.asarray(value) for name, value in model.sample(KEY, state, 400, {"x": x, "mask": mask}).items()}
    assert (drawn["x"][:, 1] == 1).all() and {*drawn["length"]} == {3, 4}  # a token at place 1 needs an end after it
    assert abs((drawn["length"] == 3).mean() - SHARES[2] / SHARES[2:].sum()) < 0.08
    length = np.repeat([3, 4], 200)
    drawn = model.sample(KEY, state, 400, {"x": x, "mask": mask, "length": length})
    np.testing.assert_array_equal(drawn["length"], length)
    np.testing.assert_array_equal((np.asarray(drawn["x"]) == 2).argmax(1), length - 1)
    short = model.sample(KEY, state, 400, {"x": x[:, :2], "mask": mask[:, :2], "length": length})
    np.testing.assert_array_equal(short["x"], drawn["x"])
    x[:, 2], mask[:, 2] = 2, True  # an end that is observed is the length
    assert (np.asarray(model.sample(KEY, state, 400, {"x": x, "mask": mask})["length"]) == 3).all()


def test_steps_count_the_lengths_of_texts():
    model = masked(TEXT, net=NETS["mlp"])
    x, length = texts()
    batch = {"x": jnp.asarray(x), "length": jnp.asarray(length), "weight": jnp.asarray(length < 4, jnp.float32)}
    state, _ = model.step(KEY, model.init(KEY, batch), batch)
    np.testing.assert_array_equal(state.lengths, [1, 2, 4, 0])


def test_a_text_without_its_end_has_no_score():
    model, state = text_model()
    with pytest.raises(UserError, match="x ends with token 1; expected 2, the end of a text"):
        model.log_prob_bound(KEY, state, {"x": jnp.array([[0, 1, 0, 0]]), "length": jnp.array([2])})


@pytest.mark.parametrize(
    "given, line",
    [
        ({"length": [5]}, "given length is 5; expected 1 to 4"),
        ({"length": [1], "x": [[0, 1, 0, 0]], "mask": [[1, 1, 0, 0]]}, "given length is 1; expected 3 to 4"),
        ({"x": [[0] * 5], "mask": [[1] * 5]}, "given (x|mask) has 5 entries a text; expected at most 4"),
        ({"length": [2.5]}, "given length is float64 of shape .1,.; expected 1 whole numbers"),
        ({"x": [[2, 1, 0, 0]], "mask": [[1, 1, 0, 0]]}, "holds the end of a text before another entry"),
        (
            {"x": [[0, 1, 0, 1]], "mask": [[1, 1, 1, 1]]},
            "has 4 entries; expected at most 3, because a text needs its end",
        ),
    ],
)
def test_lengths_that_no_text_can_have_are_refused(given, line):
    model, state = text_model()
    with pytest.raises(UserError, match=line):
        model.sample(KEY, state, 1, {name: np.array(value) for name, value in given.items()})


@pytest.mark.parametrize(
    "spec, line",
    [
        (table_spec(2, None), "column 'x1' of .* holds numbers; expected levels for the masked diffusion model"),
        (make_spec("vector", (3,)), "expected rows of levels for a masked diffusion model"),
        (make_spec("roll", (4, 88))._replace(info={"ragged": True}), "have lengths of their own; expected texts"),
        (make_spec("class_map", (2, 2))._replace(info={"vocabulary": ["a", "b"]}), "expected rows of levels"),
    ],
)
def test_data_without_levels_are_refused(spec, line):
    with pytest.raises(UserError, match=line):
        masked(spec)


@pytest.mark.parametrize(
    "how, line",
    [({"steps": -1}, "steps is -1"), ({"temperature": -1.0}, "temperature is"), ({"top_k": 2}, "no sampler option")],
)
def test_faulty_options_are_refused(how, line):
    model, state = model_of("mlp")
    with pytest.raises(UserError, match=line):
        model.sample(KEY, state, 2, how=how)
    with pytest.raises(UserError, match="column 0 of x is 5"):
        model.sample(KEY, state, 1, {"x": np.array([[5.0, 0, 0]]), "mask": np.array([[True, False, False]])})


def test_given_numbers_that_are_no_levels_are_refused():
    spec = make_spec("image", (2, 2, 1))._replace(dtype="uint8", low=0, high=3)
    model = masked(spec, net=NETS["mlp"])
    state = model.init(KEY, {"x": jnp.zeros((1, 2, 2, 1))})
    with pytest.raises(UserError, match="given x holds 9; expected levels of the data"):
        model.sample(KEY, state, 1, {"x": np.full((1, 2, 2, 1), 9.0), "mask": np.ones((1, 2, 2, 1))})


@pytest.mark.study
def test_texts_of_one_length_are_modelled():
    spec = make_spec("text", (4,))._replace(info={"vocabulary": list("abc")})
    model = masked(spec, net=NETS["transformer"])
    state = model.init(KEY, {"x": jnp.zeros((1, 4), jnp.int32)})
    x = model.sample(KEY, state, 5)["x"]
    assert x.shape == (5, 4) and x.dtype == jnp.int32
    assert model.log_prob_bound(KEY, state, {"x": x}).shape == (5,)
