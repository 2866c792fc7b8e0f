"""Draws samples from a model in chunks. For a condition on ranges it draws rows until enough rows fit."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from operator import itemgetter
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from gen_jax.conditions import sampler_options
from gen_jax.data.domain import drawn_in_domain
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, domain
from gen_jax.errors import UserError
from gen_jax.keys import root
from gen_jax.metrics.progress import counter
from gen_jax.model import Model, State
from gen_jax.verbs.given import Request

Conditions = Mapping[str, np.ndarray | Mapping[str, np.ndarray]]  # the first axis of a leaf is the number of samples
CHOSEN = ("temperature", "beam")  # options of a sampler that a config may set
HOW = "option of the sampler, NAME=VALUE, such as steps=20 or guidance=2 of a diffusion model; by default as in the config"
fold_in = jax.jit(jax.random.fold_in)  # compiled, because otherwise it takes a third of a millisecond a chunk
CHUNK = 256  # samples of a compiled call: any `num` needs one compilation, and sample i depends on (seed, i) alone
SHORT = 16  # sequences or clips of a compiled call
MOST_DRAWN, RAREST = 2**18, 1e-4  # after MOST_DRAWN drawn rows, a share of fitting rows below RAREST is an error


def chosen_options(settings: Mapping[str, Any], others: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the options of a sampler: those that a config sets, and others, which replace them.

    An option of draws replaces the beam of a config, and a beam replaces the temperature of a config.

    Args:
      settings: the `sample` section of a config, whose `how` holds options in the form of `options_in`.
      others: options by name, of which None sets nothing; by default none.
    """
    options = {name: value for name, value in (others or {}).items() if value is not None}
    plain = {name: settings[name] for name in CHOSEN if settings.get(name) is not None}
    plain |= options_in([settings.get("how") or ""])
    if "beam" in options:
        plain.pop("temperature", None)
    elif options.keys() - {"length_penalty"}:
        plain.pop("beam", None)
    return {**plain, **options}


def options_in(texts: Iterable[str]) -> dict[str, Any]:
    """Returns options of a sampler that a user writes as NAME=VALUE. Values that are numbers become numbers.

    Args:
      texts: texts of options, with commas between options; empty texts count for nothing.

    Raises:
      UserError: for another form, or an option that is named twice.
    """
    options: dict[str, Any] = {}
    for text in filter(None, map(str.strip, ",".join(texts).split(","))):
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value) or name in options:
            raise UserError(f"option {text!r} of the sampler is unclear; expected NAME=VALUE once, such as steps=20")
        options[name] = value_of(value)
    return options


def value_of(text: str) -> int | float | str:
    """Returns a number if a text is one, and else the text.

    Args:
      text: the text.
    """
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def chunk_of(spec: Spec) -> int:
    """Returns the number of samples of a compiled call: `CHUNK`, and `SHORT` for sequences and clips, which take longer.

    Args:
      spec: facts of the data.
    """
    kind = kind_of(spec)
    return SHORT if kind.time or kind.film else CHUNK


def of_other_sides(spec: Spec, given: Conditions) -> bool:
    """Returns whether conditions are images of other sides than in training.

    Args:
      spec: facts of the data.
      given: conditions of the samples.
    """
    condition, c = spec.condition, given.get("c")
    if condition is None or c is None or not kind_of(condition).pixels:
        return False
    return np.asarray(c).shape[1:3] != condition.shape[:2]


def draw(
    model: Model,
    state: State,
    spec: Spec,
    seed: int,
    num: int,
    given: Conditions | None = None,
    how: Mapping[str, Any] | None = None,
    size: int | None = None,
    fixed_cells: np.ndarray | None = None,
    fits: Callable[[np.ndarray], np.ndarray] | None = None,
    show_progress: bool = False,
) -> dict[str, np.ndarray]:
    """Draws samples in the domain of the data, with all arrays that the model draws.

    Args:
      model: the model.
      state: the state.
      spec: facts of the data.
      seed: seed of the draws.
      num: number of samples.
      given: conditions, whose leaves have the leading axis `num`; by default None.
      how: options of the sampler. An array has the leading axis `num`. By default None.
      size: number of samples of one compiled call; by default `CHUNK`, `SHORT` for sequences and clips, and 1 for images
        whose conditions have other sides than in training, because these may be large photos.
      fixed_cells: cells [num, D] of a table that `given` holds fixed, in the domain of the data; NaN in other cells. By
        default None.
      fits: function (rows x [N, D] of a table) -> whether each row stays [N]; by default None. The samples are then the
        first `num` rows that stay, and all rows of `given` must be equal.
      show_progress: whether the number of drawn samples is shown on the terminal; by default False.

    Returns:
      `x` [num, *shape] in the type of the data, and other arrays of the model such as `y` and `length`.

    Raises:
      UserError: for a condition that hardly any row fits, an option that the model does not have, or an array of another
        length.
    """
    refuse_options(model, how or {}, num)
    size = size or (1 if of_other_sides(spec, given or {}) else chunk_of(spec))
    chunks = _chunks(model, state, seed, None if fits else num, given or {}, how or {}, size)
    if fits:
        return _first_that_fit(spec, chunks, num, fixed_cells, fits)
    results: list[dict] = []
    with counter(num, "drawing samples", "sample", show_progress) as bar:
        for chunk in chunks:
            results.append(chunk)
            results[-2:-1] = jax.device_get(results[-2:-1])  # while the next chunk is drawn
            bar.update(size * (len(results) - 1) - bar.n)
    return _together(spec, jax.device_get(results), num, fixed_cells)


def refuse_options(model: Model, how: Mapping[str, Any], num: int) -> None:
    """Refuses options that a model does not have, and arrays that do not hold a value for each sample.

    Args:
      model: the model.
      how: options of the sampler.
      num: number of samples.

    Raises:
      UserError: for such an option.
    """
    sampler_options(how, model.options)
    for name, value in how.items():
        if np.ndim(value) and len(value) != num:
            raise UserError(
                f"{name} has {len(value)} values; expected one for each of the {num} samples, or one for all"
            )


def draw_request(
    model: Model,
    state: State,
    spec: Spec,
    seed: int,
    request: Request,
    how: Mapping[str, Any] | None = None,
    show_progress: bool = False,
) -> dict[str, np.ndarray]:
    """Draws the samples of a request in the domain of the data.

    If their true rows are known, they are `truth`, with `truth_length` if their lengths differ.

    Args:
      model: the model.
      state: the state.
      spec: facts of the data.
      seed: seed of the draws.
      request: number and conditions of the samples.
      how: options of the sampler; by default None.
      show_progress: whether the number of drawn samples is shown on the terminal; by default False.

    Raises:
      UserError: for a condition that hardly any row fits.
    """
    samples = draw(
        model,
        state,
        spec,
        seed,
        request.num,
        request.given,
        how,
        fixed_cells=request.cells,
        fits=request.fits,
        show_progress=show_progress,
    )
    known = {"truth": request.truth, "truth_length": request.truth_length}
    return {**samples, **{name: rows for name, rows in known.items() if rows is not None}}


def _chunks(
    model: Model, state: State, seed: int, num: int | None, given: Conditions, how: Mapping[str, Any], size: int
) -> Iterator[dict[str, jax.Array]]:
    """Yields `num` samples in chunks of `size`.

    If `num` is None, it never ends, and all samples get the first condition.
    """
    key = root(seed, "samples")
    for number in count() if num is None else range(-(-num // size)):
        last = 0 if num is None else num - 1
        rows = np.minimum(np.arange(number * size, (number + 1) * size), last)  # all chunks have `size` rows
        conditions = jax.tree.map(itemgetter(rows), dict(given))
        options = {name: np.asarray(value)[rows] if np.ndim(value) else value for name, value in how.items()}
        yield model.sample(fold_in(key, number), state, size, conditions or None, options or None)


def _together(spec: Spec, chunks: Sequence[dict], num: int, fixed_cells: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns the first `num` samples of chunks in the domain of the data. Known cells keep their values."""
    samples = drawn_in_domain(domain(spec), chunks, num)
    if fixed_cells is None:
        return samples
    return {**samples, "x": np.where(np.isnan(fixed_cells), samples["x"], fixed_cells)}


def _first_that_fit(
    spec: Spec,
    chunks: Iterable[dict],
    num: int,
    fixed_cells: np.ndarray | None,
    fits: Callable[[np.ndarray], np.ndarray],
) -> dict[str, np.ndarray]:
    survivors, fitting, num_drawn = [], 0, 0
    with tqdm(total=num, desc="rows that fit", unit="row", delay=2) as bar:
        for chunk in chunks:
            size = len(chunk["x"])
            part = _together(spec, [jax.device_get(chunk)], size, None if fixed_cells is None else fixed_cells[:1])
            stays = fits(part["x"])
            survivors.append({name: value[stays] for name, value in part.items()})
            fitting, num_drawn = fitting + int(stays.sum()), num_drawn + size
            bar.update(int(stays.sum()))
            if fitting >= num:
                break
            if num_drawn >= MOST_DRAWN and fitting < RAREST * num_drawn:
                raise UserError(
                    f"given: {fitting} of {num_drawn:,} drawn rows fit; expected a condition that more rows fit"
                )
    print(f"{fitting / num_drawn:.2%} of the drawn rows fit")
    return {name: np.concatenate([part[name] for part in survivors])[:num] for name in survivors[0]}
