"""The tables of a Bayesian network whose graph is data: padded arrays that a compiled step counts, normalises, completes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.models.bayes_net import inference
from gen_jax.models.bayes_net.elimination import work

CHUNK = 2**23  # numbers in the tables of the rows that are worked on together


def configurations(x: jax.Array, parents: jax.Array, cards: Sequence[int]) -> jax.Array:
    """The number of the joint level of each variable's parents [B, D], the last running fastest.

    Args:
      x: [B, D] int32.
      parents: [D, P] int32, -1 where there are fewer than P.
    """
    sizes, config = jnp.asarray(cards, jnp.int32), jnp.zeros(x.shape, jnp.int32)
    for above in parents.T:
        config = jnp.where(above[None] < 0, config, config * sizes[above][None] + x[:, above])
    return config


def complete(observed: jax.Array, parents: jax.Array) -> jax.Array:
    """In which rows a variable is observed together with all of its parents [B, D]."""
    here = observed
    for above in parents.T:
        here = here & (observed[:, above] | (above < 0)[None])
    return here


def counted(
    x: jax.Array, config: jax.Array, here: jax.Array, weight: jax.Array, shape: tuple[int, int, int]
) -> jax.Array:
    """Counts [D, Q, R] of the levels of each variable under each configuration of its parents, where `here` [B, D]."""
    variables, most, levels = shape
    place = (jnp.arange(variables, dtype=jnp.int32)[None] * most + config) * levels + x
    share = jnp.where(here, weight[:, None], 0)
    return jnp.zeros(variables * most * levels).at[place.ravel()].add(share.ravel()).reshape(shape)


def nats(counts: jax.Array, tables: jax.Array) -> jax.Array:
    """Negative log-likelihood of all that was counted."""
    return -(counts * jnp.log(jnp.where(counts > 0, tables, 1))).sum()


def listed(parents: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """The parents of each variable, of an array [D, P] padded with -1."""
    return tuple(tuple(each for each in row if each >= 0) for row in np.asarray(parents).tolist())


def padded(parents: Sequence[Sequence[int]], most: int) -> np.ndarray:
    """The inverse of `listed`: [D, P] int32."""
    return np.array([[*above, *[-1] * (most - len(above))] for above in parents], np.int32).reshape(len(parents), most)


def unpadded(tables: jax.Array, parents: tuple, cards: Sequence[int]) -> list[jax.Array]:
    """The tables [levels of each parent ..., levels] of an array [D, Q, R]."""
    shapes = [[cards[each] for each in (*above, i)] for i, above in enumerate(parents)]
    return [tables[i, : int(np.prod(shape[:-1])), : shape[-1]].reshape(shape) for i, shape in enumerate(shapes)]


def log_families(tables: np.ndarray, parents: tuple, cards: Sequence[int]) -> list[np.ndarray]:
    """Log-tables as `models.bayes_net.inference` takes them, of tables [D, Q, R]."""
    with np.errstate(divide="ignore"):
        return [np.log(table) for table in unpadded(np.asarray(tables), parents, cards)]


def repadded(tables: Sequence[np.ndarray], shape: tuple[int, int, int]) -> np.ndarray:
    """The inverse of `unpadded`, 0 elsewhere: [D, Q, R]."""
    found = np.zeros(shape, np.float32)
    for i, table in enumerate(tables):
        flat = table.reshape(-1, table.shape[-1])
        found[i, : flat.shape[0], : flat.shape[1]] = flat
    return found


def expectation(
    parents: np.ndarray,
    tables: np.ndarray,
    x: np.ndarray,
    observed: np.ndarray,
    weight: np.ndarray,
    cards: tuple[int, ...],
) -> tuple[np.ndarray, np.float32]:
    """The E-step of EM: expected counts [D, Q, R] of incomplete rows x [B, D], and their log-likelihood. On the host."""
    above, real = listed(parents), weight > 0
    families = log_families(tables, above, cards)
    rows = np.where(observed, x, -1)[real]
    rows, place = np.unique(rows, axis=0, return_inverse=True)
    share = np.bincount(place.ravel(), weight[real])
    evidence = inference.evidence_of(rows, rows >= 0)
    pattern = inference.pattern_of(evidence.observed, evidence.done)
    plan = inference.plan_for(cards, above, pattern)
    size = max(1, CHUNK // work(cards, (*plan.buckets, plan.kept)))
    counts, total = [np.zeros(table.shape) for table in families], 0.0
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        some = inference.Evidence(*(each[:, part] for each in evidence))
        found, log_prob = inference.expected_counts(plan, families, above, some, share[part], pattern)
        counts = [old + new for old, new in zip(counts, found)]
        total += float(np.vdot(np.where(share[part] > 0, log_prob, 0), share[part]))
    return repadded(counts, tables.shape), np.float32(total)
