"""Questions about many rows to a network of padded tables, chunk by chunk."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.models.bayes_net import cpds, inference
from gen_jax.models.bayes_net.elimination import Plan, work
from gen_jax.models.bayes_net.inference import Evidence, Pattern

CHUNK = 2**24  # numbers in the tables of the rows that are worked on together: 64 MiB
LONGEST = 2**14  # rows, of evidence
FREE = 2**17  # rows of which nothing is known: all tables are those of one row


def by_chunks(
    call: Callable[[int, Evidence], tuple], plan: Plan, pattern: Pattern, evidence: Evidence
) -> list[np.ndarray]:
    """The results [..., B] of a compiled call on as many rows as fit into memory at a time, put together.

    Every chunk has the same power of two of rows, the last one padded, so that other numbers of rows compile little.
    """
    rows = len(evidence.x[0])
    most = max(1, min(LONGEST, CHUNK // work(plan.cards, (*plan.buckets, plan.kept))))
    most = most if pattern.known or pattern.partly else FREE
    size = min(1 << (most.bit_length() - 1), 1 << max(rows - 1, 0).bit_length())
    found: list[np.ndarray] = []
    for number, start in enumerate(range(0, rows, size)):
        part = Evidence(*(np.asarray(each)[:, start : start + size] for each in evidence))
        if start + size > rows:
            part = Evidence(*(np.pad(each, ((0, 0), (0, start + size - rows)), "edge") for each in part))
        results = call(number, on_device(pattern, part))
        found = found or [np.empty((*each.shape[:-1], rows), each.dtype) for each in results]
        for whole, each in zip(found, results):
            whole[..., start : start + size] = np.asarray(each)[..., : rows - start]
    return found


def on_device(pattern: Pattern, evidence: Evidence) -> Evidence:
    """The evidence as lists of rows, those that a query of that pattern reads on the device."""
    reads = Evidence(pattern.known | pattern.partly, pattern.partly, pattern.partly_cut)
    lists = (
        [jnp.asarray(row) if i in some else row for i, row in enumerate(rows)] for rows, some in zip(evidence, reads)
    )
    return Evidence(*lists)


def prepared(
    parents: np.ndarray, tables: jax.Array, cards: tuple[int, ...], evidence: Evidence, keep: tuple[int, ...] = ()
) -> tuple[Plan, list[np.ndarray], tuple, Pattern]:
    """The plan of a query, the families, the parents of each, the pattern of the evidence.

    Raises:
      UserError: where the network is too wide.
    """
    pattern, above = inference.pattern_of(evidence.observed, evidence.done), cpds.listed(parents)
    return (
        inference.plan_for(cards, above, pattern, keep),
        cpds.log_families(tables, above, cards),
        above,
        pattern,
    )


def log_evidence(parents: np.ndarray, tables: jax.Array, cards: tuple[int, ...], evidence: Evidence) -> np.ndarray:
    """log P(evidence) of each row [B]."""
    plan, *known = prepared(parents, tables, cards, evidence)
    return by_chunks(lambda number, part: (inference.log_evidence(plan, *known, part),), plan, known[-1], evidence)[0]


def posteriors(
    parents: np.ndarray, tables: jax.Array, cards: tuple[int, ...], evidence: Evidence
) -> tuple[list[np.ndarray], np.ndarray]:
    """P(variable | evidence) [levels, B] of every variable, and log P(evidence) [B]; all 0 where it is impossible."""
    plan, *known = prepared(parents, tables, cards, evidence)

    def both(number: int, part: Evidence) -> tuple:
        each, log_prob = inference.posteriors(plan, *known, part)
        return *each, log_prob

    *each, log_prob = by_chunks(both, plan, known[-1], evidence)
    return each, log_prob


def posterior(
    parents: np.ndarray, tables: jax.Array, cards: tuple[int, ...], evidence: Evidence, keep: tuple[int, ...]
) -> np.ndarray:
    """P(variables to keep | evidence) [levels of each ..., B]; NaN where the evidence is impossible."""
    plan, *known = prepared(parents, tables, cards, evidence, keep)
    return by_chunks(lambda number, part: (inference.posterior(plan, *known, part),), plan, known[-1], evidence)[0]


def completed(
    key: jax.Array,
    parents: np.ndarray,
    tables: jax.Array,
    cards: tuple[int, ...],
    evidence: Evidence,
    best: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows with what is unknown drawn from its posterior, or `best`, the most probable [D, B]; log P(evidence) [B]."""
    plan, *known = prepared(parents, tables, cards, evidence)

    def chunk(number: int, part: Evidence) -> tuple:
        shares = apart(jax.random.uniform(jax.random.fold_in(key, number), (len(part.x), len(part.x[0]))))
        x, log_prob = inference.completed(plan, *known, part, shares, best)
        return np.stack(x), log_prob

    x, log_prob = by_chunks(chunk, plan, known[-1], evidence)
    return x, log_prob


@jax.jit
def apart(rows: jax.Array) -> list[jax.Array]:
    """The rows [B] of an array [D, B]."""
    return [*rows]
