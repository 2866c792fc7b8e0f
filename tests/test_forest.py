"""Generative forests: how trees grow and are pruned, densities and draws of leaves beside plain NumPy, conditional ones."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import host, make_spec, table_spec
from scipy.stats import truncnorm

from gen_jax.errors import UserError
from gen_jax.models.forest import forest, growth, leaf_mixture
from gen_jax.models.forest import leaves as inside

KEY = jax.random.key(0)
STATES = np.array([*product(range(2), range(3), range(4))], np.float32)


def fit(model, x, mask=None, steps=2):
    batch = {"x": jnp.asarray(x, jnp.float32), "weight": jnp.ones(len(x))} | ({} if mask is None else {"mask": mask})
    state, step = jax.jit(model.init)(KEY, batch), jax.jit(model.step)
    for each in range(steps):
        state, metrics = step(jax.random.fold_in(KEY, each), state, batch)
    return state, metrics


def rows_of(num: int) -> np.ndarray:
    """Rows of two levels, three, four, and a number, each dependent on the one before."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, num)
    b = (a + rng.integers(0, 2, num)) % 3
    c = (b + 2 * (rng.random(num) < 0.2)) % 4
    return np.stack([a, b, c, c / 2 + rng.normal(0, 0.2, num)], 1).astype(np.float32)


@pytest.fixture(scope="module", params=["independent", "chow_liu"])
def fitted(request):
    """A forest of columns of levels, in leaves so large that a tree within them has something to say."""
    model = forest(table_spec(2, 3, 4, rows=400, missing=False), 3, min_rows=40, leaves=request.param)
    return model, fit(model, rows_of(400)[:, :3])[0]


def leaf_of(trees, tree: int, row: np.ndarray) -> int:
    """By the definition of `Trees`, one node at a time."""
    node = 0
    while node >= 0:
        column = trees.feature[tree, node]
        cell = trees.rank[tree, column, int(row[column])] if column < 3 else row[column]
        node = trees.children[tree, node, int(cell > trees.threshold[tree, node])]
    return -1 - node


def brute(state, row: np.ndarray) -> float:
    """The probability of a whole row of levels: trees, leaves and tables one after the other."""
    trees, leaves = host(state.forest)
    found = []
    for tree in range(len(trees.rank)):
        leaf = leaf_of(trees, tree, row)
        p = leaves.rows[tree, leaf] / leaves.rows[tree].sum()
        for column in range(3):
            above = -1 if leaves.parents is None else leaves.parents[tree, leaf, column]
            p *= leaves.tables[tree, leaf, column, 0 if above < 0 else int(row[above]), int(row[column])]
        found.append(p)
    return float(np.mean(found))


def test_probabilities_are_those_of_the_definition_and_sum_to_one(fitted):
    model, state = fitted
    p = np.exp(np.asarray(model.log_prob(KEY, state, {"x": STATES}), np.float64))
    np.testing.assert_allclose(p, [brute(state, row) for row in STATES], rtol=2e-5)
    assert p.sum() == pytest.approx(1, abs=1e-5)
    leaves = host(state.forest.leaves)
    assert leaves.rows[leaves.rows > 0].min() >= 40
    if leaves.parents is not None:
        assert (leaves.parents >= 0).any() and ((leaves.parents < 0).sum(2) >= 1).all()


def test_hidden_cells_are_summed_out_exactly(fitted):
    model, state = fitted
    p = np.exp(np.asarray(model.log_prob(KEY, state, {"x": STATES}), np.float64))
    for hidden in ([0], [1], [0, 2], [0, 1, 2]):
        mask = np.ones(STATES.shape, bool)
        mask[:, hidden] = False
        got = np.exp(model.log_prob(KEY, state, {"x": np.where(mask, STATES, 0), "mask": mask}))
        alike = (STATES[:, None] == STATES[None])[..., [each for each in range(3) if each not in hidden]].all(2)
        np.testing.assert_allclose(got, alike @ p, rtol=2e-5)


def test_draws_have_the_probabilities(fitted):
    """Free and conditional ones, against enumeration: within 5 standard errors of each of the frequencies."""
    model, state = fitted
    p, num = np.exp(np.asarray(model.log_prob(KEY, state, {"x": STATES}), np.float64)), 4000
    code = STATES @ [12, 4, 1]
    for known in (None, {0: 1.0}, {2: 3.0, 0: 0.0}):
        given, may = None, np.ones(len(STATES), bool)
        if known:
            x, mask = np.zeros((num, 3), np.float32), np.zeros((num, 3), bool)
            for column, level in known.items():
                x[:, column], mask[:, column] = level, True
                may &= STATES[:, column] == level
            given = {"x": x, "mask": mask}
        drawn = np.asarray(model.sample(jax.random.key(3), state, num, given)["x"])
        counts = (drawn[:, None] == STATES[None]).all(2).sum(0)
        assert counts.sum() == num and code.size == len(counts)
        wanted = np.where(may, p, 0) / p[may].sum()
        assert (np.abs(counts / num - wanted) <= 5 * np.sqrt(wanted * (1 - wanted) / num) + 1e-9).all()


@pytest.fixture(scope="module")
def mixed():
    """A forest of levels and numbers, one of which has few values; with the rows it is of."""
    x = rows_of(300)
    x = np.concatenate([x, np.round(x[:, 3:] + 0.1)], 1)
    spec = table_spec(2, 3, 4, None, None, rows=300, missing=False)
    spec.info["columns"][4] |= {"kind": "integer"}
    model = forest(spec, 3, min_rows=15)
    return model, fit(model, x)[0], x


@pytest.mark.study
def test_densities_of_numbers_are_those_of_scipy(mixed):
    model, state, x = mixed
    trees, leaves = host(state.forest)
    gap, pseudo, found = np.array([1e-3, 1.0]), 0.1, []
    assert (leaves.scale[leaves.rows > 0] == 0).any()  # a leaf in which all rows have one value
    for row in x[:40]:
        each = []
        for tree in range(3):
            leaf = leaf_of(trees, tree, row)
            rows = float(leaves.rows[tree, leaf])
            p = rows / leaves.rows[tree].sum() * np.prod(leaves.tables[tree, leaf, [0, 1, 2], 0, row[:3].astype(int)])
            for at in range(2):
                low, high, mean, scale = (getattr(leaves, name)[tree, leaf, at].astype(np.float64) for name in
                                          ("low", "high", "mean", "scale"))  # fmt: skip
                wide, broad = (truncnorm((low - mean) / s, (high - mean) / s, mean, s) for s in (scale or 1.0, 1.0))
                same = (abs(row[3 + at] - mean) <= gap[at] / 2) / gap[at]
                local = wide.pdf(row[3 + at]) if scale > 0 else same
                p *= (rows * local + pseudo * broad.pdf(row[3 + at])) / (rows + pseudo)
            each.append(p)
        found.append(np.log(np.mean(each)))
    np.testing.assert_allclose(model.log_prob(KEY, state, {"x": x[:40]}), found, rtol=1e-4, atol=1e-4)


def test_densities_integrate_to_their_marginals_and_have_gradients(mixed):
    model, state, x = mixed
    grid = np.linspace(-4, 6, 8001)
    rows = np.tile(x[:1], (len(grid), 1))
    rows[:, 3] = grid
    density = np.exp(np.asarray(model.log_prob(KEY, state, {"x": rows}), np.float64))
    mask = np.array([[True, True, True, False, True]])
    hidden = np.exp(float(model.log_prob(KEY, state, {"x": x[:1], "mask": mask})[0]))
    assert np.trapezoid(density, grid) == pytest.approx(hidden, rel=5e-3)  # the density jumps at thresholds
    slope = jax.grad(lambda x: model.log_prob(KEY, state, {"x": x})[0])(jnp.asarray(x[:1]))[0, 3]
    with pytest.raises(UserError, match="expected whole rows"):
        jax.grad(lambda x: model.log_prob(KEY, state, {"x": x, "mask": mask})[0])(jnp.asarray(x[:1]))
    moved = x[:1] + np.array([[0, 0, 0, 1e-3, 0], [0, 0, 0, -1e-3, 0]], np.float32)
    up, down = np.asarray(model.log_prob(KEY, state, {"x": moved}))
    assert float(slope) == pytest.approx((up - down) / 2e-3, rel=0.05, abs=0.05)


@pytest.mark.study
def test_draws_of_numbers_follow_what_is_given(mixed):
    """Means of draws beside those of the density, by a sum over a grid, within 5 standard errors; and what a number says."""
    model, state, _ = mixed
    grid, num = np.linspace(-4, 6, 1001), 2000
    for known in ({2: 3.0}, {0: 1.0, 4: 2.0}, {}):
        row, observed = np.zeros((1, 5), np.float32), np.zeros((1, 5), bool)
        for column, value in known.items():
            row[:, column], observed[:, column] = value, True
        given = {"x": np.repeat(row, num, 0), "mask": np.repeat(observed, num, 0)} if known else None
        drawn = np.asarray(model.sample(KEY, state, num, given)["x"])
        rows, mask = (np.repeat(each, len(grid), 0) for each in (row, observed))
        rows[:, 3], mask[:, 3] = grid, True
        density = np.exp(np.asarray(model.log_prob(KEY, state, {"x": rows, "mask": mask}), np.float64))
        assert (drawn[:, [*known]] == row[:, [*known]]).all()
        assert drawn[:, 3].mean() == pytest.approx(
            grid @ density / density.sum(), abs=5 * float(drawn[:, 3].std()) / num**0.5
        )
    given, mask = np.zeros((num, 5), np.float32), np.arange(5) == 3
    levels = np.asarray(model.sample(KEY, state, num, {"x": given, "mask": np.repeat(mask[None], num, 0)})["x"])[:, 2]
    some = np.zeros((4, 5), np.float32)
    some[:, 2] = np.arange(4)
    joint = np.exp(
        model.log_prob(KEY, state, {"x": some, "mask": np.repeat([[False, False, True, True, False]], 4, 0)})
    )
    np.testing.assert_allclose(np.bincount(levels.astype(int), minlength=4) / num, joint / joint.sum(), atol=0.05)


def test_a_forest_that_is_done_changes_nothing():
    model = forest(make_spec("vector", (2,)), 4, min_rows=4, delta=0.5)
    x = np.random.default_rng(0).normal(size=(64, 2))
    (one, said), (more, again) = (fit(model, x, steps=steps) for steps in (1, 4))
    assert said["done"] == again["done"] == 1 and int(more.step) == 4
    jax.tree.map(np.testing.assert_array_equal, host(one.forest), host(more.forest))


def test_pruned_trees_keep_every_row_and_both_orders_of_bounds():
    """Each leaf has rows enough, its bounds hold exactly its rows, and a tree without room has no more leaves than that."""
    rng = np.random.default_rng(0)
    real = np.stack([rng.normal(size=300), rng.integers(0, 5, 300)], 1).astype(np.float32)
    real[:, 0] += real[:, 1]
    drawn = growth.resampled(rng, real, np.ones(real.shape, bool), np.zeros((1, 300), int))
    assert set(drawn[:, 0]) <= set(real[:, 0]) and abs(np.corrcoef(drawn.T)[0, 1]) < 0.2
    for most in (200, 7):
        found, accuracy = growth.grown(1, real, drawn, [0, 5], (5, most, 2, 5), 6)
        assert 0.5 < accuracy < 1
        for tree in range(5):
            cells = growth.ranked(found.trees.rank[tree], [0, 5], real)
            inside = (cells[:, None] > found.low[tree][None]) & (cells[:, None] <= found.high[tree][None])
            leaves = 1 - found.trees.children[tree].min() - 1
            counts = inside.all(2)[:, :leaves].sum(0)
            assert counts.sum() == 300 and counts.min() >= 6 and 2 <= leaves <= most
            assert sorted(found.trees.rank[tree, 1]) == [*range(5)]


def test_draws_of_a_leaf_are_cells_of_its_rows_that_are_observed():
    x = np.arange(40, dtype=np.float32).reshape(20, 2)
    observed, leaf = np.ones((20, 2), bool), np.stack([np.arange(20) % 2, np.arange(20) // 10])
    observed[::3, 1] = False
    drawn = growth.resampled(np.random.default_rng(0), x, observed, leaf)
    rows = ((drawn - [0, 1]) / 2).astype(int)  # that each cell is of
    assert observed[rows[:, 1], 1].all()
    assert (
        (leaf[:, rows] == leaf[:, :, None]).all(2).any(0)
    ).all()  # both cells from the row's leaf of one of the trees


def test_a_row_of_which_nothing_is_known_goes_to_both_sides_of_a_node_by_their_shares(mixed):
    layout, num = inside.layout_of(table_spec(2, 3, 4, None, None), 0.1, False), 20_000
    tree = jax.tree.map(lambda each: each[0], mixed[1].forest.trees)
    hidden = jnp.zeros((num, 5)), jnp.zeros((num, 5), bool)
    times = np.bincount(jax.jit(partial(leaf_mixture.route_by_chance, KEY, layout))(tree, *hidden))
    p, below = np.zeros(len(times)), [(0, 1.0)]
    for node, share in below:
        if node < 0:
            p[-1 - node] = share
        else:
            sides = share * float(tree.share[node]), share * float(1 - tree.share[node])
            below += zip(tree.children[node].tolist(), sides)
    assert len(p) > 8 and p.sum() == pytest.approx(1)
    assert (np.abs(times - num * p) < 4.5 * np.sqrt(num * p * (1 - p))).all()


@pytest.mark.study
def test_without_pseudo_rows_a_tree_in_a_leaf_is_of_counts_alone():
    x = np.repeat(rows_of(100)[:, :1], 2, 1)  # one leaf, for no smaller one has 80 rows
    wrong = {"x": np.array([[0.0, 1.0]], np.float32)}
    for pseudo_rows, possible in ((0, False), (0.1, True)):
        options = {"min_rows": 80, "leaves": "chow_liu", "pseudo_rows": pseudo_rows}
        model = forest(table_spec(2, 2, rows=100, missing=False), 2, **options)
        assert np.isfinite(model.log_prob(KEY, fit(model, x)[0], wrong)).all() == possible


def test_what_a_forest_cannot_be_is_one_clear_line():
    spec = table_spec(2, None)
    for options, words in (
        ({"trees": 0}, "trees is 0; expected a whole number, at least 1"),
        ({"min_rows": 0}, "min_rows is 0"),
        ({"max_leaves": 1}, "max_leaves is 1; expected a whole number, at least 2"),
        ({"leaves": "chowliu"}, "Did you mean 'chow_liu'"),
        ({"pseudo_rows": -1}, "pseudo_rows"),
        ({"delta": 0.6}, "delta is 0.6; expected 0 to 0.5"),
        ({"trees": 10**6, "max_leaves": 10**4}, "Choose a smaller max_leaves"),
    ):
        with pytest.raises(UserError, match=words):
            forest(spec, **options)
    with pytest.raises(UserError, match="expected a table, or vectors"):
        forest(make_spec("image", (2, 2, 1)))
    with pytest.raises(UserError, match="'chow_liu' and .* has no levels; expected 'independent'"):
        forest(make_spec("vector", (2,)), leaves="chow_liu")
    model = forest(spec, 2)
    state = jax.jit(model.init)(KEY, {})
    with pytest.raises(UserError, match="row 0, column 0 of x is 2; expected a level from 0 to 1"):
        model.log_prob(KEY, state, {"x": np.array([[2.0, 0]])})
