"""Laws of what models are made of, against enumeration, a counter and brute force."""

import itertools
import math
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
from conftest import table_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from strategies import SEEDS, networks

from gen_jax.distributions import columns
from gen_jax.distributions.frames import Choice, draw_token
from gen_jax.models.bayes_net import inference
from gen_jax.models.forest import growth
from gen_jax.models.markov import ngrams


@given(network=networks(), data=st.data())
def test_answers_of_a_network_are_sums_over_all_its_states(network, data):
    cards = tuple(map(len, network.levels))
    states = np.array([*itertools.product(*map(range, cards))])  # [S, D]
    num = data.draw(st.integers(1, 3))
    x = states[data.draw(st.lists(st.integers(0, len(states) - 1), min_size=num, max_size=num))]
    observed = data.draw(arrays(bool, x.shape))
    done = observed & data.draw(arrays(bool, x.shape))
    scopes = [(*above, variable) for variable, above in enumerate(network.parents)]
    factors = [table[tuple(states[:, scope].T)] for table, scope in zip(network.tables, scopes)]  # D of [S]
    prob = np.where(done[:, :, None], 1, np.array(factors)[None]).prod(1)  # [N, S]
    prob *= ((states[None] == x[:, None]) | ~observed[:, None]).all(2)
    total = prob.sum(1)
    with np.errstate(divide="ignore"):
        families, log_total = [np.log(table) for table in network.tables], np.log(total)
    evidence = inference.evidence_of(x, observed, done)
    question = (inference.query_of(families, network.parents, evidence), evidence)
    np.testing.assert_allclose(inference.log_evidence(*question), log_total, atol=1e-5)
    for variable, belief in enumerate(inference.posteriors(*question)[0]):
        expected = [prob[:, states[:, variable] == level].sum(1) for level in range(cards[variable])]
        np.testing.assert_allclose(belief, expected / np.where(total > 0, total, 1), atol=1e-5)
    best, log_best = inference.completed(*question, np.zeros(x.T.shape), best=True)
    place = np.ravel_multi_index([np.broadcast_to(levels, num) for levels in best], cards)
    for found in (np.exp(log_best), prob[np.arange(num), place]):
        np.testing.assert_allclose(found, prob.max(1), atol=1e-5)


VALUES = 5
TINY = 2.0**-100  # numbers below it are drawn as 0: by a temperature they become subnormal, and XLA takes those for 0
REAL = st.floats(-1e4, 1e4, width=32).map(lambda number: number if abs(number) > TINY else 0.0)
LOGITS = arrays(np.float32, VALUES, elements=REAL | st.sampled_from((-np.inf, 0.0, 1.0)))
jit_draw = jax.jit(draw_token)


@settings(max_examples=300)
@given(
    logits=LOGITS.filter(lambda logits: np.isfinite(logits).any()),
    temperature=st.just(0.0) | st.floats(2**-10, 16, width=32),
    top_k=st.integers(0, VALUES + 1),
    top_p=st.floats(0, 1, width=32),
    seed=SEEDS,
)
def test_a_token_is_the_likeliest_noisy_token_of_a_brute_force_filter(logits, temperature, top_k, top_p, seed):
    key = jax.random.key(seed)
    drawn = int(jit_draw(key, logits, Choice(np.float32(temperature), np.int32(top_k), np.float32(top_p))))
    if temperature == 0:
        assert drawn == logits.argmax()
        return
    tempered = logits / np.float32(temperature)
    ranking = sorted(range(VALUES), key=lambda token: -tempered[token])[: top_k or VALUES]
    shares = np.exp(tempered[ranking].astype(np.float64) - tempered.max())
    before = (np.cumsum(shares) - shares) / shares.sum()
    surely, perhaps = (  # because a sum in float32 may be on the other side of top_p
        [token for rank, token in enumerate(ranking) if rank == 0 or top_p == 1 or before[rank] < top_p + slack]
        for slack in (-1e-5, 1e-5)
    )
    scores = tempered + np.asarray(jax.random.gumbel(key, logits.shape))
    assert drawn in perhaps and np.isfinite(logits[drawn])
    assert scores[drawn] >= max(scores[token] for token in surely)


LONGEST, WIDTH, TOKENS = 3, 4, 3
SEQUENCES = st.lists(st.integers(0, TOKENS - 1), max_size=3 * WIDTH)
jit_insert = jax.jit(ngrams.insert, static_argnums=(3, 4))


@given(sequences=st.tuples(SEQUENCES, SEQUENCES))
def test_ngrams_are_counted_as_a_counter_counts_them(sequences):
    """Reads sequences in pieces of `WIDTH` tokens, behind the last tokens of the piece before."""
    most, context = TOKENS**LONGEST, LONGEST - 1
    keys, counts = np.full((LONGEST, most), ngrams.EMPTY), np.zeros((LONGEST, most), np.int32)
    padded = np.full((len(sequences), context + 3 * WIDTH), -1, np.int32)
    for row, sequence in zip(padded, sequences):
        row[context : context + len(sequence)] = sequence
    for start in range(0, 3 * WIDTH, WIDTH):
        tokens = padded[:, start : start + context + WIDTH]
        keys, counts, distinct = jit_insert(keys, counts, tokens, context, TOKENS)
    grams, above = {}, [()]
    for level, number in enumerate(np.asarray(distinct)):
        above = [(*above[key // TOKENS], key % TOKENS) for key in np.asarray(keys[level, :number]).tolist()]
        grams.update(zip(above, np.asarray(counts[level]).tolist()))
    expected = Counter(
        tuple(sequence[end - size : end])
        for sequence in sequences
        for end in range(1, len(sequence) + 1)
        for size in range(1, min(LONGEST, end) + 1)
    )
    assert grams == expected and len(grams) == sum(distinct)


def leaf_of(trees, tree: int, row: np.ndarray) -> int:
    """Returns the leaf of a row whose cells are as the tree compares them."""
    node = 0
    while node >= 0:
        right = row[trees.feature[tree, node]] > trees.threshold[tree, node]
        node = int(trees.children[tree, node, int(right)])
    return -1 - node


@given(data=st.data(), min_rows=st.integers(1, 5), room=st.integers(2, 8), seed=SEEDS)
def test_the_leaves_of_a_tree_share_out_the_rows_and_have_enough_of_them(data, min_rows, room, seed):
    num, most, trees = data.draw(st.integers(1, 30)), 4, 2
    unordered = data.draw(st.lists(st.sampled_from((0, 0, 2, most)), min_size=1, max_size=3))
    cells = st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from((0.0, -0.0, 2.0**-100, 1.0))
    elements = [st.integers(0, levels - 1) if levels else cells for levels in unordered]
    real = np.stack([data.draw(arrays(np.float32, num, elements=column)) for column in elements], 1)
    drawn = growth.resampled(np.random.default_rng(seed), real, np.ones(real.shape, bool), np.zeros((1, num), int))
    shape = (trees, room, real.shape[1], most)
    forest, accuracy = growth.grown(seed, real, drawn, unordered, shape, min_rows)
    assert 0 <= accuracy <= 1
    for tree in range(trees):
        coded = growth.ranked(forest.trees.rank[tree], unordered, real)
        inside = (coded[:, None] > forest.low[tree][None]) & (coded[:, None] <= forest.high[tree][None])
        split = forest.trees.threshold[tree, 0] < growth.BEYOND
        leaves = -forest.trees.children[tree].min() if split else 1
        inside = inside.all(2)[:, :leaves]  # [N, leaves]
        assert (inside.sum(1) == 1).all() and leaves <= room
        assert not split or inside.sum(0).min() >= min_rows
        assert [leaf_of(forest.trees, tree, row) for row in coded] == inside.argmax(1).tolist()


ROWS = 6


@st.composite
def rows_in_modes(draw):
    """Draws a table of a number with two modes between two columns of levels, and rows near the modes, some cells missing."""
    spec = table_spec(3, None, 2)
    means = draw(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=2))
    deviations = draw(st.lists(st.floats(2**-6, 4, width=32), min_size=2, max_size=2))
    spec.info["columns"][1]["modes"] = {"weight": [0.5, 0.5], "mean": means, "deviation": deviations}
    near = [
        st.floats(mean - 2 * deviation, mean + 2 * deviation, allow_subnormal=False)
        for mean, deviation in zip(means, deviations)
    ]
    cells = [st.just(math.nan) | column for column in (st.integers(0, 2), near[0] | near[1], st.integers(0, 1))]
    rows = [draw(st.lists(column, min_size=ROWS, max_size=ROWS)) for column in cells]
    return spec, np.array(rows, np.float32).T


@settings(max_examples=60)
@given(table=rows_in_modes(), seed=SEEDS)
def test_rows_come_back_from_the_vectors_that_nets_read(table, seed):
    spec, x = table
    layout, seen = columns.layout_of(spec), ~np.isnan(x)
    for key in (jax.random.key(seed), None):
        distance, held = columns.split(layout, columns.read(layout, key, jnp.asarray(x)))
        assert np.isin(held, (0, 1)).all() and (np.abs(distance) <= 1).all()
        assert (np.asarray(held) @ layout.member == 1).all()
        assert ((np.asarray(held) * ~layout.possible) @ layout.member == ~seen).all()  # cells that are missing
    back = np.asarray(columns.draw_rows(layout, None, jnp.log(held), distance))
    assert np.isfinite(back).all()
    np.testing.assert_allclose(back[seen], x[seen], atol=1e-4)
