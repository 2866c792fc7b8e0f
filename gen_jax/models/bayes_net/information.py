"""Information in nats: of tables of counts or probabilities, of samples with error bars, and exactly of a Bayesian network."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gen_jax.data.tables.networks import Network
from gen_jax.models.bayes_net import inference
from gen_jax.models.bayes_net.inference import Evidence, Pattern


def entropy(table: np.ndarray) -> float:
    """H of all axes of a table of counts or probabilities (Shannon 1948)."""
    p = np.asarray(table, np.float64).ravel() / np.sum(table, dtype=np.float64)
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def _kept(table: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    return np.asarray(table, np.float64).sum(tuple({*range(np.ndim(table))} - {*axes}))


def conditional_entropy(table: np.ndarray, of: Sequence[int], given: Sequence[int]) -> float:
    """H(of | given), of axes of a table."""
    return entropy(_kept(table, (*of, *given))) - entropy(_kept(table, given))


def mutual_information(table: np.ndarray, first: Sequence[int] = (0,), second: Sequence[int] = (1,)) -> float:
    """I(first; second), of axes of a table."""
    return conditional_mutual_information(table, first, second, ())


def conditional_mutual_information(
    table: np.ndarray, first: Sequence[int], second: Sequence[int], given: Sequence[int]
) -> float:
    """I(first; second | given), of axes of a table."""
    return conditional_entropy(table, first, given) - conditional_entropy(table, first, (*second, *given))


def kl(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q) of two tables of counts or probabilities; inf where q excludes what p does not."""
    p, q = (np.asarray(each, np.float64) / np.sum(each, dtype=np.float64) for each in (p, q))
    seen = p > 0
    with np.errstate(divide="ignore"):
        return float((p[seen] * (np.log(p[seen]) - np.log(q[seen]))).sum())


def counted(codes: np.ndarray, cards: Sequence[int]) -> np.ndarray:
    """How often each joint level occurs among rows of codes [N, D], a table with the axes `cards`."""
    places = np.ravel_multi_index(tuple(np.asarray(codes, int).T), cards)
    return np.bincount(places, minlength=int(np.prod(cards))).reshape(cards)


def entropy_of_samples(codes: np.ndarray) -> tuple[float, float]:
    """H of the joint level of rows of codes [N, D] drawn from any model, and its standard error."""
    every = range(np.shape(codes)[1])
    return information_of_samples(codes, every, every)


def information_of_samples(
    codes: np.ndarray, first: Sequence[int], second: Sequence[int], given: Sequence[int] = ()
) -> tuple[float, float]:
    """I(first; second | given) of columns of rows of codes [N, D] drawn from any model, and its standard error.

    H(first | given) where `second` is `first`. The plug-in estimate with the correction of Miller and Madow (1955), of an
    entropy (seen levels - 1) / 2N; the error is that of a mean over the rows.
    """
    codes, num = np.asarray(codes), len(codes)
    seen = 0
    ratio = np.zeros(num)  # log p(first, second, given) p(given) / p(first, given) p(second, given) of each row
    for sign, columns in ((1, (*first, *second)), (1, ()), (-1, first), (-1, second)):
        together = codes[:, [*columns, *given]]
        _, place, counts = np.unique(together, axis=0, return_inverse=True, return_counts=True)
        ratio += sign * np.log(counts / num)[place.ravel()]
        seen += sign * len(counts)
    return float(ratio.mean()) - seen / (2 * num), float(ratio.std() / np.sqrt(num))


def marginal(network: Network, variables: Sequence[int]) -> np.ndarray:
    """P(variables) of a Bayesian network, exactly [levels of each ...].

    Raises:
      UserError: where the network is too wide.
    """
    keep = tuple(dict.fromkeys(variables))
    return inference.posterior(*_without_evidence(network, keep))[..., 0]


def network_entropy(network: Network) -> float:
    """H of a Bayesian network, exactly: the sum of H(variable | parents) (Cover and Thomas 2006, theorem 2.5.1)."""
    families = _beliefs(network)
    return sum(conditional_entropy(each, (each.ndim - 1,), range(each.ndim - 1)) for each in families)


def network_information(
    network: Network, first: Sequence[int], second: Sequence[int], given: Sequence[int] = ()
) -> float:
    """I(first; second | given) of variables of a Bayesian network, exactly."""
    sizes = np.cumsum([0, len(first), len(second), len(given)])
    axes = [range(*each) for each in pairwise(sizes)]
    return conditional_mutual_information(marginal(network, (*first, *second, *given)), *axes)


def network_kl(p: Network, q: Network) -> float:
    """KL(p || q) of two Bayesian networks over the same variables, exactly; inf where q excludes what p does not."""
    crossed = 0.0
    for i, above in enumerate(q.parents):
        share = marginal(p, (*above, i))
        with np.errstate(divide="ignore", invalid="ignore"):
            crossed -= float(np.where(share > 0, share * np.log(q.tables[i]), 0).sum())
    return crossed - network_entropy(p)


def _beliefs(network: Network) -> list[np.ndarray]:
    """P(variable, parents) of every family, by one reverse pass."""
    return [each[..., 0] for each in inference.beliefs(*_without_evidence(network))[0]]


def _without_evidence(network: Network, keep: tuple[int, ...] = ()) -> tuple:
    cards, nothing = tuple(map(len, network.levels)), Pattern()
    with np.errstate(divide="ignore"):
        families = [np.log(table) for table in network.tables]
    empty = Evidence(*(np.zeros((len(cards), 1), kind) for kind in (np.int32, bool, bool)))
    return inference.plan_for(cards, network.parents, nothing, keep), families, network.parents, nothing, empty
