"""Conditional probability tables of a network whose graph is data: padded arrays that a compiled step reads.

The tables of D variables are one array [D, Q, R], for at most Q configurations of the parents and R levels. The parents
are one array [D, P] int32, where -1 stands for no parent.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.model import Array
from gen_jax.models.bayes_net import inference
from gen_jax.models.bayes_net.elimination import work
from gen_jax.models.bayes_net.inference import Evidence, Parents, Query

CELLS = 2**23  # largest number of cells of the tables of a chunk of rows


def configurations(x: jax.Array, parents: jax.Array, cards: Sequence[int]) -> jax.Array:
    """Returns the number of the joint level of each variable's parents, [B, D] int32. The last parent runs fastest.

    Args:
      x: codes [B, D] int32.
      parents: parents of each variable, [D, P] int32, -1 for no parent.
      cards: number of levels of each variable.
    """
    sizes = jnp.asarray(cards, jnp.int32)
    config = jnp.zeros(x.shape, jnp.int32)
    for above in parents.T:
        config = jnp.where(above[None] < 0, config, config * sizes[above][None] + x[:, above])
    return config


def complete_families(observed: jax.Array, parents: jax.Array) -> jax.Array:
    """Returns whether each variable is observed together with all of its parents, [B, D] bool.

    Args:
      observed: observed cells, [B, D] bool.
      parents: parents of each variable, [D, P] int32, -1 for no parent.
    """
    together = observed
    for above in parents.T:
        together = together & (observed[:, above] | (above < 0)[None])
    return together


def counted(
    x: jax.Array, config: jax.Array, complete: jax.Array, weight: jax.Array, shape: tuple[int, int, int]
) -> jax.Array:
    """Returns the counts [D, Q, R] of the levels of each variable under each configuration of its parents.

    Args:
      x: codes [B, D] int32.
      config: configuration of the parents of each variable [B, D].
      complete: families that count in a row, [B, D] bool.
      weight: weight of each row [B].
      shape: D, Q and R.
    """
    variables, most, levels = shape
    place = (jnp.arange(variables, dtype=jnp.int32)[None] * most + config) * levels + x
    share = jnp.where(complete, weight[:, None], 0)
    return jnp.zeros(variables * most * levels).at[place.ravel()].add(share.ravel()).reshape(shape)


def negative_log_likelihood(counts: jax.Array, tables: jax.Array) -> jax.Array:
    """Returns -log P(counts) [] in nats.

    Args:
      counts: counts [D, Q, R].
      tables: tables [D, Q, R].
    """
    return -(counts * jnp.log(jnp.where(counts > 0, tables, 1))).sum()


def parent_lists(parents: Array) -> Parents:
    """Returns the parents of each variable as tuples.

    Args:
      parents: parents of each variable, [D, P] int32, -1 for no parent.
    """
    return tuple(tuple(parent for parent in row if parent >= 0) for row in np.asarray(parents).tolist())


def padded_parents(parents: Sequence[Sequence[int]], num_places: int) -> np.ndarray:
    """Returns the parents of each variable as an array [D, P] int32: the inverse of `parent_lists`.

    Args:
      parents: parents of each variable.
      num_places: number of places P.
    """
    rows = [[*above, *[-1] * (num_places - len(above))] for above in parents]
    return np.array(rows, np.int32).reshape(len(parents), num_places)


def table_list(tables: np.ndarray, parents: Parents, cards: Sequence[int]) -> list[np.ndarray]:
    """Returns the table [levels of each parent ..., levels] of each variable.

    Args:
      tables: tables [D, Q, R].
      parents: parents of each variable.
      cards: number of levels of each variable.
    """
    unpadded = []
    for variable, above in enumerate(parents):
        shape = [cards[member] for member in (*above, variable)]
        unpadded.append(tables[variable, : int(np.prod(shape[:-1])), : shape[-1]].reshape(shape))
    return unpadded


def padded_tables(tables: Sequence[np.ndarray], shape: tuple[int, int, int]) -> np.ndarray:
    """Returns tables as an array [D, Q, R] float32, 0 in the padding: the inverse of `table_list`.

    Args:
      tables: table [levels of each parent ..., levels] of each variable.
      shape: D, Q and R.
    """
    padded = np.zeros(shape, np.float32)
    for variable, table in enumerate(tables):
        flat = table.reshape(-1, table.shape[-1])
        padded[variable, : flat.shape[0], : flat.shape[1]] = flat
    return padded


def log_families(tables: Array, parents: Parents, cards: Sequence[int]) -> list[np.ndarray]:
    """Returns the log-table of each variable in the form that `inference` takes.

    Args:
      tables: tables [D, Q, R].
      parents: parents of each variable.
      cards: number of levels of each variable.
    """
    with np.errstate(divide="ignore"):
        return [np.log(table) for table in table_list(np.asarray(tables), parents, cards)]


def expectation(
    parents: np.ndarray,
    tables: np.ndarray,
    x: np.ndarray,
    observed: np.ndarray,
    weight: np.ndarray,
    cards: tuple[int, ...],
) -> tuple[np.ndarray, np.float32]:
    """Returns the expected counts [D, Q, R] of incomplete rows, and their log-likelihood [] in nats.

    This is the E-step of EM (Lauritzen 1995), on the host. Equal rows are computed once.

    Args:
      parents: parents of each variable, [D, P] int32, -1 for no parent.
      tables: tables [D, Q, R].
      x: codes [B, D].
      observed: observed cells, [B, D] bool.
      weight: weight of each row [B]. Rows of weight 0 are padding.
      cards: number of levels of each variable.

    Raises:
      UserError: if the network is too wide.
    """
    real = weight > 0
    rows = np.where(observed, x, -1)[real]
    rows, place = np.unique(rows, axis=0, return_inverse=True)
    share = np.bincount(place.ravel(), weight[real])
    evidence = inference.evidence_of(rows, rows >= 0)
    lists = parent_lists(parents)
    query = inference.query_of(log_families(tables, lists, cards), lists, evidence)
    counts, log_likelihood = expected_in_chunks(query, evidence, share)
    return padded_tables(counts, tables.shape), np.float32(log_likelihood)


def expected_in_chunks(query: Query, evidence: Evidence, weight: np.ndarray) -> tuple[list[np.ndarray], float]:
    """Returns the expected counts of every family, and the log-likelihood of the rows in nats.

    Args:
      query: the query.
      evidence: NumPy arrays [D, B].
      weight: weight of each row [B].
    """
    plan = query.plan
    size = max(1, CELLS // work(plan.cards, (*plan.buckets, plan.kept)))
    counts = [np.zeros(table.shape) for table in query.families]
    log_likelihood = 0.0
    for start in range(0, len(weight), size):
        chunk = Evidence(*(array[:, start : start + size] for array in evidence))
        share = weight[start : start + size]
        expected, log_prob = inference.expected_counts(query, chunk, share)
        counts = [old + new for old, new in zip(counts, expected)]
        log_likelihood += float(np.vdot(np.where(share > 0, log_prob, 0), share))
    return counts, log_likelihood
