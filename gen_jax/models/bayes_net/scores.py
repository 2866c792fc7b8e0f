"""How well a set of parents explains a column of codes: BIC and BDeu, without tables of all configurations. On the host."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import lgamma, log, prod
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln


class Table(NamedTuple):
    """N rows of D columns of codes, with their weights."""

    x: np.ndarray  # [D, N] int64, -1 where missing
    weight: np.ndarray  # [N] float64
    cards: tuple[int, ...]  # levels of each column


class Family(NamedTuple):
    """The counts of a variable and its parents that are not zero, and how many there could be."""

    joint: np.ndarray  # [J] counts of a configuration of the parents together with a level
    parent: np.ndarray  # [J] number of the configuration, 0 up
    configurations: int  # of the parents, seen or not
    levels: int
    total: float


def numbered(x: np.ndarray, cards: Sequence[int]) -> tuple[np.ndarray, int]:
    """A number for each row's joint level, the last column running fastest, and how many numbers there are.

    Where they would outgrow 2^31 those that occur are renumbered, in order, by sorting.
    """
    code, size = np.zeros(x.shape[1], np.int64), 1
    for column, card in zip(x, cards):
        if size * card > 2**31:
            seen, code = np.unique(code, return_inverse=True)
            size = len(seen)
        code, size = code * card + column, size * card
    return code, size


def family_counts(table: Table, variable: int, parents: Sequence[int]) -> Family:
    """The counts of a family whose cells are all there."""
    columns = [*sorted(parents), variable]
    x, weight = table.x[columns], table.weight
    code, size = numbered(x, [table.cards[each] for each in columns])
    if size <= 4 * len(code) + 4096:
        joint = np.bincount(code, weight, size)
        code = np.flatnonzero(joint)
        joint = joint[code]
    else:  # sort the codes and count their runs: memory grows with the rows, not with the configurations
        code, place = np.unique(code, return_inverse=True)
        joint = np.bincount(place, weight)
    above = code // table.cards[variable]
    parent = np.cumsum(np.diff(above, prepend=above[:1]) != 0)
    configurations = prod(table.cards[each] for each in parents)
    return Family(joint, parent, configurations, table.cards[variable], weight.sum())


def family_score(table: Table, variable: int, parents: Sequence[int], score: Callable[[Family], float]) -> float:
    """The score of a family; where cells are missing, of all rows as those would have it in which it is complete.

    What the parents gain is counted on the same rows with and without them: rows that differ would differ by chance, by
    far more than the penalty of a parent, and graphs would fill up with edges.
    """

    def scaled(rows: np.ndarray, above: Sequence[int]) -> float:
        part = Table(table.x[:, rows], table.weight[rows], table.cards)
        return score(family_counts(part, variable, above)) * table.weight.sum() / max(part.weight.sum(), 1e-12)

    seen = table.x >= 0
    here = seen[[*parents, variable]].all(0)
    if here.all():
        return score(family_counts(table, variable, parents))
    return scaled(here, parents) - scaled(here, ()) + scaled(seen[variable], ())


def bic(counts: Family) -> float:
    """Log-likelihood less log(N) / 2 for each free parameter (Schwarz 1978), all configurations counted."""
    joint = counts.joint[counts.joint > 0]
    parent = np.bincount(counts.parent, counts.joint)
    parent = parent[parent > 0]
    fit = (joint * np.log(joint)).sum() - (parent * np.log(parent)).sum()
    return fit - 0.5 * log(max(counts.total, 1)) * counts.configurations * (counts.levels - 1)


def bdeu(counts: Family, equivalent_rows: float) -> float:
    """Log marginal likelihood under a uniform Dirichlet prior worth so many rows (Heckerman et al. 1995, eq. 28)."""
    cell = equivalent_rows / (counts.configurations * counts.levels)
    above = equivalent_rows / counts.configurations
    parent = np.bincount(counts.parent, counts.joint)
    inside = (gammaln(cell + counts.joint) - lgamma(cell)).sum()
    return inside - (gammaln(above + parent) - lgamma(above)).sum()


def bic_score() -> Callable[[Family], float]:
    """The BIC of a family; the score of a network is the sum over its families."""
    return bic


def bdeu_score(equivalent_rows: float = 10.0) -> Callable[[Family], float]:
    """The BDeu score of a family.

    Args:
      equivalent_rows: what the prior is worth, above 0.
    """
    return partial(bdeu, equivalent_rows=equivalent_rows)


SCORES: Mapping[str, Callable] = {"bic": bic_score, "bdeu": bdeu_score}


def network_score(table: Table, parents: Sequence[Sequence[int]], score: Callable[[Family], float]) -> float:
    """The score of a whole network."""
    return sum(family_score(table, each, above, score) for each, above in enumerate(parents))
