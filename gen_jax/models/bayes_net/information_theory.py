"""Entropies and mutual informations in nats, of tables of counts or probabilities and of networks (exactly)."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gen_jax.data.tables.networks import Network
from gen_jax.models.bayes_net import inference
from gen_jax.models.bayes_net.inference import Evidence, Query


def entropy(table: np.ndarray) -> float:
    """Returns the entropy H of all axes of a table, in nats (Shannon 1948).

    Args:
      table: table of counts or probabilities.
    """
    p = np.asarray(table, np.float64).ravel() / np.sum(table, dtype=np.float64)
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def summed_to(table: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Returns the sum of a table over all other axes.

    Args:
      table: table of counts or probabilities.
      axes: axes that are kept.
    """
    beyond = {*range(np.ndim(table))} - {*axes}
    return np.asarray(table, np.float64).sum(tuple(beyond))


def conditional_entropy(table: np.ndarray, of: Sequence[int], given: Sequence[int]) -> float:
    """Returns the conditional entropy H(of | given) of axes of a table, in nats.

    Args:
      table: table of counts or probabilities.
      of: axes.
      given: axes.
    """
    return entropy(summed_to(table, (*of, *given))) - entropy(summed_to(table, given))


def mutual_information(
    table: np.ndarray, first: Sequence[int], second: Sequence[int], given: Sequence[int] = ()
) -> float:
    """Returns the mutual information I(first; second | given) of axes of a table, in nats.

    Args:
      table: table of counts or probabilities.
      first: axes.
      second: axes.
      given: axes; by default none.
    """
    return conditional_entropy(table, first, given) - conditional_entropy(table, first, (*second, *given))


def marginal(network: Network, variables: Sequence[int]) -> np.ndarray:
    """Returns the joint distribution of variables of a network, [levels of each ...], exactly.

    Args:
      network: the network.
      variables: numbers of variables.

    Raises:
      UserError: if the network is too wide.
    """
    query, evidence = without_evidence(network, tuple(variables))
    return inference.posterior(query, evidence)[..., 0]


def network_entropy(network: Network) -> float:
    """Returns the entropy H of a network in nats, exactly.

    It is the sum of H(variable | parents) (Cover and Thomas 2006, theorem 2.5.1).

    Args:
      network: the network.

    Raises:
      UserError: if the network is too wide.
    """
    families, _ = inference.beliefs(*without_evidence(network))  # [levels of each parent ..., levels, 1]
    total = 0.0
    for family in families:
        parents = range(family.ndim - 2)
        total += conditional_entropy(family[..., 0], (len(parents),), parents)
    return total


def network_information(
    network: Network, first: Sequence[int], second: Sequence[int], given: Sequence[int] = ()
) -> float:
    """Returns the information I(first; second | given) of variables of a network in nats, exactly.

    If `second` equals `first`, this is H(first | given).

    Args:
      network: the network.
      first: numbers of variables.
      second: numbers of variables, either equal to `first` or all different from them.
      given: numbers of other variables; by default none.

    Raises:
      UserError: if the network is too wide, or if the table of these variables is too large.
    """
    if [*first] == [*second]:
        if len(first) == len(network.names):
            return network_entropy(network)
        second = ()
    sizes = np.cumsum([0, len(first), len(second), len(given)])
    axes = [range(*ends) for ends in pairwise(sizes)]
    table = marginal(network, (*first, *second, *given))
    if not second:
        return conditional_entropy(table, axes[0], axes[2])
    return mutual_information(table, *axes)


def without_evidence(network: Network, keep: tuple[int, ...] = ()) -> tuple[Query, Evidence]:
    """Returns a query for the joint distribution of some variables, and evidence of one row without observed cells.

    Args:
      network: the network.
      keep: variables of the joint distribution; by default none.

    Raises:
      UserError: if the network is too wide.
    """
    with np.errstate(divide="ignore"):
        families = [np.log(table) for table in network.tables]
    missing = np.zeros((1, len(families)), bool)
    evidence = inference.evidence_of(missing.astype(np.int32), missing)
    return inference.query_of(families, network.parents, evidence, keep), evidence
