"""Bayesian networks as a model: trees, searched graphs, EM, bins, evidence, interventions, against plain NumPy."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import table_spec
from PIL import Image
from test_bif import NETWORK

import gen_jax
from gen_jax import graph, information, train
from gen_jax.data.tables import bif, networks
from gen_jax.distributions import bins
from gen_jax.errors import UserError
from gen_jax.models import build_model
from gen_jax.models.bayes_net import bayes_net, network_in, search, structure_scores
from gen_jax.models.bayes_net.distance import cpdag, cpdag_distance
from gen_jax.models.bayes_net.information_theory import network_information
from gen_jax.models.bayes_net.structure_scores import Table
from gen_jax.verbs import graphs

KEY = jax.random.key(0)
CARDS = (3, 2, 2)
EDGES = (("x0", "x1"), ("x0", "x2"), ("x1", "x2"))
FIXED = {"name": "fixed", "edges": EDGES}
ROWS = networks.draw(NETWORK, np.random.default_rng(0), 400).astype(np.float32)


def learned(model, *batches):
    state, metrics = jax.jit(model.init)(KEY, batches[0]), {}
    step = jax.jit(model.step)
    for batch in batches:
        state, metrics = step(KEY, state, batch)
    return state, metrics


def rows(x: np.ndarray, mask: np.ndarray | None = None) -> dict:
    batch = {"x": jnp.asarray(x), "weight": jnp.ones(len(x))}
    return batch if mask is None else {**batch, "x": jnp.where(mask, batch["x"], 0), "mask": jnp.asarray(mask)}


def family(network: networks.Network, child: int, x: np.ndarray) -> np.ndarray:
    return network.tables[child][tuple(x[:, [*network.parents[child], child]].astype(int).T)]


def test_tables_are_smoothed_counts_whatever_the_batches():
    spec = table_spec(*CARDS, rows=400, missing=False)
    model = bayes_net(spec, FIXED, pseudo_count=0.5)
    state, metrics = learned(model, rows(ROWS))
    parts, _ = learned(model, rows(ROWS[:250]), rows(ROWS[250:]))
    np.testing.assert_array_equal(state.tables, parts.tables)
    again, _ = learned(model, rows(ROWS), rows(ROWS))  # a second pass counts anew
    np.testing.assert_array_equal(state.tables, again.tables)
    found = network_in(spec, state)
    assert found.parents == ((), (0,), (0, 1))
    counts = np.zeros((3, 2, 2))
    np.add.at(counts, tuple(ROWS[:, [0, 1, 2]].astype(int).T), 1)
    np.testing.assert_allclose(found.tables[2], (counts + 0.5) / (counts + 0.5).sum(2, keepdims=True), rtol=1e-5)
    log_prob = model.log_prob(KEY, state, rows(ROWS))
    np.testing.assert_allclose(log_prob, sum(np.log(family(found, i, ROWS)) for i in range(3)), rtol=1e-4)
    assert float(metrics["nats_per_row"]) == pytest.approx(-float(log_prob.mean()), rel=1e-4)
    assert model.extras["free_parameters"](state) == 2 + 3 + 6


def test_chow_liu_is_the_best_of_all_trees():
    x = np.random.default_rng(1).integers(0, 2, (300, 4))
    x[:, 2] = np.where(np.random.default_rng(2).random(300) < 0.8, x[:, 3], x[:, 2])
    x[:, 0] = np.where(np.random.default_rng(3).random(300) < 0.7, x[:, 2], x[:, 0])
    state, _ = learned(
        bayes_net(table_spec(2, 2, 2, 2, missing=False), {"name": "chow_liu"}), rows(x.astype(np.float32))
    )
    pairs = np.ones((4, 4, 2, 2))
    for i, j in np.ndindex(4, 4):
        np.add.at(pairs[i, j], (x[:, i], x[:, j]), 1)
    p = pairs / pairs.sum((2, 3), keepdims=True)
    ratio = p / p.sum(3, keepdims=True) / p.sum(2, keepdims=True)
    weight = (p * np.log(ratio)).sum((2, 3))

    def total(parents) -> float:
        roots = [each for each in range(4) if not _reaches_root(parents, each)]
        return -np.inf if roots else sum(weight[i, above] for i, above in enumerate(parents) if i)

    best = max(total((-1, *places)) for places in np.ndindex(4, 4, 4))
    found = state.graph.parents[:, 0].tolist()
    assert found[0] == -1 and total(found) == pytest.approx(best)


def _reaches_root(parents, each: int) -> bool:
    for _ in range(4):
        each = parents[each] if each > 0 else 0
    return each == 0


def test_scores_by_their_definition():
    x = ROWS.astype(np.int64).T
    table = Table(x, np.ones(400), CARDS)
    counts = np.zeros((3, 2, 2))
    np.add.at(counts, tuple(x), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        fit = np.nansum(counts * np.log(counts / counts.sum(2, keepdims=True)))
    family_found = structure_scores.family_counts(table, 2, (0, 1))
    assert structure_scores.bic(family_found) == pytest.approx(fit - 0.5 * np.log(400) * 6)
    from scipy.special import gammaln

    exact = (gammaln(10 / 6) - gammaln(10 / 6 + counts.sum(2))).sum() + (
        gammaln(10 / 12 + counts) - gammaln(10 / 12)
    ).sum()
    assert structure_scores.bdeu(family_found, 10.0) == pytest.approx(exact)
    wide = Table(np.repeat(x, 20, 0), np.ones(400), CARDS * 1 + tuple(np.repeat(CARDS, 20))[3:])
    many = structure_scores.family_counts(wide._replace(cards=tuple(np.repeat(CARDS, 20).tolist())), 59, range(59))
    assert len(many.joint) <= 12 and many.joint.sum() == 400  # 59 parents: rows are sorted, no table is made


@pytest.mark.parametrize("score", [structure_scores.bic, partial(structure_scores.bdeu, equivalent_rows=10.0)])
def test_cells_that_are_missing_make_no_edges(score):
    gains = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x = rng.choice(3, (2, 2000), p=(0.6, 0.3, 0.1))
        x[rng.random(x.shape) < 0.3] = -1
        table = structure_scores.Table(x, np.ones(2000), (3, 3))
        gains.append(
            structure_scores.family_score(table, 0, (1,), score) - structure_scores.family_score(table, 0, (), score)
        )
    assert max(gains) < 0


def test_a_search_is_the_best_of_all_graphs_and_the_same_in_any_process():
    rng = np.random.default_rng(3)
    x = networks.draw(NETWORK, rng, 2000)
    x = np.concatenate([x, (x[:, 2:] + (rng.random((2000, 1)) < 0.1)) % 2], 1)
    table, cards = Table(x.T.astype(np.int64), np.ones(2000), (*CARDS, 2)), (*CARDS, 2)
    none = np.zeros((4, 4), bool)
    limits = search.Limits(none, np.eye(4, dtype=bool), 3, 100)
    found = search.search(table, structure_scores.bic, limits, 0, 15, 2)

    def score(bits: int) -> float:
        edges = ((bits >> np.arange(12)) & 1).astype(bool)
        graph = np.zeros((4, 4), bool)
        graph[~np.eye(4, dtype=bool)] = edges
        if np.diag(search.reachable(graph)).any():
            return -np.inf
        return sum(local(each, frozenset(np.flatnonzero(graph[:, each]).tolist())) for each in range(4))

    local = search.local_scores(table, structure_scores.bic)
    assert found.score == pytest.approx(max(score(bits) for bits in range(1 << 12)))
    assert not np.diag(search.reachable(found.edges)).any()
    required = limits._replace(required=np.eye(4, k=3, dtype=bool), forbidden=np.eye(4, k=1, dtype=bool), max_parents=1)
    bound = search.search(table, structure_scores.bic, required, 0, 5, 2).edges
    assert bound[0, 3] and not (bound & required.forbidden).any() and bound.sum(0).max() <= 1
    shares = search.confidence(table, structure_scores.bic, limits, 0, 5, 4)
    assert shares.max() == 1 and cards


@pytest.mark.study
def test_the_same_graph_in_another_process():
    code = (
        "import numpy as np; from gen_jax.models.bayes_net import search as structure, structure_scores\n"
        "x = np.random.default_rng(0).integers(0, 2, (6, 200)); x[3] = x[0] ^ x[1]\n"
        "limits = structure.Limits(np.zeros((6, 6), bool), np.eye(6, dtype=bool), 3, 64)\n"
        "table = structure_scores.Table(x, np.ones(200), (2,) * 6)\n"
        "print(structure.search(table, structure_scores.bic, limits, 7, 5, 5).edges.astype(int).tolist())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout and "1" in runs[0].stdout, runs[0].stderr


def test_em_reaches_the_likelihood_of_plain_em():
    mask = np.random.default_rng(4).random(ROWS.shape) > 0.3
    model = bayes_net(table_spec(*CARDS, rows=400), FIXED, pseudo_count=0.0)
    batch = rows(ROWS, mask)
    state, first = learned(model, batch)
    states = np.indices(CARDS).reshape(3, -1)
    joint = np.ones(12) / 12
    agrees = ((states.T[None] == ROWS[:, None]) | ~mask[:, None]).all(2)  # [N, S]
    for _ in range(60):  # the saturated network is any joint
        share = agrees * joint
        joint = (share / share.sum(1, keepdims=True)).mean(0)
    step = jax.jit(model.step)
    for _ in range(30):
        state, metrics = step(KEY, state, batch)
    assert float(metrics["nats_per_row"]) < float(first["nats_per_row"])
    assert float(metrics["nats_per_row"]) == pytest.approx(-np.log((agrees * joint).sum(1)).mean(), abs=2e-4)
    np.testing.assert_allclose(model.log_prob(KEY, state, batch).mean(), -metrics["nats_per_row"], atol=1e-4)


def test_evidence_interventions_and_explanations():
    spec = table_spec(*CARDS, rows=400, missing=False)
    model = bayes_net(spec, FIXED)
    state, _ = learned(model, rows(ROWS))
    exact, num = network_in(spec, state), 4000
    x = np.tile(np.float32([0, 0, 1]), (num, 1))
    mask = np.tile([False, False, True], (num, 1))
    seen = model.sample(KEY, state, num, {"x": x, "mask": mask})["x"]
    joint = exact.tables[0][:, None] * exact.tables[1] * exact.tables[2][..., 1]
    assert (seen[:, 2] == 1).all() and seen.dtype == jnp.float32
    assert float((seen[:, 0] == 2).mean()) == pytest.approx((joint.sum(1) / joint.sum())[2], abs=0.04)
    done = model.sample(KEY, state, num, {"do": {"x": x, "mask": mask}})["x"]
    assert (done[:, 2] == 1).all() and float((done[:, 0] == 2).mean()) == pytest.approx(exact.tables[0][2], abs=0.04)
    best = model.sample(KEY, state, 2, {"x": x[:2], "mask": mask[:2]}, {"temperature": 0})["x"]
    np.testing.assert_array_equal(best, [[*np.unravel_index(joint.argmax(), (3, 2)), 1]] * 2)
    with pytest.raises(UserError, match="both observed and set"):
        model.sample(KEY, state, num, {"x": x, "mask": mask, "do": {"x": x, "mask": mask}})
    with pytest.raises(UserError, match=r"temperature is 0\.5; expected 1, or 0"):
        model.sample(KEY, state, 1, how={"temperature": 0.5})
    for wrong in ("cold", [0, 0], 2, np.nan, []):
        with pytest.raises(UserError, match="temperature .*; expected a number from 0 to 1"):
            model.sample(KEY, state, 1, how={"temperature": wrong})
    with pytest.raises(UserError, match="of all rows"):
        model.sample(KEY, state, 2, how={"temperature": [0, 1]})
    with pytest.raises(UserError, match="expected a level from 0 to 1"):
        model.log_prob(KEY, state, {"x": np.float32([[0, 0, 5]])})


def test_impossible_evidence_is_named_and_has_no_probability():
    model = bayes_net(table_spec(*CARDS, rows=400, missing=False), FIXED, pseudo_count=0.0)
    state, _ = learned(model, rows(ROWS[(ROWS[:, 0] != 2) | (ROWS[:, 2] != 0)]))
    x = np.float32([[0, 0, 1], [2, 0, 0]])
    given = {"x": x, "mask": np.array([[1, 0, 1]] * 2)}
    assert np.isneginf(model.log_prob(KEY, state, {"x": x, "mask": given["mask"] > 0})).tolist() == [False, True]
    with pytest.raises(UserError, match="row 2 is impossible"):
        model.sample(KEY, state, 2, given)


@pytest.mark.study
def test_bins_are_a_density_and_give_numbers_back():
    x = np.random.default_rng(5).gamma(2.0, 1.0, (500, 1)).astype(np.float32)
    x = np.concatenate([x, np.rint(x), np.ones_like(x)], 1)
    cut = bins.fit(jnp.asarray(x), jnp.ones(x.shape, bool), 6)
    counts = np.bincount(np.asarray(bins.code(cut, x))[:, 0], minlength=6)
    assert (
        counts.min() >= 80 and bins.used(cut).tolist()[2] == 2
    )  # nearly equal shares; one value has an edge all the same
    grid = np.linspace(-30, 60, 200_001, dtype=np.float32)[:, None]
    for column in range(2):
        one = bins.Bins(*(each[column : column + 1] for each in cut))
        shares = np.bincount(np.asarray(bins.code(one, x[:, column : column + 1]))[:, 0], minlength=6) / 500
        density = shares[np.asarray(bins.code(one, grid))[:, 0]] * np.exp(np.asarray(bins.log_density(one, grid))[:, 0])
        assert density.sum() * (grid[1] - grid[0])[0] == pytest.approx(1, abs=2e-3)
    k = jnp.tile(jnp.arange(6)[:, None], (1, 3)) % bins.used(cut)[None]
    for share in (0.01, 0.5, 0.99):
        np.testing.assert_array_equal(bins.code(cut, bins.undo(cut, k, jnp.full(k.shape, share))), k)


def test_a_number_beside_a_column_with_more_levels_than_it_has_bins():
    rng = np.random.default_rng(6)
    x = np.stack([rng.integers(0, 8, 200), rng.normal(size=200), rng.normal(size=200)], 1).astype(np.float32)
    x[:, 1] += x[:, 0]
    structure = {"name": "fixed", "edges": (("x1", "x0"), ("x1", "x2"))}
    model = bayes_net(table_spec(8, None, None, rows=200), structure, max_bins=3)
    state, metrics = learned(model, *[rows(x, rng.random(x.shape) > 0.1)] * 2)
    assert bins.used(state.bins).tolist()[1:] == [3, 3] and np.isfinite(metrics["nats_per_row"])
    tables = network_in(table_spec(8, None, None), state).tables
    assert [table.shape for table in tables] == [(3, 8), (3,), (3, 3)]
    assert all(np.allclose(table.sum(-1), 1, atol=1e-5) for table in tables)


@pytest.mark.study
def test_a_network_from_a_file(tmp_path):
    path = tmp_path / "net.bif"
    path.write_text(bif.write_bif(NETWORK))
    schema = [
        {"name": name, "kind": "categorical", "levels": [*levels][::-1], "missing": False, "low": 0.0, "high": 1.0}
        for name, levels in reversed([*zip(NETWORK.names, NETWORK.levels)])
    ]
    spec = table_spec(2, 2, 3, rows=400, missing=False)._replace(info={"columns": schema})
    model = build_model({"name": "bayes_net", "bif": str(path)}, spec)
    x = np.float32([[1, 1, 2], [0, 1, 0]])  # dry, off, no; wet, off, hard
    log_prob = model.log_prob(KEY, model.init(KEY, rows(x)), rows(x))
    np.testing.assert_allclose(np.exp(log_prob), [0.6 * 0.5 * 0.99, 0.1 * 1.0 * 1.0], rtol=1e-5)
    with pytest.raises(UserError, match="expected no model.structure"):
        bayes_net(spec, FIXED, bif=str(path))
    with pytest.raises(UserError, match="unknown column .*'rain'"):
        bayes_net(table_spec(2, 2), bif=str(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"structure": {"name": "searched"}}, "unknown structure 'searched'; expected .*Did you mean 'search'"),
        ({"structure": {"name": "fixed", "edges": [("x0", "x9")]}}, "unknown column in structure.edges"),
        ({"structure": {"name": "fixed", "edges": [("x0", "x1"), ("x1", "x0")]}}, "a cycle, x0 -> x1 -> x0"),
        (
            {"structure": {"name": "search", "required": [("x0", "x1")], "forbidden": [("x0", "x1")]}},
            "both required and",
        ),
        ({"structure": {"name": "search", "score": {"name": "bdue"}}}, "Did you mean 'bdeu'"),
        ({"structure": {"name": "search", "required": EDGES, "max_parents": 1}}, "'x2' 2 parents"),
        ({"max_bins": 1}, "max_bins is 1; expected a whole number, at least 2"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        bayes_net(table_spec(*CARDS), **options)


def test_cpdag_distance():
    chain, fork, collider = np.zeros((3, 3, 3), bool)
    chain[0, 1] = chain[1, 2] = fork[1, 0] = fork[1, 2] = collider[0, 1] = collider[2, 1] = True
    assert cpdag_distance(chain, fork) == 0 and cpdag_distance(chain, collider) == 2
    below = np.zeros((4, 4), bool)
    below[:3, :3], below[1, 3] = collider, True  # what leaves a collider is directed as well
    assert np.array_equal(cpdag(below), below)


@pytest.mark.study
def test_a_network_is_drawn_and_written(tmp_path, capsys):
    (tmp_path / "net.bif").write_text(bif.write_bif(NETWORK))
    config = Path(__file__).parents[1] / "configs" / "bayes_net_bif.py"
    flags = [f"--config.model.bif={tmp_path / 'net.bif'}", "--config.sample.num=4", "--quiet"]
    train.main(["train", "--config", str(config), "--workdir", str(tmp_path / "run"), *flags])
    (tmp_path / "net.bif").rename(tmp_path / "read.bif")  # the run knows it without the file
    graph.main(["graph", "--workdir", str(tmp_path / "run"), "--out", str(tmp_path / "again.bif")])
    again = bif.read_bif(tmp_path / "again.bif")
    assert again[:3] == NETWORK[:3]
    for mine, theirs in zip(again.tables, NETWORK.tables):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    graph.main(["graph", "--workdir", str(tmp_path / "run"), "--out", str(tmp_path / "net.png")])
    assert Image.open(tmp_path / "net.png").size > (50, 50)
    assert "3 variables, 3 edges of step 0" in capsys.readouterr().out
    ask = ["information", "--workdir", str(tmp_path / "run"), f"--of={NETWORK.names[0]}"]
    information.main([*ask, f"--about={NETWORK.names[1]}", f"--given={NETWORK.names[2]}"])
    exact = network_information(NETWORK, (0,), (1,), (2,))
    assert f"= {exact:.6f} nats, exactly" in capsys.readouterr().out
    run = gen_jax.load(tmp_path / "run")
    assert run.information(*NETWORK.names[:3]).nats == pytest.approx(exact)
    assert sum(run.query(NETWORK.names[0]).levels.values()) == pytest.approx(1)
    assert run.graph() == Image.open(tmp_path / "net.png")
    with pytest.raises(UserError, match="stands in two of --of, --about and --given"):
        information.main([*ask, f"--given={NETWORK.names[0]}"])


@pytest.mark.study
def test_layers_follow_the_edges():
    names = tuple("abcde")
    network = networks.Network(names, ((),) * 5, ((), (0,), (), (2,), (1, 3)), ())
    found = graphs.layers(network)
    assert [sorted(layer) for layer in found] == [[0, 2], [1, 3], [4]]
    assert (found[0] == [0, 2]) == (found[1] == [1, 3])  # no edge crosses another
