"""Questions about many rows to a network of padded tables, compiled once per pattern of evidence, chunk by chunk."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.losses import families, network
from gen_jax.losses.elimination import Plan, work
from gen_jax.losses.network import Evidence, Pattern

CHUNK = 2**24  # numbers in the tables of the rows that are worked on together: 64 MiB
LONGEST = 2**14  # rows


def by_chunks(call: Callable[[int, Evidence], tuple], plan: Plan, evidence: Evidence) -> list[np.ndarray]:
    """The results [..., B] of a compiled call on as many rows as fit into memory at a time, put together.

    Every chunk has the same power of two of rows, the last one padded, so that other numbers of rows compile little.
    """
    rows = evidence.x.shape[1]
    most = max(1, min(LONGEST, CHUNK // work(plan.cards, (*plan.buckets, plan.kept))))
    size = min(1 << (most.bit_length() - 1), 1 << max(rows - 1, 0).bit_length())
    found = []
    for number, start in enumerate(range(0, rows, size)):
        part = np.minimum(np.arange(start, start + size), rows - 1)
        results = call(number, Evidence(*(np.asarray(each)[:, part] for each in evidence)))
        found.append([np.asarray(each)[..., : rows - start] for each in results])
    return [np.concatenate(each, -1) for each in zip(*found)]


def prepared(
    parents: np.ndarray, cards: tuple[int, ...], evidence: Evidence, keep: tuple[int, ...] = ()
) -> tuple[Plan, tuple, Pattern]:
    """What a query is compiled for: the plan, the parents of each variable, the pattern of the evidence.

    Raises:
      UserError: where the network is too wide.
    """
    pattern, above = network.pattern_of(evidence.observed, evidence.done), families.listed(parents)
    return network.plan_for(cards, above, pattern, keep), above, pattern


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _asked(function: Callable, plan: Plan, above: tuple, pattern: Pattern, tables: jax.Array, evidence: Evidence):
    return function(plan, families.unpadded(tables, above, plan.cards), above, pattern, evidence)


def log_evidence(parents: np.ndarray, tables: jax.Array, cards: tuple[int, ...], evidence: Evidence) -> np.ndarray:
    """log P(evidence) of each row [B]."""
    known = prepared(parents, cards, evidence)
    score = lambda number, part: (_asked(network.log_evidence, *known, tables, part),)
    return by_chunks(score, known[0], evidence)[0]


def posteriors(
    parents: np.ndarray, tables: jax.Array, cards: tuple[int, ...], evidence: Evidence
) -> tuple[list[np.ndarray], np.ndarray]:
    """P(variable | evidence) [levels, B] of every variable, and log P(evidence) [B]; all 0 where it is impossible."""
    known = prepared(parents, cards, evidence)

    def both(number: int, part: Evidence) -> tuple:
        each, log_prob = _asked(network.posteriors, *known, tables, part)
        return *each, log_prob

    *each, log_prob = by_chunks(both, known[0], evidence)
    return each, log_prob


def posterior(
    parents: np.ndarray, tables: jax.Array, cards: tuple[int, ...], evidence: Evidence, keep: tuple[int, ...]
) -> np.ndarray:
    """P(variables to keep | evidence) [levels of each ..., B]; NaN where the evidence is impossible."""
    known = prepared(parents, cards, evidence, keep)
    one = lambda number, part: (_asked(network.posterior, *known, tables, part),)
    return by_chunks(one, known[0], evidence)[0]


def completed(
    key: jax.Array,
    parents: np.ndarray,
    tables: jax.Array,
    cards: tuple[int, ...],
    evidence: Evidence,
    best: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows with what is unknown drawn from its posterior, or `best`, the most probable [D, B]; log P(evidence) [B]."""
    known = prepared(parents, cards, evidence)
    chunk = lambda number, part: _completed(jax.random.fold_in(key, number), *known, best, tables, part)
    x, log_prob = by_chunks(chunk, known[0], evidence)
    return x, log_prob


@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _completed(
    key: jax.Array, plan: Plan, above: tuple, pattern: Pattern, best: bool, tables: jax.Array, evidence: Evidence
) -> tuple[jax.Array, jax.Array]:
    drawn = lambda variable, log_prob: network.drawn(jax.random.fold_in(key, variable), log_prob)
    choose = network.likeliest if best else drawn
    rows = families.unpadded(tables, above, plan.cards)
    return network.completed(plan, rows, above, pattern, evidence, choose, best)
