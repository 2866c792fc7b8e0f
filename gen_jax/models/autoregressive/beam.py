"""Beam search for the likeliest row, with static shapes.

The score of a row is log p(row) / ((5 + length) / 6)^a (Wu et al. 2016, arXiv 1609.08144, equation 14, without
coverage). A hypothesis that has ended keeps its place among the K of its row, so that one hypothesis is the greedy choice.
The search of a row is over if no hypothesis that goes on can reach a better score.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

NEVER = -1e9  # score of a hypothesis that does not exist


class Beams(NamedTuple):
    """Holds the hypotheses of N rows, K for each row."""

    time: jax.Array  # [] int32, number of tokens so far
    carry: Any  # carry and last token of the live hypotheses, leaves [N * K, ...]
    live: jax.Array  # tokens [N, K, T] of hypotheses that go on
    sums: jax.Array  # log p [N, K] of the live hypotheses
    ended: jax.Array  # tokens [N, K, T] of hypotheses that have ended
    scores: jax.Array  # scores [N, K] of the ended hypotheses, the best first


def beam_search(
    move: Callable[[Any, jax.Array], tuple[Any, jax.Array]],
    lanes: tuple[Any, jax.Array],
    x: jax.Array,
    prefix: jax.Array,
    end: int,
    beams: int,
    penalty: jax.Array,
) -> jax.Array:
    """Returns x [N, T] whose tokens after the prefix of a row are the best ones that the search finds.

    Args:
      move: function (carry and last tokens [N * K], time) -> the same after these tokens, and log p [N * K, V] of the
        next tokens.
      lanes: carry and last tokens before the first token, leaves [N * K, ...].
      x: rows [N, T], of which the first `prefix` tokens are kept.
      prefix: number of tokens to keep in each row [N].
      end: token that ends a row.
      beams: K, number of hypotheses of a row.
      penalty: exponent of the lengths a; 0 compares log-probabilities.
    """
    rows, frames = x.shape
    shape = (rows, beams, frames)

    def score(sums: jax.Array, length: jax.Array | int) -> jax.Array:
        return sums / ((5 + length) / 6) ** penalty

    def open_rows(state: Beams) -> jax.Array:
        """Returns of which rows a hypothesis that goes on may still become the best."""
        return score(state.sums.max(1), frames) > state.scores[:, 0]

    def going(state: Beams) -> jax.Array:
        return (state.time < frames) & open_rows(state).any()

    def grow(state: Beams) -> Beams:
        time = state.time
        carry, log_prob = move(state.carry, time)
        values = log_prob.shape[-1]
        log_prob = log_prob.reshape(rows, beams, values)
        kept = jax.nn.one_hot(x[:, time], values, dtype=bool)[:, None]
        log_prob = jnp.where((time < prefix)[:, None, None], jnp.where(kept, 0, NEVER), log_prob)
        sums = (state.sums[..., None] + log_prob).reshape(rows, beams * values)
        sums, places = jax.lax.top_k(sums, beams)
        room = beams - (state.scores > NEVER / 2).sum(1)
        sums = jnp.where(jnp.arange(beams)[None] < room[:, None], sums, NEVER)
        parents, tokens = places // values, (places % values).astype(jnp.int32)
        live = jnp.take_along_axis(state.live, parents[..., None], 1).at[:, :, time].set(tokens)
        ends = (tokens == end) & (time >= prefix)[:, None] & (sums > NEVER / 2)

        scores = jnp.concatenate([state.scores, jnp.where(ends, score(sums, time + 1), NEVER)], 1)
        scores, chosen = jax.lax.top_k(scores, beams)
        ended = jnp.take_along_axis(jnp.concatenate([state.ended, live], 1), chosen[..., None], 1)
        origin = (jnp.arange(rows)[:, None] * beams + parents).ravel()
        carry = jax.tree.map(lambda leaf: leaf[origin], carry[0]), tokens.ravel()
        return Beams(time + 1, carry, live, jnp.where(ends, NEVER, sums), ended, scores)

    only_first = jnp.where(jnp.arange(beams) == 0, 0.0, NEVER)  # else there are K copies of one hypothesis
    state = Beams(
        time=jnp.zeros((), jnp.int32),
        carry=lanes,
        live=jnp.zeros(shape, jnp.int32),
        sums=jnp.broadcast_to(only_first, shape[:2]),
        ended=jnp.zeros(shape, jnp.int32),
        scores=jnp.full(shape[:2], NEVER),
    )
    state = jax.lax.while_loop(going, grow, state)
    none = state.scores[:, 0] <= NEVER / 2  # rows of which no hypothesis has ended
    best = jnp.take_along_axis(state.live, state.sums.argmax(1)[:, None, None], 1)[:, 0]
    return jnp.where(none[:, None], best, state.ended[:, 0])
