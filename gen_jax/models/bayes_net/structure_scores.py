"""Scores the parents of a variable by a table of codes, with BIC or BDeu. On the host.

There is no table of all configurations of the parents, so that a variable can have many parents.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import lgamma, log, prod
from typing import NamedTuple

import numpy as np


class Table(NamedTuple):
    """Holds N rows of D columns of codes, with their weights."""

    x: np.ndarray  # [D, N] int64, -1 in missing cells
    weight: np.ndarray  # [N] float64
    cards: tuple[int, ...]  # number of levels of each column


class Family(NamedTuple):
    """Holds the counts of a variable and its parents that are not zero."""

    joint: np.ndarray  # [J] counts of a configuration of the parents together with a level
    parent: np.ndarray  # [J] number of the configuration among the configurations that occur, from 0
    configurations: int  # number of configurations of the parents, including configurations that do not occur
    levels: int  # number of levels of the variable
    total: float  # weight of all rows


Score = Callable[[Family], float]


def row_codes(x: np.ndarray, cards: Sequence[int]) -> tuple[np.ndarray, int]:
    """Returns a number for the joint level of each row, [N] int64, and an upper bound of these numbers.

    The last column runs fastest. The product of all levels may exceed an integer. So codes are renumbered in order, by
    sorting, before the bound exceeds 2^31.

    Args:
      x: codes of some columns [C, N].
      cards: number of levels of each of these columns.
    """
    code, bound = np.zeros(x.shape[1], np.int64), 1
    for column, card in zip(x, cards):
        if bound * card > 2**31:
            occurring, code = np.unique(code, return_inverse=True)
            bound = len(occurring)
        code = code * card + column
        bound = bound * card
    return code, bound


def family_counts(table: Table, variable: int, parents: Sequence[int]) -> Family:
    """Returns the counts of a family whose cells are all observed.

    Args:
      table: the rows.
      variable: number of a column.
      parents: numbers of columns.
    """
    columns = [*sorted(parents), variable]
    code, bound = row_codes(table.x[columns], [table.cards[column] for column in columns])
    if bound <= 4 * len(code) + 4096:
        joint = np.bincount(code, table.weight, bound)
        code = np.flatnonzero(joint)
        joint = joint[code]
    else:  # sort the codes and count their runs: memory grows with the rows, not with the configurations
        code, place = np.unique(code, return_inverse=True)
        joint = np.bincount(place, table.weight)
    above = code // table.cards[variable]
    return Family(
        joint=joint,
        parent=np.cumsum(np.diff(above, prepend=above[:1]) != 0),
        configurations=prod(table.cards[parent] for parent in parents),
        levels=table.cards[variable],
        total=table.weight.sum(),
    )


def family_score(table: Table, variable: int, parents: Sequence[int], score: Score) -> float:
    """Returns the score of a variable and its parents. With missing cells it is estimated from complete rows.

    The gain of the parents is counted on the same rows with and without the parents. On different rows the scores would
    differ by chance, by far more than the penalty of a parent. Graphs would then fill up with edges.

    Args:
      table: the rows.
      variable: number of a column.
      parents: numbers of columns.
      score: function of the counts of a family.
    """
    observed = table.x >= 0
    complete = np.asarray(observed[[*parents, variable]].all(0))
    if complete.all():
        return score(family_counts(table, variable, parents))
    with_parents = scaled_score(table, complete, variable, parents, score)
    without = scaled_score(table, complete, variable, (), score)
    return with_parents - without + scaled_score(table, observed[variable], variable, (), score)


def scaled_score(table: Table, rows: np.ndarray, variable: int, parents: Sequence[int], score: Score) -> float:
    """Returns the score of a family by some rows, scaled to the weight of all rows.

    Args:
      table: the rows.
      rows: rows that count, [N] bool.
      variable: number of the variable.
      parents: numbers of its parents.
      score: function of the counts of a family.
    """
    part = Table(table.x[:, rows], table.weight[rows], table.cards)
    return score(family_counts(part, variable, parents)) * table.weight.sum() / max(part.weight.sum(), 1e-12)


def bic(counts: Family) -> float:
    """Returns the Bayesian information criterion of all configurations (Schwarz 1978).

    It is the log-likelihood minus log(N) / 2 for each free parameter.

    Args:
      counts: counts of the family.
    """
    joint = counts.joint[counts.joint > 0]
    parent = np.bincount(counts.parent, counts.joint)
    parent = parent[parent > 0]
    log_likelihood = (joint * np.log(joint)).sum() - (parent * np.log(parent)).sum()
    return log_likelihood - 0.5 * log(max(counts.total, 1)) * counts.configurations * (counts.levels - 1)


def bdeu(counts: Family, equivalent_rows: float) -> float:
    """Returns the log marginal likelihood under a uniform Dirichlet prior (Heckerman et al. 1995, eq. 28).

    Args:
      counts: counts of the family.
      equivalent_rows: weight of the prior, as a number of rows.
    """
    from scipy.special import gammaln  # slow to import

    cell = equivalent_rows / (counts.configurations * counts.levels)
    above = equivalent_rows / counts.configurations
    parent = np.bincount(counts.parent, counts.joint)
    inside = (gammaln(cell + counts.joint) - lgamma(cell)).sum()
    return inside - (gammaln(above + parent) - lgamma(above)).sum()


def bic_score() -> Score:
    """Returns the Bayesian information criterion. The score of a network is the sum over its families."""
    return bic


def bdeu_score(equivalent_rows: float = 10.0) -> Score:
    """Returns the BDeu score.

    Args:
      equivalent_rows: weight of the prior, as a number of rows above 0; by default 10.
    """
    return partial(bdeu, equivalent_rows=equivalent_rows)


SCORES: Mapping[str, Callable[..., Score]] = {"bic": bic_score, "bdeu": bdeu_score}


def network_score(table: Table, parents: Sequence[Sequence[int]], score: Score) -> float:
    """Returns the score of a network: the sum over its families.

    Args:
      table: the rows.
      parents: parents of each variable.
      score: function of the counts of a family.
    """
    return sum(family_score(table, variable, above, score) for variable, above in enumerate(parents))
