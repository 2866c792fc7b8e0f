"""Bayesian networks beside pgmpy: the same answers, and graphs from data. How fast is a pair of `run.py`.

    pip install -e ".[bench]"
    python benchmarks/networks.py --networks ../shared/data/networks [--parts answers graphs] [--seeds 5]

`answers`: 1,000 random queries to each network, evidence of probability zero among them, and the largest difference.
`graphs`: from 5,000 rows of each seed, the distance of equivalence classes from the true graph and BIC less that of the
true graph; pgmpy's HillClimbSearch with its defaults, at most 4 parents, BIC. It depends on PYTHONHASHSEED.
"""

import argparse
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from pairs.network import known, pgmpy_network

from gen_jax.data.tables.bif import read_bif
from gen_jax.data.tables.networks import Network, draw
from gen_jax.models.bayes_net import batched, inference, structure_scores
from gen_jax.models.bayes_net import search as structure
from gen_jax.models.bayes_net.distance import cpdag_distance

warnings.filterwarnings("ignore")


def answers(net: Network, num: int = 1000) -> str:
    """Random evidence on half of the variables: levels of a row of the network, in a quarter of the queries at random."""
    from pgmpy.inference import VariableElimination

    rng, size = np.random.default_rng(0), len(net.names)
    x = draw(net, rng, num)
    odd = np.arange(num) % 4 == 0
    x[odd] = rng.integers(0, [len(each) for each in net.levels], (odd.sum(), size))
    observed = rng.random((num, size)) < 0.5
    asked = rng.integers(size, size=num)
    observed[np.arange(num), asked] = False
    found, log_prob = batched.posteriors(*known(net), inference.evidence_of(x, observed))
    engine, worst, impossible, answered = VariableElimination(pgmpy_network(net)), 0.0, 0, 0
    for row, variable in enumerate(asked):
        evidence = {str(each): int(x[row, each]) for each in np.flatnonzero(observed[row])}
        mine = found[variable][:, row]
        try:
            exact = engine.query([str(variable)], evidence, show_progress=False).values
        except (ValueError, ZeroDivisionError):
            exact = np.full(len(mine), np.nan)
        if np.isneginf(log_prob[row]):
            impossible += 1
            answered += np.isfinite(exact).all()
        else:
            worst = max(worst, float(np.abs(mine - exact).max()))
    pruned = f" (pgmpy answers {answered}: it leaves out evidence that is independent of the question)"
    return f"{num} queries, {impossible} of probability zero{pruned}; largest difference of the others {worst:.1e}"


def graphs(net: Network, seeds: int) -> None:
    """Prints means over the seeds."""
    size, cards = len(net.names), tuple(map(len, net.levels))
    true = np.zeros((size, size), bool)
    for i, above in enumerate(net.parents):
        true[list(above), i] = True
    limits = structure.Limits(np.zeros_like(true), np.eye(size, dtype=bool), 4, 1024)
    lines: dict[str, list] = {}
    for seed in range(seeds):
        x = draw(net, np.random.default_rng(seed), 5000)
        table = structure_scores.Table(x.T.astype(np.int64), np.ones(len(x)), cards)
        best = structure_scores.network_score(table, net.parents, structure_scores.bic)
        searches = {
            "gen_jax": partial(search_edges, table, limits, seed),
            "pgmpy": partial(hill_climb, x, net),
        }
        for name, search in searches.items():
            began = time.perf_counter()
            edges = search()
            taken = time.perf_counter() - began
            parents = [np.flatnonzero(column).tolist() for column in edges.T]
            gain = structure_scores.network_score(table, parents, structure_scores.bic) - best
            lines.setdefault(name, []).append((cpdag_distance(edges, true), gain, edges.sum(), taken))
    for name, each in lines.items():
        distance, gain, edges, taken = np.mean(each, 0)
        apart = [int(one[0]) for one in each]
        print(f"  {name}: CPDAG distance {distance:.1f} {apart}, BIC {gain:+.1f}, {edges:.1f} edges, {taken:.2f} s")


def search_edges(table: structure_scores.Table, limits: structure.Limits, seed: int) -> np.ndarray:
    """Our graph [D, D]."""
    return structure.search(table, structure_scores.bic, limits, seed, 15, 5).edges


def hill_climb(x: np.ndarray, net: Network) -> np.ndarray:
    """pgmpy's graph [D, D]."""
    import pandas as pd
    from pgmpy.estimators import HillClimbSearch

    kinds = {str(i): pd.Categorical(x[:, i], categories=range(len(levels))) for i, levels in enumerate(net.levels)}
    found = HillClimbSearch(pd.DataFrame(kinds)).estimate("bic-d", max_indegree=4, show_progress=False)
    edges = np.zeros((x.shape[1], x.shape[1]), bool)
    for source, target in found.edges():
        edges[int(source), int(target)] = True
    return edges


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", type=Path, default=Path("../shared/data/networks"))
    parser.add_argument("--parts", nargs="*", default=["answers", "graphs"])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    for name in ("asia", "sachs", "child", "alarm"):
        net = read_bif(options.networks / f"{name}.bif")
        print(name)
        if "answers" in options.parts:
            print("  " + answers(net))
        if "graphs" in options.parts and name != "alarm":
            graphs(net, options.seeds)


if __name__ == "__main__":
    main()
