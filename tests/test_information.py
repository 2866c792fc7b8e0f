"""Information by its identities, of networks against enumeration and the published entropies."""

from pathlib import Path

import numpy as np
import pytest
from test_bif import NETWORK

from gen_jax.data.tables import bif, networks
from gen_jax.metrics.tables.entropies import information_of_samples
from gen_jax.models.bayes_net import information_theory

NETWORKS = Path(__file__).parents[2] / "shared" / "data" / "networks"
TABLE = np.random.default_rng(0).dirichlet(np.ones(24)).reshape(2, 3, 4)


def joint(network: networks.Network) -> np.ndarray:
    cards = tuple(map(len, network.levels))
    states = np.indices(cards).reshape(len(cards), -1)
    tables = [
        table[tuple(states[[*above, i]])] for i, (above, table) in enumerate(zip(network.parents, network.tables))
    ]
    return np.prod(tables, 0).reshape(cards)


def test_identities_of_tables():
    whole, first = information_theory.entropy(TABLE), information_theory.entropy(TABLE.sum((1, 2)))
    assert whole == pytest.approx(first + information_theory.conditional_entropy(TABLE, (1, 2), (0,)))
    chain = information_theory.mutual_information(TABLE, (0,), (1,)) + information_theory.mutual_information(
        TABLE, (0,), (2,), (1,)
    )
    assert information_theory.mutual_information(TABLE, (0,), (1, 2)) == pytest.approx(chain)
    pair, product = TABLE.sum(2), TABLE.sum((1, 2))[:, None] * TABLE.sum((0, 2))
    kl = (pair * np.log(pair / product)).sum()
    assert information_theory.mutual_information(TABLE, (0,), (1,)) == pytest.approx(kl)
    assert information_theory.entropy(np.array([3, 0, 1])) == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))


def test_networks_by_enumeration():
    exact = joint(NETWORK)
    assert information_theory.network_entropy(NETWORK) == pytest.approx(information_theory.entropy(exact))
    np.testing.assert_allclose(information_theory.marginal(NETWORK, (2, 0)), exact.sum(1).T)
    found = information_theory.network_information(NETWORK, (0,), (1,), (2,))
    assert found == pytest.approx(information_theory.mutual_information(exact, (0,), (1,), (2,)))
    alone = information_theory.network_information(NETWORK, (0, 2), (0, 2), (1,))
    assert alone == pytest.approx(information_theory.conditional_entropy(exact, (0, 2), (1,)))
    assert information_theory.network_information(NETWORK, range(3), range(3)) == pytest.approx(
        information_theory.entropy(exact)
    )


def test_samples_have_error_bars_that_hold():
    exact, misses = joint(NETWORK), []
    for seed in range(20):
        codes = networks.draw(NETWORK, np.random.default_rng(seed), 2000)
        for (found, error), true in (
            (information_of_samples(codes, range(3), range(3)), information_theory.entropy(exact)),
            (information_of_samples(codes, (0,), (2,)), information_theory.mutual_information(exact, (0,), (2,))),
            (
                information_of_samples(codes, (0,), (2,), (1,)),
                information_theory.mutual_information(exact, (0,), (2,), (1,)),
            ),
            (
                information_of_samples(codes, (1,), (1,), (2,)),
                information_theory.conditional_entropy(exact, (1,), (2,)),
            ),
        ):
            misses.append((found - true) / error)
    assert abs(np.mean(misses)) < 0.6 and 0.6 < np.std(misses) < 1.5


@pytest.mark.parametrize(
    ("name", "nats"), [("asia", 2.237029), ("child", 12.195767), ("alarm", 10.437962), ("sachs", 7.174573)]
)
def test_entropies_of_known_networks(name, nats):
    path = networks.ASIA if name == "asia" else NETWORKS / f"{name}.bif"
    if not path.exists():
        pytest.skip(f"needs {path}")
    assert information_theory.network_entropy(bif.read_bif(path)) == pytest.approx(nats, abs=1e-5)
