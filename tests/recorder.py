"""A random generator that draws what JAX's own draws, and records every use of every key by its value."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
import pytest
from jax.extend.random import define_prng_impl

REJECTION = ("beta", "binomial", "gamma")  # draw in loops, which run on for rows that are done: recorded as one use


class Uses:
    """How often each key was split, folded or drawn with."""

    def __init__(self) -> None:
        self.counts: dict[tuple[int, int], Counter] = {}

    def note(self, kind: str, key: np.ndarray) -> None:
        self.counts.setdefault(tuple(np.asarray(key).ravel().tolist()), Counter())[kind] += 1

    def faults(self) -> dict[tuple[int, int], dict[str, int]]:
        """Returns the keys that were used twice, or both folded and used otherwise, with their uses."""
        jax.effects_barrier()
        return {key: dict(uses) for key, uses in self.counts.items() if broken(uses)}


def broken(uses: Counter) -> bool:
    """Whether a key with these uses breaks the rule: one split, or one draw, or any number of folds."""
    once = uses["split"] + uses["bits"]
    return once > 1 or bool(once and uses["fold_in"])


USES = [Uses()]  # of the recording that runs; compiled code calls whichever is the last
RECORDED = None


def recorded_impl():
    """The generator: threefry, with a callback at each use."""

    def wrapped(data: jax.Array) -> jax.Array:
        return jax.random.wrap_key_data(data, impl="threefry2x32")

    def note(kind: str, data: jax.Array) -> None:
        jax.debug.callback(lambda key: USES[-1].note(kind, key), data)

    def split(data: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        note("split", data)
        return jax.random.key_data(jax.random.split(wrapped(data), shape))

    def fold_in(data: jax.Array, number: jax.Array) -> jax.Array:
        note("fold_in", data)
        return jax.random.key_data(jax.random.fold_in(wrapped(data), number))

    def random_bits(data: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
        note("bits", data)
        return jax.random.bits(wrapped(data), shape, f"uint{width}")

    def seed(number: jax.Array) -> jax.Array:
        return jax.random.key_data(jax.random.key(number, impl="threefry2x32"))

    return define_prng_impl(
        key_shape=(2,), seed=seed, split=split, random_bits=random_bits, fold_in=fold_in, name="recorded", tag="rec"
    )


def opaque(draw):
    """`draw`, which uses a recorded key once and is not looked into."""

    def drawn(key: jax.Array, *args, **options) -> jax.Array:
        if jax.random.key_impl(key) != RECORDED:
            return draw(key, *args, **options)
        bits = jax.random.bits(key, (2,), "uint32")  # the one use; as good a key as any
        return draw(jax.random.wrap_key_data(bits, impl="threefry2x32"), *args, **options)

    return drawn


@contextmanager
def recording() -> Iterator[tuple[jax.Array, Uses]]:
    """A key whose uses, and those of all keys made of it, are recorded while JAX's own check of key reuse is on."""
    global RECORDED
    RECORDED = RECORDED or recorded_impl()
    USES.append(Uses())
    with pytest.MonkeyPatch.context() as patch, jax.debug_key_reuse(True):
        for name in REJECTION:
            patch.setattr(jax.random, name, opaque(getattr(jax.random, name)))
        yield jax.random.key(0, impl=RECORDED), USES[-1]
    USES.pop()
