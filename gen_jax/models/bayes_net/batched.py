"""Answers queries of many rows to a network of padded tables, chunk by chunk."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.model import Array
from gen_jax.models.bayes_net import cpds, inference
from gen_jax.models.bayes_net.elimination import work
from gen_jax.models.bayes_net.inference import Evidence, Pattern, Query

CELLS = 2**24  # largest number of cells of the tables of a chunk: 64 MiB
ROWS = 2**14  # largest number of rows of a chunk
ROWS_WITHOUT_EVIDENCE = 2**17  # larger, because all rows of such a chunk share the tables of one row


def by_chunks(call: Callable[[int, Evidence], tuple], query: Query, evidence: Evidence) -> list[np.ndarray]:
    """Returns the results [..., B] of a compiled call, which gets as many rows at a time as fit in memory.

    Each chunk has the same number of rows, a power of two, and the last chunk is padded. So different numbers of rows
    compile few programs.

    Args:
      call: function (number of the chunk, its evidence on the device) -> arrays [..., rows].
      query: the query of the call.
      evidence: NumPy arrays of B rows.
    """
    rows = len(evidence.x[0])
    size = chunk_size(query, rows)
    results: list[np.ndarray] = []
    for number, start in enumerate(range(0, rows, size)):
        chunk = Evidence(*(np.asarray(array)[:, start : start + size] for array in evidence))
        missing = start + size - rows
        if missing > 0:
            chunk = Evidence(*(np.pad(array, ((0, 0), (0, missing)), "edge") for array in chunk))
        parts = call(number, on_device(query.pattern, chunk))
        if not results:
            results = [np.empty((*part.shape[:-1], rows), part.dtype) for part in parts]
        for result, part in zip(results, parts):
            result[..., start : start + size] = np.asarray(part)[..., : rows - start]
    return results


def chunk_size(query: Query, rows: int) -> int:
    """Returns the number of rows of a chunk, a power of two.

    Args:
      query: the query.
      rows: number of all rows.
    """
    plan = query.plan
    most = ROWS_WITHOUT_EVIDENCE
    if query.pattern.observed or query.pattern.partly_observed:
        most = max(1, min(ROWS, CELLS // work(plan.cards, (*plan.buckets, plan.kept))))
    return min(1 << (most.bit_length() - 1), 1 << max(rows - 1, 0).bit_length())


def on_device(pattern: Pattern, evidence: Evidence) -> Evidence:
    """Returns the evidence as lists of rows [B]. The rows that a query of that pattern reads are on the device.

    Args:
      pattern: pattern of the evidence of the query.
      evidence: NumPy arrays [D, B].
    """
    read = Evidence(pattern.observed | pattern.partly_observed, pattern.partly_observed, pattern.partly_done)
    return Evidence(*(moved(rows, variables) for rows, variables in zip(evidence, read)))


def moved(rows: np.ndarray, variables: frozenset[int]) -> list[np.ndarray | jax.Array]:
    """Returns the rows of an array; the rows of `variables` are moved to the device.

    Args:
      rows: array [D, B].
      variables: numbers of rows.
    """
    return [jnp.asarray(row) if variable in variables else row for variable, row in enumerate(rows)]


def query_of(
    parents: Array, tables: jax.Array, cards: tuple[int, ...], evidence: Evidence, keep: tuple[int, ...] = ()
) -> Query:
    """Returns a query to a network of padded tables, prepared for the pattern of the evidence.

    Args:
      parents: parents of each variable, [D, P] int32, -1 for no parent.
      tables: tables [D, Q, R], P(level | configuration of the parents).
      cards: levels of each variable.
      evidence: NumPy arrays [D, B].
      keep: variables whose joint posterior is the question; by default none.

    Raises:
      UserError: if the network is too wide.
    """
    lists = cpds.parent_lists(parents)
    return inference.query_of(cpds.log_families(tables, lists, cards), lists, evidence, keep)


def log_evidence(parents: Array, tables: jax.Array, cards: tuple[int, ...], evidence: Evidence) -> np.ndarray:
    """Returns log P(evidence) [B] of each row, in nats.

    Args:
      parents: parents of each variable, [D, P] int32, -1 for no parent.
      tables: tables [D, Q, R], P(level | configuration of the parents).
      cards: number of levels of each variable.
      evidence: NumPy arrays [D, B].

    Raises:
      UserError: if the network is too wide.
    """
    query = query_of(parents, tables, cards, evidence)

    def call(number: int, chunk: Evidence) -> tuple:
        return (inference.log_evidence(query, chunk),)

    return by_chunks(call, query, evidence)[0]


def posteriors(
    parents: Array, tables: jax.Array, cards: tuple[int, ...], evidence: Evidence
) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns P(variable | evidence) [levels, B] of every variable, and log P(evidence) [B].

    The probabilities are 0 in impossible rows.

    Args:
      parents: parents of each variable, [D, P] int32, -1 for no parent.
      tables: tables [D, Q, R], P(level | configuration of the parents).
      cards: number of levels of each variable.
      evidence: NumPy arrays [D, B].

    Raises:
      UserError: if the network is too wide.
    """
    query = query_of(parents, tables, cards, evidence)

    def call(number: int, chunk: Evidence) -> tuple:
        probabilities, log_prob = inference.posteriors(query, chunk)
        return *probabilities, log_prob

    *probabilities, log_prob = by_chunks(call, query, evidence)
    return probabilities, log_prob


def posterior(
    parents: Array, tables: jax.Array, cards: tuple[int, ...], evidence: Evidence, keep: tuple[int, ...]
) -> np.ndarray:
    """Returns P(variables to keep | evidence) [levels of each ..., B]; NaN if the evidence is impossible.

    Args:
      parents: parents of each variable, [D, P] int32, -1 for no parent.
      tables: tables [D, Q, R], P(level | configuration of the parents).
      cards: number of levels of each variable.
      evidence: NumPy arrays [D, B].
      keep: variables whose joint posterior is the question.

    Raises:
      UserError: if the network is too wide.
    """
    query = query_of(parents, tables, cards, evidence, keep)

    def call(number: int, chunk: Evidence) -> tuple:
        return (inference.posterior(query, chunk),)

    return by_chunks(call, query, evidence)[0]


def completed(
    key: jax.Array,
    parents: Array,
    tables: jax.Array,
    cards: tuple[int, ...],
    evidence: Evidence,
    best: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows with all missing cells filled in, [D, B] int32, and log P(evidence) [B].

    Args:
      key: random key of the draws.
      parents: parents of each variable, [D, P] int32, -1 for no parent.
      tables: tables [D, Q, R], P(level | configuration of the parents).
      cards: levels of each variable.
      evidence: NumPy arrays [D, B].
      best: whether to take the most probable explanation instead of a draw from the posterior; by default False.

    Raises:
      UserError: if the network is too wide.
    """
    query = query_of(parents, tables, cards, evidence)

    def call(number: int, chunk: Evidence) -> tuple:
        shares = jax.random.uniform(jax.random.fold_in(key, number), (len(chunk.x), len(chunk.x[0])))
        x, log_prob = inference.completed(query, chunk, rows_of(shares), best)
        return np.stack(x), log_prob

    x, log_prob = by_chunks(call, query, evidence)
    return x, log_prob


@jax.jit
def rows_of(array: jax.Array) -> list[jax.Array]:
    """Returns the rows [B] of an array.

    Args:
      array: array [D, B].
    """
    return [*array]
