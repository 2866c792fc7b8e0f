"""Bayesian networks beside pgmpy: exact inference and sampling in alarm. Answers and graphs are compared by `networks.py`.

P(first root | all leaves) of 10,000 rows, for pgmpy of the first 50; and 100,000 rows drawn.
"""

from typing import Any

import numpy as np

from pairs import Pair, Run, Setting

QUERIES, FEW, ROWS = 10_000, 50, 100_000


def opened(setting: Setting) -> Any:
    """The network that the folder of networks has."""
    from gen_jax.data.tables.bif import read_bif

    return read_bif(setting.data / "networks" / "alarm.bif")


def known(net: Any) -> tuple:
    """Parents [D, P], tables [D, Q, R] and levels of a network, as the functions of `models.bayes_net.batched` take them."""
    from gen_jax.models.bayes_net import cpds

    cards, most = tuple(map(len, net.levels)), max(map(len, net.parents))
    shape = (len(cards), max(table.size // table.shape[-1] for table in net.tables), max(cards))
    return cpds.padded_parents(net.parents, most), cpds.padded_tables(net.tables, shape), cards


def pgmpy_network(net: Any) -> Any:
    """The network as pgmpy's."""
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    model = DiscreteBayesianNetwork()
    model.add_nodes_from(map(str, range(len(net.names))))
    for i, (above, table) in enumerate(zip(net.parents, net.tables)):
        model.add_edges_from((str(each), str(i)) for each in above)
        flat = table.reshape(-1, table.shape[-1]).T
        sizes = [len(net.levels[each]) for each in above]
        model.add_cpds(TabularCPD(str(i), table.shape[-1], flat, [*map(str, above)], sizes))
    return model


def asked(net: Any) -> tuple[int, list[int], np.ndarray]:
    """The first root, all leaves, and rows of the network [QUERIES, D]."""
    from gen_jax.data.tables.networks import draw

    size = len(net.names)
    leaves = [i for i in range(size) if not any(i in above for above in net.parents)]
    root = next(i for i, above in enumerate(net.parents) if not above and i not in leaves)
    return root, leaves, draw(net, np.random.default_rng(0), QUERIES)


def our_queries(setting: Setting) -> Run:
    from gen_jax.models.bayes_net import batched, inference

    net = opened(setting)
    root, leaves, x = asked(net)
    tables, observed = known(net), np.tile(np.isin(np.arange(x.shape[1]), leaves), (len(x), 1))
    evidence = inference.evidence_of(x, observed)

    def run() -> int:
        batched.posterior(*tables, evidence, (root,))
        return QUERIES

    return run


def their_queries(setting: Setting) -> Run:
    from pgmpy.inference import VariableElimination

    net = opened(setting)
    root, leaves, x = asked(net)
    engine = VariableElimination(pgmpy_network(net))

    def run() -> int:
        for row in x[:FEW]:
            engine.query([str(root)], {str(each): int(row[each]) for each in leaves}, show_progress=False)
        return FEW

    return run


def our_rows(setting: Setting) -> Run:
    import jax

    from gen_jax.models.bayes_net import batched, inference

    net = opened(setting)
    tables, size = known(net), len(net.names)
    nothing = inference.evidence_of(np.zeros((ROWS, size), int), np.zeros((ROWS, size), bool))

    def run() -> int:
        batched.completed(jax.random.key(0), *tables, nothing)
        return ROWS

    return run


def their_rows(setting: Setting) -> Run:
    from pgmpy.sampling import BayesianModelSampling

    sampler = BayesianModelSampling(pgmpy_network(opened(setting)))

    def run() -> int:
        sampler.forward_sample(ROWS, show_progress=False)
        return ROWS

    return run


PAIRS = {
    "network_queries": Pair("exact queries of alarm", our_queries, {"pgmpy": their_queries}, rate="queries"),
    "network_rows": Pair("rows drawn from alarm", our_rows, {"pgmpy": their_rows}, rate="rows"),
}
