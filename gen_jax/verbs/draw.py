"""Draws samples from a model, in chunks, and rows until enough of them fit a condition."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from operator import itemgetter
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, to_data
from gen_jax.errors import UserError
from gen_jax.keys import root
from gen_jax.metrics.progress import counter
from gen_jax.model import Model, State

Conditions = Mapping[str, np.ndarray | Mapping[str, np.ndarray]]  # leaves lead with the number of samples
fold_in = jax.jit(jax.random.fold_in)  # by itself it takes a third of a millisecond a chunk
CHUNK = 256  # samples per compiled call: one compilation whatever `num`, and sample i depends on (seed, i) alone
SHORT = 16  # of sequences
MOST_DRAWN, RAREST = 2**18, 1e-4  # rows after which it is an error that less than such a share of them fits a condition


def draw(
    model: Model,
    state: State,
    spec: Spec,
    seed: int,
    num: int,
    given: Conditions | None = None,
    how: Mapping[str, Any] | None = None,
    size: int | None = None,
    known: np.ndarray | None = None,
    fits: Callable[[np.ndarray], np.ndarray] | None = None,
    shown: bool = False,
) -> dict[str, np.ndarray]:
    """Draws samples in the domain of the data: `x` [num, *shape] in the type of the data, and what else is modelled.

    Args:
      model: the model.
      state: its state.
      spec: facts of the data.
      seed: of the draw.
      num: number of samples.
      given: conditions; their leaves lead with `num`.
      how: options of the sampler; an array leads with `num`.
      size: number of samples of one compiled call; None: `CHUNK`, and `SHORT` for sequences.
      known: cells [num, D] of a table that `given` holds fixed, in the domain of the data; NaN elsewhere.
      fits: (rows x [N, D] of a table) -> which of them stay [N]. The samples are then the first `num` rows that stay, and
        all rows of `given` are alike.
      shown: show the number of samples that are drawn on the terminal.

    Raises:
      UserError: for a condition that hardly any row fits.
    """
    size = size or (SHORT if kind_of(spec).time else CHUNK)
    chunks = _chunks(model, state, seed, None if fits else num, given or {}, how or {}, size)
    if fits:
        return _first_that_fit(spec, chunks, num, known, fits)
    found: list[dict] = []
    with counter(num, "drawing samples", "sample", shown) as bar:
        for chunk in chunks:
            found.append(chunk)
            found[-2:-1] = jax.device_get(found[-2:-1])  # while the next is drawn
            bar.update(size * (len(found) - 1) - bar.n)
    return _together(spec, jax.device_get(found), num, known)


def _chunks(
    model: Model, state: State, seed: int, num: int | None, given: Conditions, how: Mapping[str, Any], size: int
) -> Iterator[dict[str, jax.Array]]:
    """Yields samples, `size` at a time, until there are `num`; without end, all given the first row, if `num` is None."""
    key = root(seed, "samples")
    for number in count() if num is None else range(-(-num // size)):
        last = 0 if num is None else num - 1
        rows = np.minimum(np.arange(number * size, (number + 1) * size), last)  # all chunks are whole
        conditions = jax.tree.map(itemgetter(rows), dict(given))
        options = {name: np.asarray(value)[rows] if np.ndim(value) else value for name, value in how.items()}
        yield model.sample(fold_in(key, number), state, size, conditions or None, options or None)


def _together(spec: Spec, chunks: Sequence[dict], num: int, known: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns the first `num` samples of some chunks in the data's own domain, with the cells that are known as they are."""
    samples = {name: np.concatenate([chunk[name] for chunk in chunks])[:num] for name in chunks[0]}
    x = to_data(spec, samples["x"])
    return {**samples, "x": x if known is None else np.where(np.isnan(known), x, known)}


def _first_that_fit(
    spec: Spec, chunks: Iterable[dict], num: int, known: np.ndarray | None, fits: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    found, fitting, drawn = [], 0, 0
    with tqdm(total=num, desc="rows that fit", unit="row", delay=2) as bar:
        for chunk in chunks:
            size = len(chunk["x"])
            part = _together(spec, [jax.device_get(chunk)], size, None if known is None else known[:1])
            stays = fits(part["x"])
            found.append({name: value[stays] for name, value in part.items()})
            fitting, drawn = fitting + int(stays.sum()), drawn + size
            bar.update(int(stays.sum()))
            if fitting >= num:
                break
            if drawn >= MOST_DRAWN and fitting < RAREST * drawn:
                raise UserError(
                    f"given: {fitting} of {drawn:,} drawn rows fit; expected a condition that more rows fit"
                )
    print(f"{fitting / drawn:.2%} of the drawn rows fit")
    return {name: np.concatenate([part[name] for part in found])[:num] for name in found[0]}
