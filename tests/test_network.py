"""Exact inference against enumeration of every joint state, in NumPy and compiled; draws, explanations, interventions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.errors import UserError
from gen_jax.models.bayes_net import elimination, inference
from gen_jax.models.bayes_net.inference import Evidence, Pattern

CARDS = (2, 3, 2, 4, 2, 3)
PARENTS = ((), (0,), (), (1, 2), (3, 0), (3,))
STATES = np.indices(CARDS).reshape(len(CARDS), -1)  # [D, S]


def random_families(seed: int, zeros: bool = True) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    tables = [rng.dirichlet(np.ones(CARDS[i]), [CARDS[p] for p in above]) for i, above in enumerate(PARENTS)]
    if zeros:
        tables[3] = np.where(np.indices(tables[3].shape).sum(0) % 3 == 0, 0, tables[3])
    with np.errstate(divide="ignore"):
        return [np.log(table / table.sum(-1, keepdims=True)) for table in tables]


def enumerated(families, evidence: Evidence) -> np.ndarray:
    """P(state, evidence) [B, S] by definition; families of what is done are left out."""
    agrees = ~evidence.observed[:, :, None] | (STATES[:, None] == evidence.x[:, :, None])
    probability = agrees.all(0) * 1.0
    for i, above in enumerate(PARENTS):
        table = np.exp(families[i])[tuple(STATES[[*above, i]])]  # [S]
        probability = probability * np.where(evidence.done[i][:, None], 1.0, table[None])
    return probability


def some_evidence(kind: str, rows: int = 120) -> Evidence:
    rng = np.random.default_rng(5)
    x = rng.integers(0, CARDS, (rows, len(CARDS)))
    observed = {
        "mixed": rng.random(x.shape) < 0.7,
        "same": np.tile([False, True, False, False, True, True], (rows, 1)),
        "none": np.zeros(x.shape, bool),
        "all": np.ones(x.shape, bool),
        "do": np.tile([False, False, True, True, False, True], (rows, 1)),
        "mixed do": (rng.random(x.shape) < 0.5) | (np.arange(6) == 1),
    }[kind]
    done = observed & (np.arange(6) == 3)[None] if kind == "do" else np.zeros_like(observed)
    done = observed & ((rng.random(x.shape) < 0.5) | (np.arange(6) == 1)) if kind == "mixed do" else done
    return inference.evidence_of(x, observed, done)


def asked(function, families, evidence: Evidence, keep=(), compiled: bool = False):
    query = inference.query_of(families, PARENTS, evidence, keep)
    if compiled:
        query = query._replace(families=[table.astype(np.float32) for table in families])
        evidence = Evidence(*(jnp.asarray(array) for array in evidence))
    return function(query, evidence)


KINDS = ("mixed", "same", "none", "all", "do", "mixed do")


@pytest.mark.parametrize(("kind", "compiled"), [*((kind, False) for kind in KINDS), ("mixed do", True), ("same", True)])
def test_posteriors_are_those_of_enumeration(kind, compiled):
    families, evidence = random_families(0), some_evidence(kind)
    joint = enumerated(families, evidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        found, log_prob = asked(inference.posteriors, families, evidence, compiled=compiled)
        np.testing.assert_allclose(log_prob, np.log(joint.sum(1)), rtol=1e-5, atol=1e-5)
        shares = np.nan_to_num(joint / joint.sum(1, keepdims=True))
    assert kind not in ("mixed", "all") or np.isneginf(log_prob).any()  # evidence of probability zero is among it
    for i in range(len(CARDS)):
        exact = np.stack([shares[:, STATES[i] == level].sum(1) for level in range(CARDS[i])])
        np.testing.assert_allclose(found[i], exact, atol=2e-6)


def test_joint_posterior_of_some_variables():
    families, evidence = random_families(1, zeros=False), some_evidence("same")
    found = asked(inference.posterior, families, evidence, keep=(3, 0), compiled=True)
    joint = enumerated(families, evidence)
    exact = np.zeros((4, 2, len(joint)))
    np.add.at(exact, (STATES[3], STATES[0]), joint.T)
    np.testing.assert_allclose(found, exact / joint.sum(1), atol=2e-6)


@pytest.mark.parametrize("kind", ("mixed", "same", "none", "all"))
def test_expected_counts_are_those_of_enumeration(kind):
    families, evidence = random_families(2), some_evidence(kind)
    weight, joint = np.random.default_rng(0).random(evidence.x.shape[1]), enumerated(families, evidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        query = inference.query_of(families, PARENTS, evidence)
        counts, log_prob = inference.expected_counts(query, evidence, weight)
        shares = np.nan_to_num(joint / joint.sum(1, keepdims=True)) * weight[:, None]
        np.testing.assert_allclose(log_prob, np.log(joint.sum(1)), atol=1e-5)
    for i, above in enumerate(PARENTS):
        exact = np.zeros(families[i].shape)
        np.add.at(exact, tuple(STATES[[*above, i]]), shares.sum(0))
        np.testing.assert_allclose(counts[i], exact, atol=1e-5)


def test_expected_counts_are_the_gradient_of_the_evidence():
    families, evidence = random_families(2, zeros=False), some_evidence("same")
    query = inference.query_of(families, PARENTS, evidence)
    weight = np.random.default_rng(0).random(evidence.x.shape[1])

    def total(families):
        return jnp.vdot(inference.log_evidence(query._replace(families=families), evidence), weight)

    slopes = jax.jit(jax.grad(total))([jnp.asarray(each, jnp.float32) for each in families])
    for mine, slope in zip(inference.expected_counts(query, evidence, weight)[0], slopes):
        np.testing.assert_allclose(mine, slope, rtol=1e-4, atol=1e-4)


def test_thousands_of_leaves_do_not_underflow():
    leaves, rows = 200, 3
    parents = ((), *[(0,)] * leaves)
    table = np.log(np.array([[0.99, 0.01], [0.01, 0.99]], np.float32))
    families = [np.log(np.array([0.5, 0.5], np.float32)), *[table] * leaves]
    x = np.zeros((rows, leaves + 1), np.int32)
    x[1, 1:100] = x[2] = 1  # one leaf more of one kind than of the other; all of the other
    evidence = inference.evidence_of(x, np.tile(np.arange(leaves + 1) > 0, (rows, 1)))
    found, log_prob = inference.posteriors(inference.query_of(families, parents, evidence), evidence)
    odds = np.log(99) * np.array([-200, -2, 200.0])  # of level 1 against 0
    np.testing.assert_allclose(found[0][1], 1 / (1 + np.exp(-odds.clip(-80, 80))), atol=1e-3)
    np.testing.assert_allclose(np.asarray(log_prob)[[0, 2]], 200 * np.log(0.99) + np.log(0.5), rtol=1e-4)


@pytest.mark.parametrize("kind", ("same", "do", "none"))
def test_draws_have_the_frequencies_of_enumeration(kind):
    families, evidence, num = random_families(3), some_evidence(kind, 1), 40_000
    joint = enumerated(families, evidence)[0]
    assert joint.sum() > 0
    query = inference.query_of([jnp.asarray(table, jnp.float32) for table in families], PARENTS, evidence)
    evidence = Evidence(*(np.repeat(array, num, 1) for array in evidence))
    shares = jax.random.uniform(jax.random.key(0), evidence.x.shape)
    x, _ = inference.completed(query, evidence, [*shares])
    seen = np.bincount(np.ravel_multi_index(tuple(x), CARDS), minlength=len(joint)) / num
    exact = joint / joint.sum()
    assert not seen[exact == 0].any()
    errors = np.abs(seen - exact) / np.sqrt(exact / num + 1e-12)
    assert errors.max() < 5


def test_draws_never_have_probability_zero():
    log_prob = jnp.log(jnp.array([0, 0.3, 0, 0.7, 0]))[:, None]
    shares = jnp.array([0, 1e-7, 0.2, 0.31, 0.8, 1 - 2.0**-23])  # the least and the largest that can be drawn
    assert inference.level_of_share(shares, jnp.tile(log_prob, (1, 6))).tolist() == [1, 1, 1, 3, 3, 3]


@pytest.mark.parametrize("kind", ("mixed", "same", "mixed do"))
def test_the_most_probable_explanation_is_the_best_of_all_states(kind):
    families, evidence = random_families(4, zeros=False), some_evidence(kind)
    joint = enumerated(families, evidence)
    query = inference.query_of(families, PARENTS, evidence)
    x, log_prob = inference.completed(query, evidence, np.zeros(evidence.x.shape), best=True)
    np.testing.assert_array_equal(x, STATES[:, joint.argmax(1)])
    np.testing.assert_allclose(log_prob, np.log(joint.max(1)), rtol=1e-6)


def test_a_network_too_wide_is_refused_before_memory_is_touched():
    side = 32  # a grid, whose width is its side
    parents = tuple(
        tuple(n for n, inside in ((i - side, i >= side), (i - 1, i % side)) if inside) for i in range(side**2)
    )
    with pytest.raises(UserError, match=r"too wide.*\d GiB.*expected at most"):
        elimination.cheapest_plan((2,) * side**2, parents, frozenset())


def test_what_no_evidence_reaches_is_computed_once():
    families, evidence = (
        random_families(0),
        inference.evidence_of(np.zeros((9, 6), int), np.tile(np.arange(6) == 5, (9, 1))),
    )
    query = inference.query_of(families, PARENTS, evidence)
    tables = elimination.forward(query.plan, inference.factors(query, evidence)).tables
    rows = {bucket.scope[0]: table.shape[-1] for bucket, table in zip(query.plan.buckets, tables)}
    assert rows[4] == 1 and rows[3] == 9


def test_patterns():
    observed = np.array([[1, 1], [0, 1], [0, 0]], bool)
    done = np.array([[0, 1], [0, 0], [0, 0]], bool)
    evidence = inference.evidence_of(np.zeros((2, 3)), observed.T, done.T)
    assert inference.pattern_of(evidence) == Pattern(frozenset({0}), frozenset({1}), frozenset(), frozenset({0}))
