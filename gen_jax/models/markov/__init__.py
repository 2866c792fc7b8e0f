"""Markov chains of order n over tokens. Counts live in `ngrams`, the loss of a generator in `losses.markov_chain`."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import sampler_options
from gen_jax.data.spec import Spec, levels
from gen_jax.errors import UserError
from gen_jax.model import Array, Batch, Model, family
from gen_jax.models.markov import ngrams
from gen_jax.models.sequences import asked_prefix, check_sequences, continued_lanes, ended, inside
from gen_jax.registry import Choices, build

MAX_NGRAMS = 2**22  # largest default of `max_ngrams`


class MarkovState(NamedTuple):
    """Counts of the k-grams, k = 1 .. K = order + 1, at most M for each k; see `ngrams`."""

    step: jax.Array  # [] int32
    keys: jax.Array  # [K, M] uint32
    counts: jax.Array  # [K, M] int32
    used: jax.Array  # [K] int32, number of distinct k-grams; above M if k-grams were lost
    context: jax.Array | None  # [B, order] int32, last tokens of each lane, -1 before its first; None without lanes


class Chain(NamedTuple):
    """A Markov chain without its counts."""

    order: int  # number of tokens of context
    values: int  # V, number of values of a token
    capacity: int  # M, largest number of distinct n-grams of each length
    smoothing: ngrams.Smoothing

    @property
    def sizes(self) -> np.ndarray:
        """Returns the lengths of contexts, 0 .. order, [K]."""
        return np.arange(self.order + 1)


@family("markov")
def markov(
    spec: Spec,
    order: int = 4,
    smoothing: Annotated[Mapping, Choices(ngrams.SMOOTHINGS, 1)] = {"name": "witten_bell"},
    max_ngrams: int | None = None,
) -> Model:
    """Returns a Markov chain: a token depends on the `order` tokens before it, or on all of them if there are fewer.

    One step counts the n-grams of a batch. If the batch has `reset`, row i continues row i of the previous batch unless
    `reset[i]`. Otherwise each row is a sequence of its own.

    `log_prob` and `sample` begin without context. `given` takes `length` [num], and `x` with `mask` [num, T], an
    observed prefix that is continued. If there are more n-grams than fit, the metric `ngrams_left` is NaN and the
    counts are refused.

    Args:
      spec: facts of the data, rows of tokens.
      order: number of tokens of context, 0 to 15; by default 4.
      smoothing: a `name` in `ngrams.SMOOTHINGS` and its options; by default `witten_bell`.
      max_ngrams: largest number of distinct n-grams of each length. By default, the number that the largest split can
        hold, at most 2^22.

    Raises:
      UserError: for data that are not rows of tokens, or an argument out of its range.
    """
    capacity, values = table_size(spec, order, max_ngrams), levels(spec)
    chain = Chain(order, values, capacity, build("smoothing", ngrams.SMOOTHINGS, smoothing, values))
    score, complete = jax.jit(partial(log_probability, chain)), jax.jit(partial(continued, chain))

    def log_prob(key: jax.Array, state: MarkovState, batch: Batch) -> jax.Array:
        refuse_overflow(state)
        if "mask" in batch:
            raise UserError(
                "the batch holds mask; expected x and length only, because a Markov chain needs every token"
            )
        check_sequences(batch, (), values)
        return score(state, batch["x"], ngrams.lengths(batch["x"], batch.get("length")))

    def sample(
        key: jax.Array, state: MarkovState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        sampler_options(how)
        batch, prefix = asked_prefix(given, num, spec)
        refuse_overflow(state)
        x = complete(key, state, batch["x"], prefix)
        if "length" not in batch:
            return {"x": x}
        length = jnp.asarray(batch["length"])
        return {"x": ended(x, length), "length": length}

    return Model(partial(init, chain), partial(step, chain), sample, log_prob, given=("x", "mask", "length"))


def init(chain: Chain, key: jax.Array, batch: Batch) -> MarkovState:
    """Returns the state before any token.

    Args:
      chain: the chain.
      key: not used.
      batch: `x` [B, T], and `reset` [B] if rows are lanes.
    """
    counts = jnp.zeros((chain.order + 1, chain.capacity), jnp.int32)
    keys = jnp.full_like(counts, ngrams.EMPTY, jnp.uint32)
    context = jnp.full((len(batch["x"]), max(chain.order, 1)), -1, jnp.int32) if "reset" in batch else None
    return MarkovState(jnp.int32(0), keys, counts, counts[:, 0], context)


def step(chain: Chain, key: jax.Array, state: MarkovState, batch: Batch) -> tuple[MarkovState, dict]:
    """Returns the state with the n-grams of a batch counted.

    Args:
      chain: the chain.
      key: not used.
      state: the state before the step.
      batch: `x` [B, T], and `length` [B], `weight` [B] and `reset` [B] if the batch has them.

    Returns:
      The new state, and the metrics `tokens`, `ngrams` and `ngrams_left`.
    """
    tokens, context, first = placed(state.context, batch)
    keys, counts, used = ngrams.insert(state.keys, state.counts, tokens, first, chain.values)
    used = jnp.maximum(state.used, used)
    total = counts[0].astype(jnp.float32).sum()
    lost = (used.max() > chain.capacity) | (total > 2.0**31)  # above 2^31 a count has overflowed
    left = jnp.where(lost, jnp.nan, 1.0 * (chain.capacity - used.max()))
    metrics = {"tokens": total, "ngrams": used.sum(), "ngrams_left": left}
    return MarkovState(state.step + 1, keys, counts, used, context), metrics


def reads(chain: Chain, size: Array, time: jax.Array) -> Array:
    """Returns whether contexts of `size` tokens are read for the token at `time`.

    Args:
      chain: the chain.
      size: number of tokens of the context.
      time: index of the token in its sequence.
    """
    return size <= time if chain.smoothing.backs_off else size == jnp.minimum(time, chain.order)


def log_probability(chain: Chain, state: MarkovState, x: jax.Array, length: jax.Array) -> jax.Array:
    """Returns the log-probability of sequences.

    Args:
      chain: the chain.
      state: the counts.
      x: sequences [B, T].
      length: number of tokens of each sequence [B].

    Returns:
      log p [B] in nats of the first `length` tokens.
    """
    time = jnp.arange(x.shape[1])[None]

    def mix(shorter: tuple, longer: tuple) -> tuple[tuple, None]:
        log_p, context = shorter  # [B, T], given up to `size` - 1 tokens
        size, level = longer
        seen_mass, reserve = ngrams.masses(chain.smoothing, level, context)
        entry = ngrams.find(level.keys, level.first, context, x, chain.values)
        count = level.before[entry + 1] - level.before[entry] - level.discount
        kept = jnp.log(jnp.where(entry < 0, 0.0, jnp.maximum(count, 0.0)))
        mixed = jnp.logaddexp(kept, jnp.log(reserve) + log_p) - jnp.log(seen_mass + reserve)
        return (jnp.where(reads(chain, size, time), mixed, log_p), ngrams.later(entry)), None

    uniform = jnp.full(x.shape, -np.log(chain.values), jnp.float32)
    trie = ngrams.index(state.keys, state.counts, chain.values, chain.smoothing)
    (log_p, _), _ = jax.lax.scan(mix, (uniform, jnp.zeros_like(x)), (chain.sizes, trie))
    return ended(log_p, length).sum(1)


def draw(chain: Chain, key: jax.Array, trie: ngrams.Level, contexts: jax.Array, time: jax.Array) -> jax.Array:
    """Draws a token [] from the longest context that does not leave the choice to a shorter one.

    Args:
      chain: the chain.
      key: random key.
      trie: the trie of `ngrams.index`.
      contexts: entries of the contexts of all lengths [K].
      time: index of the token in its sequence.
    """
    uniform = jax.random.uniform(key, (chain.order + 2,))
    tokens, seen = jax.vmap(partial(ngrams.draw, chain.smoothing, chain.values))(trie, contexts, uniform[1:])  # [K]
    longest = jnp.where(reads(chain, chain.sizes, time) & seen, chain.sizes, -1).max()
    return jnp.where(longest < 0, (uniform[0] * chain.values).astype(jnp.int32), tokens[longest])


def continued(chain: Chain, key: jax.Array, state: MarkovState, x: jax.Array, prefix: jax.Array) -> jax.Array:
    """Draws the tokens of sequences that follow a prefix.

    Args:
      chain: the chain.
      key: random key.
      state: the counts.
      x: sequences [num, T].
      prefix: number of tokens of each prefix [num].

    Returns:
      Sequences [num, T].
    """
    trie = ngrams.index(state.keys, state.counts, chain.values, chain.smoothing)
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(x)))
    return jax.vmap(partial(continued_sequence, chain, trie))(keys, x, prefix)


def continued_sequence(chain: Chain, trie: ngrams.Level, key: jax.Array, x: jax.Array, prefix: jax.Array) -> jax.Array:
    """Draws the tokens of one sequence that follow a prefix, as `continued`.

    Args:
      chain: the chain.
      trie: the trie of `ngrams.index`.
      key: random key.
      x: one sequence [T].
      prefix: number of tokens of the prefix [].

    Returns:
      The sequence [T].
    """

    def move(contexts: jax.Array, now: tuple) -> tuple[jax.Array, jax.Array]:
        time, token = now  # contexts: [K], the entries of the last 0 .. order tokens
        token = jnp.where(time < prefix, token, draw(chain, jax.random.fold_in(key, time), trie, contexts, time))
        find = lambda keys, first, context: ngrams.find(keys, first, context, token, chain.values)
        longer = jax.vmap(find)(trie.keys[:-1], trie.first[:-1], contexts[:-1])
        return jnp.pad(longer, (1, 0)), token

    start = jnp.where(chain.sizes == 0, 0, -1)
    return jax.lax.scan(move, start, (jnp.arange(len(x)), x))[1]


def table_size(spec: Spec, order: int, max_ngrams: int | None) -> int:
    """Returns the number of entries of the table of each length.

    Args:
      spec: facts of the data.
      order: number of tokens of context.
      max_ngrams: the number asked for; None for the default.

    Raises:
      UserError: for data, an order or a `max_ngrams` that no Markov chain can have.
    """
    values = levels(spec)
    if not values or len(spec.shape) != 1:
        raise UserError(f"{spec.name} holds {spec.kind} data; expected rows of tokens for a Markov chain")
    if not isinstance(order, int) or not 0 <= order <= 15:
        raise UserError(f"order is {order}; expected 0 to 15")
    max_entries = (2**32 - 1) // values
    if max_ngrams is not None and not (0 < max_ngrams <= max_entries and int(max_ngrams) == max_ngrams):
        raise UserError(f"max_ngrams is {max_ngrams}; expected 1 to {max_entries}, for {values} tokens")
    tokens = max(spec.sizes.values(), default=1) * spec.shape[0]
    return int(max_ngrams or 0) or min(values ** (order + 1), tokens, MAX_NGRAMS, max_entries)


def placed(context: jax.Array | None, batch: Batch) -> tuple[jax.Array, jax.Array | None, int]:
    """Returns the tokens of a batch after the last tokens of their lanes.

    Args:
      context: last tokens of each lane [B, order]; None without lanes.
      batch: `x` [B, T], and `length` [B], `weight` [B] and `reset` [B] if the batch has them.

    Returns:
      Tokens [B, L], -1 for no token; the new last tokens of each lane; and the first column of new tokens.

    Raises:
      UserError: if a batch continues lanes that the state does not carry.
    """
    x = batch["x"]
    real = batch.get("weight", jnp.ones(len(x))) > 0
    length = ngrams.lengths(batch["x"], batch.get("length")) * real
    tokens = jnp.where(inside(x, length), x, -1)
    if "reset" not in batch:
        return tokens, context, 0
    context = continued_lanes(context, len(x))
    tokens = jnp.concatenate([jnp.where((batch["reset"] & real)[:, None], -1, context), tokens], 1)
    ends = length[:, None] + jnp.arange(context.shape[1])[None]
    return tokens, jnp.take_along_axis(tokens, ends, 1), context.shape[1]


def refuse_overflow(state: MarkovState) -> None:
    """Refuses a state that has lost n-grams, because its counts are wrong.

    Args:
      state: the counts.

    Raises:
      UserError: for such a state. A state that is traced is not checked.
    """
    if isinstance(state.used, jax.core.Tracer):
        return
    size, capacity = 1 + int(np.argmax(state.used)), state.keys.shape[1]
    if np.max(state.used) > capacity:
        raise UserError(
            f"number of distinct {size}-grams is above {capacity}; expected at most max_ngrams. Raise max_ngrams or "
            "lower order"
        )
