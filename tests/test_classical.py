"""Bernoulli, Gaussian and mixture against enumeration, SciPy and scikit-learn; missing cells, conditions, minibatches."""

import itertools
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec, table_spec
from scipy.special import logsumexp
from scipy.stats import multivariate_normal as scipy_normal
from sklearn.covariance import OAS, ShrunkCovariance
from sklearn.mixture import GaussianMixture

from gen_jax.distributions import multivariate_normal
from gen_jax.errors import UserError
from gen_jax.models import build_model
from gen_jax.models.bernoulli import bernoulli
from gen_jax.models.gaussian import gaussian
from gen_jax.models.mixture import mixture

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
MIXED = (None, 2, None, 3)  # numbers and levels by turns


def fitted(model, batches: list[dict], steps: int | None = None):
    """The state after the batches, or after so many steps on the first."""
    state, step = model.init(KEY, batches[0]), jax.jit(model.step)
    for batch in batches if steps is None else batches[:1] * steps:
        state, _ = step(KEY, state, batch)
    return state


def batch_of(x, mask=None, weight=None) -> dict:
    x = jnp.asarray(x, jnp.float32)
    more = {} if mask is None else {"mask": jnp.asarray(mask)}
    x = x if mask is None else jnp.where(more["mask"], x, 0)
    return {"x": x, "weight": jnp.ones(len(x)) if weight is None else jnp.asarray(weight, jnp.float32), **more}


def parts(batch: dict, size: int) -> list[dict]:
    """Minibatches of one size, the last filled up with a row of weight 0."""
    rows = len(batch["x"])
    cut = []
    for start in range(0, rows, size):
        index = np.arange(start, start + size)
        part = {name: value[index % rows] for name, value in batch.items()}
        cut.append({**part, "weight": part["weight"] * (index < rows)})
    return cut


def mixed_rows(num: int) -> np.ndarray:
    kind = RANDOM.integers(0, 2, num)
    numbers = RANDOM.normal(np.where(kind, 2, -2)[:, None], (0.5, 1.0), (num, 2))
    levels = np.stack([RANDOM.random(num) < np.where(kind, 0.9, 0.2), (kind + RANDOM.integers(0, 2, num))], 1)
    return np.stack([numbers[:, 0], levels[:, 0], numbers[:, 1], levels[:, 1]], 1)


def test_shares_are_those_of_smoothed_counts():
    x = np.array([[0, 0], [1, 2], [1, 0], [1, 1], [1, 0]])
    mask = np.array([[1, 1], [1, 1], [1, 0], [0, 1], [1, 1]], bool)
    model = bernoulli(table_spec(2, 3), strength=0.5)
    state = fitted(model, [batch_of(x, mask)])
    p = np.outer([1.5 / 5, 3.5 / 5], [2.5 / 5.5, 1.5 / 5.5, 1.5 / 5.5])  # of 4 observed cells each
    every = np.array([*itertools.product(range(2), range(3))])
    np.testing.assert_allclose(model.log_prob(KEY, state, batch_of(every)), np.log(p.ravel()), rtol=1e-5)
    hidden = batch_of([[1, 0]], [[True, False]])
    np.testing.assert_allclose(model.log_prob(KEY, state, hidden), np.log(p[1].sum()), rtol=1e-5)
    assert model.extras["free_parameters"](state) == 3


@pytest.mark.parametrize(
    "build",
    [
        lambda: (bernoulli(table_spec(2, 3, 4)), RANDOM.integers(0, 2, (50, 3)), RANDOM.random((50, 3)) < 0.8),
        lambda: (gaussian(table_spec(None, None, missing=False)), RANDOM.normal(1e2, 1, (50, 2)), None),
        lambda: (
            gaussian(table_spec(None, None), covariance="diagonal"),
            RANDOM.normal(0, 1, (50, 2)),
            RANDOM.random((50, 2)) < 0.8,
        ),
    ],
    ids=["bernoulli", "gaussian", "gaussian_diagonal"],
)
def test_minibatches_learn_what_one_batch_does(build):
    model, x, mask = build()
    batch = batch_of(x, mask)
    one, many = fitted(model, [batch]), fitted(model, parts(batch, 8))
    np.testing.assert_allclose(model.log_prob(KEY, one, batch), model.log_prob(KEY, many, batch), rtol=2e-5, atol=2e-5)


@pytest.mark.study
def test_minibatches_of_one_iteration_learn_what_one_batch_does():
    batch = batch_of(mixed_rows(50), RANDOM.random((50, 4)) < 0.8)
    one, many = (mixture(table_spec(*MIXED), components=2, batches=number) for number in (1, 7))
    start = many.init(KEY, batch)
    state, step = start, jax.jit(many.step)
    for each in parts(batch, 8) * 2:
        state, _ = step(KEY, state, each)
    alone, step = start._replace(statistics=None), jax.jit(one.step)
    for _ in range(2):
        alone, _ = step(KEY, alone, batch)
    np.testing.assert_allclose(one.log_prob(KEY, alone, batch), many.log_prob(KEY, state, batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"shrinkage": 0.3}, {"covariance": "diagonal"}, {"shrinkage": None}])
def test_a_gaussian_has_the_moments_of_the_rows(options):
    x = RANDOM.normal(0, 1, (30, 4)) @ RANDOM.normal(0, 1, (4, 4)) + 3
    shrinkage = options.get("shrinkage", 0)
    shrunk = {"covariance": "shrunk"} if "shrinkage" in options else {}
    model = gaussian(make_spec("vector", (4,)), **{**shrunk, **options}, floor=0.0)
    state = fitted(model, [batch_of(x)])
    expected = np.cov(x.T, bias=True)
    if "covariance" in options:
        expected = np.diag(np.diag(expected))
    elif shrinkage is None:
        expected = OAS().fit(x).covariance_
    elif shrinkage:
        expected = ShrunkCovariance(shrinkage=shrinkage).fit(x).covariance_
    density = scipy_normal(x.mean(0), expected).logpdf(x)
    np.testing.assert_allclose(model.log_prob(KEY, state, batch_of(x)), density, rtol=2e-4)


def test_em_of_a_gaussian_with_missing_cells_is_stationary():
    """The gradient of the observed likelihood, by finite differences in float64, vanishes where EM ends."""
    x = RANDOM.normal(0, 1, (80, 3)) @ np.array([[1, 0.8, 0], [0, 0.6, 0.5], [0, 0, 0.7]]) + 1
    mask = RANDOM.random(x.shape) < 0.7
    model = gaussian(table_spec(None, None, None), floor=0.0)
    state = fitted(model, [batch_of(x, mask)], 150)
    mean, covariance = (np.asarray(each[0], np.float64) for each in (state.moments.mean, state.moments.covariance))

    def likelihood(mean, covariance):
        rows = [(row[seen], seen) for row, seen in zip(x, mask) if seen.any()]
        return sum(scipy_normal(mean[seen], covariance[np.ix_(seen, seen)]).logpdf(row) for row, seen in rows)

    found = likelihood(mean, covariance)
    own = model.log_prob(KEY, state, batch_of(x, mask))
    np.testing.assert_allclose(np.asarray(own, np.float64).sum(), found, rtol=1e-5)
    for at in range(3):
        step = 0.02 * np.eye(3)[at]
        assert likelihood(mean + step, covariance) < found and likelihood(mean - step, covariance) < found
        for other in range(at, 3):
            side = 0.02 * (np.outer(np.eye(3)[at], np.eye(3)[other]) + np.outer(np.eye(3)[other], np.eye(3)[at]))
            assert likelihood(mean, covariance + side) < found and likelihood(mean, covariance - side) < found


@pytest.mark.parametrize("size", [1, multivariate_normal.FEW, multivariate_normal.FEW + 1])
def test_densities_and_moments_are_those_of_scipy_and_numpy(size):
    """By columns, where rows are narrow, and by products."""
    random = np.random.default_rng(size)
    x, weight = random.normal(3, 2, (500, size)), random.random(500)
    found = multivariate_normal.moments(jnp.asarray(weight, jnp.float32), jnp.asarray(x, jnp.float32))
    mean, covariance = np.average(x, 0, weight), np.cov(x.T, aweights=weight, bias=True).reshape(size, size)
    for one, other in zip(found, (weight.sum(), mean, covariance)):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    density = multivariate_normal.log_density(*(jnp.asarray(each, jnp.float32) for each in (mean, covariance, x)), None)
    np.testing.assert_allclose(density, scipy_normal(mean, covariance).logpdf(x), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_em_is_scikit_learns_from_the_same_start(covariance):
    x = np.concatenate([RANDOM.normal(mean, 0.6, (40, 3)) for mean in (-1, 0, 2)])
    batch, model = batch_of(x), mixture(make_spec("vector", (3,)), components=3, covariance=covariance)
    state, step, theirs, ours = model.init(KEY, batch), jax.jit(model.step), [], []
    spread = np.asarray(state.params.covariance, np.float64)[:, 0] if covariance == "full" else None
    precision = (
        1 / np.asarray(state.params.covariance[..., 0, 0], np.float64) if spread is None else np.linalg.inv(spread)
    )
    weights = np.exp(np.asarray(state.params.log_weight, np.float64))
    peer = GaussianMixture(
        3,
        covariance_type={"full": "full", "diagonal": "diag"}[covariance],
        max_iter=1,
        warm_start=True,
        weights_init=weights / weights.sum(),
        means_init=np.asarray(state.params.mean, np.float64).reshape(3, 3),
        precisions_init=precision,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged after its one iteration
        for _ in range(15):
            theirs.append(peer.fit(x).lower_bound_)
            state, metrics = step(KEY, state, batch)
            ours.append(-float(metrics["nats_per_row"]))
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    assert all(leaf.size for leaf in jax.tree.leaves(state))  # as a checkpoint demands
    assert model.extras["free_parameters"](state) == peer._n_parameters()
    np.testing.assert_allclose(model.log_prob(KEY, state, batch), peer.score_samples(x), rtol=1e-4, atol=1e-4)


def by_hand(state, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """log p(x_observed) of rows of `MIXED` columns under a mixture, in float64."""
    found = []
    for row, seen in zip(x, mask):
        numbers, joint = seen[[0, 2]], np.asarray(state.params.log_weight, np.float64).copy()
        for k in range(len(joint)):
            mean, spread = (np.asarray(each[k, 0], np.float64) for each in (state.params.mean, state.params.covariance))
            if numbers.any():
                density = scipy_normal(mean[numbers], spread[np.ix_(numbers, numbers)])
                joint[k] += density.logpdf(row[[0, 2]][numbers])
            joint[k] += sum(
                float(state.params.log_p[k, first + int(row[at])]) for at, first in ((1, 0), (3, 2)) if seen[at]
            )
        found.append(logsumexp(joint))
    return np.array(found)


@pytest.fixture(scope="module")
def mixed():
    """A mixture of mixed columns, learnt from rows with a third of their cells hidden."""
    x, mask = mixed_rows(300), RANDOM.random((300, 4)) < 0.67
    model = mixture(table_spec(*MIXED), components=2, floor=1e-4)
    return model, fitted(model, [batch_of(x, mask)], 30), x, mask


def test_missing_cells_are_integrated_out(mixed):
    model, state, x, mask = mixed
    density = model.log_prob(KEY, state, batch_of(x[:40], mask[:40]))
    np.testing.assert_allclose(density, by_hand(state, x[:40], mask[:40]), rtol=1e-4, atol=1e-4)
    assert sorted(np.asarray(state.params.mean[:, 0, 0]).round().tolist()) == [-2, 2]  # the truth, under a third hidden
    z = np.asarray(model.encode(KEY, state, batch_of(x))["z"])
    assert (z == (x[:, 0] > 0)).mean() > 0.99 or (z == (x[:, 0] < 0)).mean() > 0.99


@pytest.mark.study
def test_em_never_loses_likelihood(mixed):
    model, _, x, mask = mixed
    model = mixture(table_spec(*MIXED), components=3, floor=0.0, strength=0.0)
    batch, nats = batch_of(x, mask), []
    state, step = model.init(KEY, batch), jax.jit(model.step)
    for _ in range(15):
        state, metrics = step(KEY, state, batch)
        nats.append(float(metrics["nats_per_row"]))
    assert (np.diff(nats) < 2e-6).all() and nats[-1] < nats[0] - 0.05


@pytest.mark.study
def test_what_is_drawn_given_cells_has_their_conditional_distribution(mixed):
    """Moments of draws of the third column and shares of the fourth given the first, against Bayes' rule by hand."""
    model, state, _, _ = mixed
    num, row = 20_000, np.array([0.1, 0.0, 0.0, 0.0])
    seen = np.array([True, False, False, False])
    given = {"x": np.tile(row, (num, 1)).astype(np.float32), "mask": np.tile(seen, (num, 1))}
    drawn = np.asarray(model.sample(KEY, state, num, given)["x"])
    assert (drawn[:, 0] == np.float32(0.1)).all()
    evidence = by_hand(state, row[None], seen[None])[0]
    shares = [
        np.exp(by_hand(state, np.array([[0.1, 0, 0, at]]), np.array([[1, 0, 0, 1]]) > 0) - evidence) for at in range(3)
    ]
    np.testing.assert_allclose(np.bincount(drawn[:, 3].astype(int), minlength=3) / num, np.ravel(shares), atol=0.015)
    grid = np.linspace(-8, 8, 401)
    rows = np.stack([np.full(401, 0.1), 0 * grid, grid, 0 * grid], 1)
    density = np.exp(by_hand(state, rows, np.tile([True, False, True, False], (401, 1))) - evidence) * (
        grid[1] - grid[0]
    )
    mean = density @ grid
    assert density.sum() == pytest.approx(1, abs=1e-3)
    assert drawn[:, 2].mean() == pytest.approx(mean, abs=0.05)
    assert drawn[:, 2].std() == pytest.approx(np.sqrt(density @ (grid - mean) ** 2), rel=0.03)


def test_a_gaussian_draws_from_its_conditional():
    x = RANDOM.normal(0, 1, (200, 3)) @ np.array([[1, 0.8, 0.3], [0, 0.6, 0.5], [0, 0, 0.7]])
    model = gaussian(make_spec("vector", (3,)), floor=0.0)
    state = fitted(model, [batch_of(x)])
    mean, covariance = x.mean(0), np.cov(x.T, bias=True)
    given = {"x": np.tile([1.5, 0, -1], (20_000, 1)), "mask": np.tile([1, 0, 1], (20_000, 1))}
    drawn = np.asarray(model.sample(KEY, state, 20_000, given)["x"])
    seen = [0, 2]
    gain = covariance[1, seen] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    assert drawn[:, 1].mean() == pytest.approx(mean[1] + gain @ (np.array([1.5, -1]) - mean[seen]), abs=0.02)
    assert drawn[:, 1].std() == pytest.approx(np.sqrt(covariance[1, 1] - gain @ covariance[seen, 1]), rel=0.03)
    free = np.asarray(model.sample(KEY, state, 20_000)["x"])
    np.testing.assert_allclose(np.cov(free.T), covariance, atol=0.04)


@pytest.mark.study
def test_a_mixture_of_levels_alone_is_learnt():
    """Two kinds of rows, each of its own pattern: the components find them, and no number is needed."""
    x = np.where(np.arange(60)[:, None] % 2, [0, 0, 0], [1, 1, 2])
    model = mixture(table_spec(2, 2, 3), components=2, strength=0.01)
    state = fitted(model, [batch_of(x)], 20)
    np.testing.assert_allclose(model.log_prob(KEY, state, batch_of(x)), np.log(0.5), atol=0.01)
    assert all(leaf.size for leaf in jax.tree.leaves(state))  # as a checkpoint demands
    every = np.array([*itertools.product(range(2), range(2), range(3))])
    assert np.exp(np.asarray(model.log_prob(KEY, state, batch_of(every)))).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.study
def test_impossible_evidence_and_levels_that_are_none_are_refused():
    model = mixture(table_spec(2, 3), components=1, strength=0.0)
    state = fitted(model, [batch_of([[0, 0], [0, 1]])], 2)
    assert model.log_prob(KEY, state, batch_of([[1, 0]]))[0] == -jnp.inf
    with pytest.raises(UserError, match="row 2 is impossible"):
        model.sample(KEY, state, 2, {"x": np.array([[0, 0], [1, 0]]), "mask": np.ones((2, 2))})
    for wrong in (3, -1, 0.5):
        with pytest.raises(UserError, match=f"row 0, column 1 of x is {wrong:g}; expected a level from 0 to 2"):
            model.log_prob(KEY, state, batch_of([[0, wrong]]))
    assert np.isfinite(model.log_prob(KEY, state, batch_of([[0, 3]], [[True, False]])))


@pytest.mark.parametrize(
    ("options", "columns", "words"),
    [
        ({"name": "bernoulli"}, (2, None), "columns 'x1' of made-up hold numbers; .* Choose the model mixture"),
        ({"name": "bernoulli", "strength": -1}, (2,), "strength is -1"),
        ({"name": "gaussian"}, (None, 2), "columns 'x1' of made-up have levels; .* Choose the model mixture"),
        ({"name": "gaussian", "covariance": "tied"}, (None,), "unknown covariance 'tied'"),
        ({"name": "gaussian", "shrinkage": 0.5}, (None,), "with covariance 'full'; .*covariance='shrunk'"),
        (
            {"name": "gaussian", "covariance": "shrunk", "shrinkage": 2.0},
            (None,),
            "shrinkage is 2.0 with .* expected 0 to 1",
        ),
        ({"name": "gaussian", "floor": -1.0}, (None,), "floor is -1.0"),
        ({"name": "mixture", "components": 0}, (None,), "components is 0"),
        ({"name": "mixture", "components": 65}, (None,), "components is 65; expected at most 64"),
        ({"name": "mixture", "batches": 0}, (None,), "batches is 0"),
        ({"name": "mixture", "floor": -1.0}, (None,), "floor is -1.0"),
    ],
)
def test_unusable_arguments_are_refused(options, columns, words):
    with pytest.raises(UserError, match=words):
        build_model(options, table_spec(*columns))


def test_only_columns_are_modelled():
    for name in ("bernoulli", "gaussian", "mixture"):
        with pytest.raises(UserError, match="holds image data; expected a table, or vectors"):
            build_model({"name": name}, make_spec("image", (8, 8, 1)))


def rows_with_gaps(rows=37, size=5):
    random = np.random.default_rng(3)
    factor, x, mask = (
        random.normal(size=(size, size)),
        random.normal(size=(rows, size)),
        random.random((rows, size)) > 0.3,
    )
    covariance = factor @ factor.T + np.eye(size)
    arrays = random.random(rows), random.normal(size=size), covariance, np.where(mask, x, 0)
    return *(jnp.asarray(each, jnp.float32) for each in arrays), jnp.asarray(mask)


@pytest.mark.study
@pytest.mark.parametrize("numbers", [1, 25 * 8, 25 * 36, 25 * 37, 2**22])
def test_rows_with_gaps_are_worked_on_in_parts_with_the_same_outcome(numbers, monkeypatch):
    weight, mean, covariance, x, mask = rows_with_gaps()
    monkeypatch.setattr(multivariate_normal, "TOGETHER", numbers)
    found, log_density = multivariate_normal.expected(weight, mean, covariance, x, mask)
    np.testing.assert_allclose(multivariate_normal.log_density(mean, covariance, x, mask), log_density, rtol=1e-5)
    filled, total = np.array(x, np.float64), np.zeros((5, 5))
    for row, seen in enumerate(np.asarray(mask)):  # by the definition, one row at a time
        within = np.asarray(covariance, np.float64)
        gain = within[np.ix_(~seen, seen)] @ np.linalg.inv(within[np.ix_(seen, seen)])
        filled[row, ~seen] = np.asarray(mean)[~seen] + gain @ (np.asarray(x)[row, seen] - np.asarray(mean)[seen])
        total[np.ix_(~seen, ~seen)] += float(weight[row]) * (
            within[np.ix_(~seen, ~seen)] - gain @ within[np.ix_(seen, ~seen)]
        )
        own = scipy_normal(np.asarray(mean)[seen], within[np.ix_(seen, seen)]) if seen.any() else None
        np.testing.assert_allclose(log_density[row], own.logpdf(np.asarray(x)[row, seen]) if own else 0, rtol=1e-4)
    share = np.asarray(weight, np.float64) / float(weight.sum())
    off = filled - share @ filled
    np.testing.assert_allclose(found.mean, share @ filled, atol=1e-5)
    expected = (off * share[:, None]).T @ off + total / float(weight.sum())
    np.testing.assert_allclose(found.covariance, expected, atol=1e-4)


def test_calls_of_lapack_for_many_rows_wait_for_each_other():
    """Of calls that do not, each may hold a thread of XLA:CPU and wait for the others': a run of 140 columns stood still."""
    weight, mean, covariance, x, mask = rows_with_gaps()
    key = jax.random.key(0)
    expected = jax.make_jaxpr(multivariate_normal.expected)(weight, mean, covariance, x, mask)
    completed = jax.make_jaxpr(jax.vmap(multivariate_normal.completed, (None, None, None, 0, 0)))(
        key, mean, covariance, x, mask
    )
    for traced in map(str, (expected, completed)):
        assert (len(re.findall(r"= cholesky\b", traced)), traced.count(" triangular_solve[")) == (1, 2)
