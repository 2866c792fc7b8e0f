"""The Markov chain against counts and formulas in plain Python, its samples against its probabilities, and its loss."""

import itertools
from collections import Counter, defaultdict
from functools import lru_cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import host, make_spec

from gen_jax.errors import UserError
from gen_jax.losses.markov_chain import markov_chain_loss
from gen_jax.models import build_model
from gen_jax.models.markov import markov

KEY = jax.random.key(0)
chain_loss = jax.jit(markov_chain_loss)
SMOOTHINGS = {
    "additive": {"name": "additive", "alpha": 0.3},
    "witten_bell": {"name": "witten_bell"},
    "absolute": {"name": "absolute"},
    "kneser_ney": {"name": "kneser_ney"},
}
every_smoothing = pytest.mark.parametrize("name", SMOOTHINGS)


def tokens_spec(values: int, width: int, rows: int = 64):
    return make_spec("text", (width,))._replace(
        info={"vocabulary": [str(value) for value in range(values)]}, sizes={"train": rows}
    )


def chain(values: int, width: int, **options):
    return markov(tokens_spec(values, width), **options)


def learned(model, *batches):
    """The state after counting the batches, and the metrics of the last."""
    state, metrics = model.init(KEY, batches[0]), {}
    step = jax.jit(model.step)
    for batch in batches:
        state, metrics = step(KEY, state, batch)
    return state, metrics


def ngrams_of(state, values: int) -> dict:
    """The counts of a state by n-gram, read as the trie is defined."""
    found, above = {}, [()]
    for keys, counts, used in zip(state.keys, state.counts, state.used):
        here = [(*above[key // values], key % values) for key in np.asarray(keys)[:used].tolist()]
        assert here == sorted(here) and len(set(here)) == len(here)
        found.update(zip(here, np.asarray(counts).tolist()))
        above = here
    return found


def count(sequences, order: int) -> Counter:
    return Counter(
        tuple(each[end - size : end])
        for each in sequences
        for end in range(1, len(each) + 1)
        for size in range(1, min(order + 1, end) + 1)
    )


def reference(sequences, order: int, values: int, name: str, alpha: float = 0.3):
    """log P(sequence) by the textbook: a dictionary of counts, a recursion over contexts."""
    occurrences, before = count(sequences, order), defaultdict(set)
    for each in sequences:
        for end in range(1, len(each) + 1):
            for size in range(1, min(order + 1, end) + 1):
                before[tuple(each[end - size : end])].add(each[end - size - 1] if end > size else "start")
    counts = dict(occurrences)
    if name == "kneser_ney":
        counts.update({gram: len(seen) for gram, seen in before.items() if len(gram) <= order})
    children, discount = defaultdict(dict), {}
    for gram, number in counts.items():
        children[gram[:-1]][gram[-1]] = number
    for size in range(order + 1):
        ones, twos = (sum(c == n for gram, c in counts.items() if len(gram) == size + 1) for n in (1, 2))
        discount[size] = ones / (ones + 2 * twos) if ones else 0.5

    @lru_cache(None)
    def prob(context: tuple, token: int) -> float:
        seen = children[context]
        total, kinds, here = sum(seen.values()), len(seen), seen.get(token, 0)
        if name == "additive":
            return (here + alpha) / (total + alpha * values)
        shorter = prob(context[1:], token) if context else 1 / values
        if not seen:
            return shorter
        if name == "witten_bell":
            return (here + kinds * shorter) / (total + kinds)
        d = discount[len(context)]
        return max(here - d, 0) / total + d * kinds / total * shorter

    return lambda x: sum(np.log(prob(tuple(x[max(0, t - order) : t]), x[t])) for t in range(len(x)))


@pytest.fixture(scope="module")
def text() -> list[list[int]]:
    """Three short sequences of three tokens, one of them rare."""
    random = np.random.default_rng(3)
    return [random.choice(3, size, p=(0.6, 0.35, 0.05)).tolist() for size in (23, 9, 2)]


def padded(sequences, width: int, junk: int = 1) -> dict:
    """The sequences as a batch with lengths, and a padding row; what is beyond a length is junk."""
    x = np.full((len(sequences) + 1, width), junk, np.int32)
    for row, each in zip(x, sequences):
        row[: len(each)] = each
    length = np.array([len(each) for each in sequences] + [width], np.int32)
    weight = np.array([1.0] * len(sequences) + [0.0], np.float32)
    return {"x": jnp.asarray(x), "length": jnp.asarray(length), "weight": jnp.asarray(weight)}


STRINGS = np.array(list(itertools.product(range(3), repeat=6)), np.int32)


@pytest.mark.parametrize("order", [0, 1, 4])
def test_probabilities_are_those_of_the_textbook_and_sum_to_one(order, text):
    batch, state = padded(text, 24), None
    for name, smoothing in SMOOTHINGS.items():
        model = chain(3, 24, order=order, smoothing=smoothing)
        if state is None:  # counts do not depend on the smoothing
            state, metrics = learned(model, batch)
            assert ngrams_of(state, 3) == count(text, order)
            assert metrics["tokens"] == sum(map(len, text)) and metrics["ngrams"] == len(count(text, order))
        log_prob = np.asarray(model.log_prob(KEY, state, {"x": STRINGS}), np.float64)
        expected = reference(text, order, 3, name)
        np.testing.assert_allclose(log_prob, [expected(x) for x in STRINGS.tolist()], rtol=2e-6, err_msg=name)
        np.testing.assert_allclose(np.exp(log_prob).sum(), 1, rtol=1e-5)


@pytest.fixture(scope="module")
def order_two(text):
    """The state of a chain of order 2 that has counted the text."""
    return learned(chain(3, 24, order=2), padded(text, 24))[0]


@every_smoothing
def test_samples_have_the_probabilities(name, text, order_two):
    model, state = chain(3, 24, order=2, smoothing=SMOOTHINGS[name]), order_two
    strings, num = STRINGS[: 3**4, -4:], 20_000
    probability = np.exp([*map(reference(text, 2, 3, name), strings.tolist())])
    x = np.asarray(model.sample(KEY, state, num, {"length": np.full(num, 4)})["x"])
    found = np.bincount(x @ 3 ** np.arange(3, -1, -1), minlength=len(strings))
    assert found.sum() == num
    error = (found - num * probability) / np.sqrt(num * probability * (1 - probability))
    assert np.abs(error[num * probability > 5]).max() < 4.5


@pytest.mark.study
def test_bytes_of_order_four():
    random = np.random.default_rng(0)
    words = [random.integers(0, 256, 5).tolist() for _ in range(30)]
    train, test = ([token for each in random.integers(0, 30, 300) for token in words[each]] for _ in range(2))
    test[700:710] = range(10)
    model = chain(256, 1500, order=4)
    state, _ = learned(model, {"x": jnp.array([train])})
    assert ngrams_of(state, 256) == count([train], 4)
    got = model.log_prob(KEY, state, {"x": jnp.array([test])})[0]
    np.testing.assert_allclose(got, reference([train], 4, 256, "witten_bell")(test), rtol=1e-5)
    x = np.asarray(model.sample(KEY, state, 2, {"length": np.array([50, 50])})["x"])
    drawn = set(map(tuple, np.lib.stride_tricks.sliding_window_view(x, 5, 1).reshape(-1, 5).tolist()))
    assert len(drawn & set(map(tuple, words))) >= 5


def test_batches_and_their_order_change_nothing():
    x = jnp.asarray(np.random.default_rng(1).integers(0, 4, (12, 9)), jnp.int32)
    model = chain(4, 9, order=3)
    once, _ = learned(model, {"x": x})
    thrice, _ = learned(model, *({"x": x[rows]} for rows in (slice(8, 12), slice(0, 4), slice(4, 8))))
    chex.assert_trees_all_equal(host(once), host(thrice._replace(step=once.step)))


@pytest.mark.study
def test_lanes_go_on_where_they_stopped():
    random = np.random.default_rng(2)
    lanes = random.integers(0, 3, (2, 20))
    model, parts = chain(3, 5, order=3), []
    for start in (0, 5, 10, 15):
        reset = [start == 0, start in (0, 10)]
        parts.append({"x": jnp.asarray(lanes[:, start : start + 5], jnp.int32), "reset": jnp.array(reset)})
    parts[1]["length"] = jnp.array([2, 5])
    parts[2]["weight"] = jnp.array([0.0, 1.0])
    state, metrics = learned(model, *parts)
    first = np.concatenate([lanes[0, :7], lanes[0, 15:]]).tolist()
    assert ngrams_of(state, 3) == count([first, lanes[1, :10].tolist(), lanes[1, 10:].tolist()], 3)
    assert metrics["tokens"] == 32
    with pytest.raises(UserError, match="reset"):
        model.step(KEY, state, {"x": jnp.zeros((3, 5), jnp.int32), "reset": jnp.zeros(3, bool)})
    with pytest.raises(UserError, match="reset"):
        learned(model, {"x": parts[0]["x"]}, parts[0])


def test_an_overflow_is_not_silent():
    x = jnp.asarray(np.random.default_rng(3).integers(0, 4, (4, 50)), jnp.int32)
    model = chain(4, 50, order=2, max_ngrams=20)
    state, metrics = learned(model, {"x": x}, {"x": x[:, :1]})
    assert np.isnan(metrics["ngrams_left"]) and np.isfinite(metrics["ngrams"])
    for use in (lambda: model.log_prob(KEY, state, {"x": x}), lambda: model.sample(KEY, state, 1)):
        with pytest.raises(UserError, match="distinct 3-grams is above 20; .* Raise max_ngrams"):
            use()
    _, metrics = learned(chain(4, 50, order=2), {"x": x})
    assert metrics["ngrams_left"] == 64 - len(
        np.unique(np.lib.stride_tricks.sliding_window_view(x, 3, 1).reshape(-1, 3), axis=0)
    )


@pytest.mark.study
def test_an_untrained_chain_is_uniform():
    model = chain(3, 8, order=2)
    state = model.init(KEY, {"x": jnp.zeros((1, 8), jnp.int32)})
    long = model.log_prob(KEY, state, {"x": jnp.zeros((2, 10**6), jnp.int32), "length": jnp.array([10**6, 1])})
    np.testing.assert_allclose(long, [-(10**6) * np.log(3), -np.log(3)], rtol=1e-6)
    share = np.bincount(np.ravel(model.sample(KEY, state, 1000)["x"]), minlength=3) / 8000
    np.testing.assert_allclose(share, 1 / 3, atol=0.02)


@pytest.mark.study
def test_what_was_never_seen_after_a_long_run_has_a_finite_cost():
    model = chain(2, 3000, order=15)
    state, _ = learned(model, {"x": jnp.zeros((1, 3000), jnp.int32)})
    x = [0] * 15 + [1]
    got = model.log_prob(KEY, state, {"x": jnp.array([x])})[0]  # e^-125, less than a float32 holds
    np.testing.assert_allclose(got, reference([[0] * 3000], 15, 2, "witten_bell")(x), rtol=1e-5)


@pytest.mark.study
def test_a_prefix_is_kept_and_continued():
    period = np.tile(np.arange(4), 25)
    model = chain(4, 100, order=2, smoothing={"name": "absolute"})
    state, _ = learned(model, {"x": jnp.asarray(period[None], jnp.int32)})
    x = np.array([[2, 3, 9, -1, 0, 0], [3, 0, 1, 2, 7, 7], [1, 1, 1, 1, 1, 1]])
    mask = np.arange(6) < np.array([2, 4, 0])[:, None]
    drawn = model.sample(KEY, state, 3, {"x": x, "mask": mask})
    assert drawn.keys() == {"x"} and drawn["x"].shape == (3, 6) and drawn["x"].dtype == jnp.int32
    assert drawn["x"][0].tolist() == [2, 3, 0, 1, 2, 3] and drawn["x"][1].tolist() == [3, 0, 1, 2, 3, 0]
    longer = model.sample(KEY, state, 3, {"x": x, "mask": mask, "length": np.array([8, 4, 1])})
    assert longer["x"].shape == (3, 8) and longer["length"].tolist() == [8, 4, 1]
    assert longer["x"][0, :6].tolist() == drawn["x"][0].tolist()
    assert longer["x"][1].tolist() == [3, 0, 1, 2, 0, 0, 0, 0]
    assert (longer["x"][2, 1:] == 0).all() and longer["x"][2, 0] == drawn["x"][2, 0]


@pytest.mark.study
def test_a_sample_depends_on_its_key_and_place_alone(order_two):
    model, state = chain(3, 24, order=2), order_two
    five, two = model.sample(KEY, state, 5)["x"], model.sample(KEY, state, 2, {"length": np.array([30, 7])})["x"]
    assert np.array_equal(five[0], two[0, :24]) and np.array_equal(five[1, :7], two[1, :7])
    assert len({tuple(row) for row in five.tolist()}) == 5


def given_of(**changes) -> dict:
    return {"x": np.zeros((2, 4), int), "mask": np.arange(4) < np.array([[2], [0]]), **changes}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"y": np.zeros(2, int)}, "'y'"),
        ({"x": np.zeros((2, 4), int)}, "x is alone; expected x and mask"),
        ({"mask": np.ones((2, 4), bool)}, "mask is alone; expected x and mask"),
        (given_of(mask=np.array([[True, False, True, False]] * 2)), "prefix"),
        (given_of(mask=np.ones((2, 3), bool)), r"mask is \(2, 3\); expected one number for each frame, \(2, 4\)"),
        (given_of(x=np.zeros((2, 4))), "float64; expected whole numbers"),
        (given_of(x=np.full((2, 4), 3)), "x holds 3; expected a token from 0 to 2"),
        (given_of(x=np.full((2, 4), -1)), "x holds -1"),
        (given_of(length=np.array([1, 4])), "given length is 1; expected 2 or more"),
        ({"length": np.array([0, 4])}, "length is 0; expected"),
        ({"length": np.array([4, 4, 4])}, "shape of given length"),
        ({"length": np.array([4.0, 4.0])}, "length is float64"),
    ],
)
def test_an_unusable_given_is_refused(given, words):
    model = chain(3, 8, order=1)
    with pytest.raises(UserError, match=words):
        model.sample(KEY, model.init(KEY, {"x": jnp.zeros((1, 8), jnp.int32)}), 2, given)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": -1}, "order is -1; expected 0 to 15"),
        ({"order": 16}, "order is 16"),
        ({"order": 1.5}, "order is 1.5"),
        ({"smoothing": {"name": "kneser"}}, "Did you mean 'kneser_ney'"),
        ({"smoothing": {"name": "witten_bell", "alpha": 1}}, "unknown option"),
        ({"smoothing": {"name": "additive", "alpha": 0.0}}, "alpha is 0.0"),
        ({"smoothing": {"name": "additive", "alpha": float("nan")}}, "alpha is nan"),
        ({"max_ngrams": 0}, "max_ngrams is 0"),
        ({"max_ngrams": 2**31}, "max_ngrams is 2147483648; expected 1 to 1431655765"),
    ],
)
def test_unusable_arguments_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        build_model({"name": "markov", **options}, tokens_spec(3, 8))


def test_only_rows_of_tokens_are_modelled():
    for spec in (make_spec("vector", (2,)), make_spec("image", (8, 8, 1))):
        with pytest.raises(UserError, match="tokens"):
            markov(spec)
    model = chain(3, 8, order=1)
    with pytest.raises(UserError, match="x holds 3; expected a token from 0 to 2"):
        model.log_prob(KEY, model.init(KEY, {"x": jnp.zeros((1, 8), jnp.int32)}), {"x": jnp.full((1, 2), 3)})
    for wrong in ({"length": np.array([0])}, {"length": np.array([3])}, {"mask": np.ones((1, 2), bool)}):
        with pytest.raises(UserError, match=r"length is [03]; expected 1 whole numbers|the batch holds mask"):
            model.log_prob(
                KEY, model.init(KEY, {"x": jnp.zeros((1, 8), jnp.int32)}), {"x": jnp.zeros((1, 2), jnp.int32), **wrong}
            )


LOG_INITIAL = jnp.log(jnp.array([0.5, 0.3, 0.2]))
LOG_TRANSITION = jnp.log(jnp.array([[0.1, 0.6, 0.3], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]))


def test_the_loss_is_the_mean_cross_entropy():
    x = jnp.array([[0, 1, 2, 0], [2, 0, 2, 2]])
    loss = chain_loss(x, LOG_TRANSITION, LOG_INITIAL, jnp.array([4, 3]))
    by_hand = -(np.log([0.5, 0.6, 0.5, 1.0]).sum() + np.log([0.2, 1.0, 0.3]).sum()) / 2
    np.testing.assert_allclose(loss, by_hand, rtol=1e-6)
    relaxed = chain_loss(jax.nn.one_hot(x, 3), LOG_TRANSITION, LOG_INITIAL, jnp.array([4, 3]))
    np.testing.assert_allclose(relaxed, by_hand, rtol=1e-6)
    np.testing.assert_allclose(chain_loss(x[:1], LOG_TRANSITION), -np.log(0.6 * 0.5), rtol=1e-6)
    assert chain_loss(x, LOG_TRANSITION) == jnp.inf  # 2 after 2 never happens
    assert chain_loss(jax.nn.one_hot(x, 3), LOG_TRANSITION) == jnp.inf


def test_the_relaxed_loss_is_an_expectation_with_its_gradient():
    logits = jax.random.normal(KEY, (1, 3, 3))
    table = jnp.log(jax.nn.softmax(jax.random.normal(jax.random.key(1), (3, 3))))

    @jax.jit
    def loss(logits):
        return chain_loss(jax.nn.softmax(logits), table, LOG_INITIAL)

    p = np.asarray(jax.nn.softmax(logits), np.float64)[0]
    expected = sum(
        p[0, a] * p[1, b] * p[2, c] * float(chain_loss(jnp.array([[a, b, c]]), table, LOG_INITIAL))
        for a, b, c in itertools.product(range(3), repeat=3)
    )
    np.testing.assert_allclose(loss(logits), expected, rtol=1e-5)
    gradient = jax.grad(loss)(logits)
    shifts = 1e-2 * np.eye(9).reshape(9, 1, 3, 3)
    differences = [(loss(logits + shift) - loss(logits - shift)) / 2e-2 for shift in shifts]
    np.testing.assert_allclose(np.ravel(gradient), differences, atol=2e-4)


def test_impossible_steps_of_no_weight_cost_nothing():
    x = jnp.array([[[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]])
    value, gradient = jax.value_and_grad(chain_loss)(x, LOG_TRANSITION)
    np.testing.assert_allclose(value, -0.25 * np.log(0.6 * 0.3 * 0.5 * 0.5), rtol=1e-6)
    assert np.isfinite(gradient).all()
    alone = chain_loss(jnp.zeros((2, 1), jnp.int32), LOG_TRANSITION, LOG_INITIAL)
    np.testing.assert_allclose(alone, np.log(2), rtol=1e-6)
    none = chain_loss(jnp.zeros((2, 3), jnp.int32), LOG_TRANSITION, LOG_INITIAL, jnp.zeros(2, jnp.int32))
    assert none == 0
