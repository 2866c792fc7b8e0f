"""How nets read and put out a row: the row itself, or for tables a flat vector of numbers and levels. No networks here.

Xu et al. 2019 (CTGAN, arXiv 1907.00503), section 4.2. A number is represented by one of the modes of its column and by
its distance to that mode, (x - mean) / (4 deviation), clipped to [-1, 1]. A categorical cell is represented by its
level.

Layout of the flat vector [W]: G distances, then L indicators. The indicators are a one-hot block for each column, over
its modes (numbers) or its levels. The block has one extra entry if cells of the column may be missing.

Rows x [N, D] are in model space; missing cells are NaN.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.kinds import KINDS, kind_of
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.spec import Spec, columns, levels
from gen_jax.distributions import categorical
from gen_jax.distributions.categorical import Levels
from gen_jax.distributions.linalg import matmul
from gen_jax.distributions.multivariate_normal import gaussian_log_prob
from gen_jax.errors import UserError

WIDTH = 4.0  # number of standard deviations from the mean of a mode to the distances -1 and 1
TEMPERATURE = 0.2  # temperature of relaxed levels (Jang et al. 2017, arXiv 1611.01144)
SMOOTH = 0.9  # probability of the class of a pixel in a smoothed map (Salimans et al. 2016, arXiv 1606.03498, 3.4)
NEVER = -1e9  # the logit of an impossible level; finite, so that its gradient is finite


class Representation(NamedTuple):
    """Conversion of rows to the inputs of nets, and of outputs of nets to rows."""

    shape: tuple[int, ...]  # shape of a row as nets read it
    read: Callable  # (key or None, x [N, *spec.shape]) -> [N, *shape]; if key is None, with the likeliest modes
    relaxed: Callable  # (key, out [N, *shape]) -> [N, *shape]: the output of a net in the form of `read`
    drawn: Callable  # (key, out) -> x
    mismatch: Callable | None = None  # (out, y [N]) -> -log p(y) [N] in nats, y the classes asked for
    shares: np.ndarray | None = None  # shares of the classes [K], if batches have other shares
    hidden: Callable | None = None  # (fake, real [N, *shape]) -> fake without the pixels that have no class in real
    asked: Callable | None = None  # (x [N, D], mask [N, D]) -> y [N]: the classes that observed cells ask for
    entries: Callable = lambda mask: mask  # (observed cells [N, *spec.shape]) -> where `read` holds them [N, *shape]


class Layout(NamedTuple):
    """Places in a flat vector, after the distances; NumPy arrays, fixed by the schema."""

    groups: Levels  # one block for each column
    numbers: np.ndarray  # [G] indices of the columns of numbers
    possible: np.ndarray  # [L] bool: a mode or a level, not a missing cell
    levelled: np.ndarray  # [L] bool: a level, not a mode
    weight: np.ndarray  # [L] log-weight of a mode; `NEVER` if the entry is no mode
    mean: np.ndarray  # [L] mean of a mode; 0 for a level
    width: np.ndarray  # [L] `WIDTH` standard deviations of a mode; `WIDTH` for a level
    member: np.ndarray  # [L, D] 1 if the entry belongs to the column, else 0


def check_kind(family: str, spec: Spec, takes: Callable[[Kind], bool]) -> None:
    """Refuses data that the nets of a family cannot read.

    Args:
      family: name of the family.
      spec: facts of the data.
      takes: function that says whether the family models a kind of data.

    Raises:
      UserError: for data of another kind, rows whose lengths differ, and numbers of a table whose columns have no modes.
    """
    if not takes(kind_of(spec)):
        taken = ", ".join(kind.plural for kind in KINDS.values() if takes(kind))
        raise UserError(f"{spec.name} holds {spec.kind} data; expected {taken} for a {family}")
    if spec.ragged:
        raise UserError(f"rows of {spec.name} have lengths of their own; expected rows of one length for a {family}")
    schema = columns(spec) if spec.tabular else []
    lacking = [column["name"] for column in schema if not {"levels", "modes"} & set(column)]
    if lacking:
        raise UserError(
            f"column {lacking[0]!r} has no modes; expected modes of numbers for a {family}. Set "
            "--config.data.transform=modes"
        )


def layout_of(spec: Spec) -> Layout:
    """Returns the layout of a table's columns.

    Args:
      spec: facts of the data; its columns of numbers must have modes.
    """
    schema = columns(spec)
    real = np.array(["modes" in column for column in schema])
    counts = [len(column["modes"]["mean"] if "modes" in column else column["levels"]) for column in schema]
    empty = np.array([bool(column["missing"]) for column in schema])
    sizes = np.array(counts) + empty
    column = np.repeat(np.arange(len(schema)), sizes)
    code = np.concatenate([np.arange(size) for size in sizes])
    possible = code < np.array(counts)[column]
    fills = {"weight": NEVER, "mean": 0.0, "deviation": 1.0}
    facts = {name: np.full(len(column), fill, np.float32) for name, fill in fills.items()}
    for name, flat in facts.items():
        found = [each["modes"][name] if "modes" in each else [] for each in schema]
        flat[possible & real[column]] = np.concatenate(found)
    facts["weight"][possible & real[column]] = np.log(facts["weight"][possible & real[column]])
    groups = Levels(np.arange(len(schema)), column, code, sizes)
    member = np.eye(len(schema), dtype=np.float32)[column]
    mean, width = facts["mean"], WIDTH * facts["deviation"]
    return Layout(groups, np.flatnonzero(real), possible, ~real[column], facts["weight"], mean, width, member)


def over_groups(layout: Layout, flat: jax.Array) -> jax.Array:
    """Returns log sum exp over the block of each column.

    Args:
      layout: places in a flat vector.
      flat: array [N, L].

    Returns:
      [N, D].
    """
    top = jax.lax.stop_gradient(_largest(layout, flat)[0])
    total = matmul(jnp.exp(flat - top[:, layout.groups.column]), layout.member)
    return top + jnp.log(total)


def normalised(layout: Layout, logits: jax.Array) -> jax.Array:
    """Returns logits [N, L] as log-probabilities, normalised over the block of each column.

    Args:
      layout: places in a flat vector.
      logits: logits [N, L].
    """
    return logits - matmul(over_groups(layout, logits), layout.member.T)


def split(layout: Layout, flat: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Splits a flat vector into distances [N, G] and indicators, or their logits, [N, L].

    Args:
      layout: places in a flat vector.
      flat: flat vectors [N, W].
    """
    return flat[:, : len(layout.numbers)], flat[:, len(layout.numbers) :]


def row(layout: Layout, code: jax.Array, distance: jax.Array) -> jax.Array:
    """Returns rows in model space from modes or levels and distances.

    Args:
      layout: places in a flat vector.
      code: index of the mode or level of each column [N, D].
      distance: distances [N, G].

    Returns:
      Rows [N, D].
    """
    held = categorical.indicators(layout.groups, code, None)
    centre, width = (
        matmul(held * flat[None], layout.member)[:, layout.numbers] for flat in (layout.mean, layout.width)
    )
    return code.at[:, layout.numbers].set(centre + width * jnp.clip(distance, -1, 1))


def draw_rows(layout: Layout, key: jax.Array | None, logits: jax.Array, distance: jax.Array) -> jax.Array:
    """Draws rows by the logits of modes and levels. No cell is missing.

    Args:
      layout: places in a flat vector.
      key: random key; None takes the likeliest modes and levels.
      logits: logits [N, L].
      distance: distances [N, G].

    Returns:
      Rows [N, D].
    """
    possible = jnp.where(layout.possible[None], logits, -jnp.inf)
    code = likeliest(layout, possible) if key is None else categorical.draw(key, layout.groups, possible)
    return row(layout, code, distance)


def likeliest(layout: Layout, logits: jax.Array) -> jax.Array:
    """Returns the index of the likeliest mode or level of each column [N, D] float32.

    Args:
      layout: places in a flat vector.
      logits: logits [N, L].
    """
    return _largest(layout, logits)[1].astype(jnp.float32)


def log_responsibilities(layout: Layout, x: jax.Array) -> jax.Array:
    """Returns the log-responsibilities of modes and levels for their cell, up to a constant of each column.

    Args:
      layout: places in a flat vector.
      x: rows [N, D] without NaN.

    Returns:
      [N, L].
    """
    x = x[:, layout.groups.column]
    of_number = gaussian_log_prob(x, layout.mean[None], jnp.log(layout.width / WIDTH)[None]) + layout.weight[None]
    return jnp.where(layout.levelled[None], jnp.where(x == layout.groups.code[None], 0, NEVER), of_number)


def read(layout: Layout, key: jax.Array | None, x: jax.Array) -> jax.Array:
    """Returns rows as flat vectors.

    Args:
      layout: places in a flat vector.
      key: random key, by which a mode is drawn by its responsibility; None takes the likeliest mode.
      x: rows [N, D]; missing cells are NaN.

    Returns:
      Flat vectors [N, W].
    """
    observed, x = ~jnp.isnan(x), jnp.nan_to_num(x)
    log_r = log_responsibilities(layout, x)
    code = likeliest(layout, log_r if key is None else log_r + jax.random.gumbel(key, log_r.shape))
    held = categorical.indicators(layout.groups, jnp.where(observed, code, layout.groups.sizes[None] - 1.0), None)
    centre, width = (matmul(held * flat[None], layout.member) for flat in (layout.mean, layout.width))
    distance = jnp.where(observed, jnp.clip((x - centre) / width, -1, 1), 0)[:, layout.numbers]
    return jnp.concatenate([distance, held], 1)


def representation(spec: Spec) -> Representation:
    """Returns how nets read and put out the rows of the data.

    Args:
      spec: facts of the data.
    """
    if kind_of(spec).class_map:
        return of_class_map(spec)
    if not spec.tabular:
        same = lambda key, x: x
        return Representation(tuple(spec.shape), same, same, same)
    layout = layout_of(spec)

    def relaxed(key: jax.Array, out: jax.Array) -> jax.Array:
        distance, logits = split(layout, out)
        noisy = (logits + jax.random.gumbel(key, logits.shape)) / TEMPERATURE
        return jnp.concatenate([jnp.tanh(distance), jnp.exp(normalised(layout, noisy))], 1)

    def draw(key: jax.Array, out: jax.Array) -> jax.Array:
        distance, logits = split(layout, out)
        return draw_rows(layout, key, logits, jnp.tanh(distance))

    shape = (len(layout.numbers) + len(layout.possible),)

    def entries(mask: jax.Array) -> jax.Array:
        return jnp.concatenate([mask[:, layout.numbers], mask[:, layout.groups.column]], 1)

    plain = Representation(shape, lambda key, x: read(layout, key, x), relaxed, draw, entries=entries)
    if not spec.classes:
        return plain
    levelled = [at for at, column in enumerate(columns(spec)) if "levels" in column]
    place = np.flatnonzero(layout.possible & np.isin(layout.groups.column, levelled))  # [K] entry of each class
    shares = np.concatenate([spec.marginals[at] for at in levelled]) / len(levelled)

    def mismatch(out: jax.Array, y: jax.Array) -> jax.Array:
        log_p = normalised(layout, split(layout, out)[1])
        return -jnp.take_along_axis(log_p, jnp.asarray(place)[y][:, None], 1)[:, 0]

    def requested_class(x: jax.Array, mask: jax.Array) -> np.ndarray:
        observed = np.asarray(mask)
        rows, at = np.nonzero(observed & np.isin(np.arange(observed.shape[1]), levelled)[None])
        if not (observed.sum(1) == 1).all() or len(rows) != len(observed):
            raise UserError(
                "given x is not one level of one column; expected one level in each row, of a column among "
                f"{', '.join(columns(spec)[each]['name'] for each in levelled)}"
            )
        first = np.searchsorted(layout.groups.column[place], at)
        return (first + np.asarray(x)[rows, at]).astype(np.int32)

    return plain._replace(mismatch=mismatch, shares=shares, asked=requested_class)


def of_class_map(spec: Spec) -> Representation:
    """Returns how nets read and put out maps of classes: a channel for each class [H, W, K].

    A net puts out logits. Real maps are smoothed, so that a critic cannot tell them from softmax probabilities by
    their zeros and ones. A pixel without a class is 0 in all channels, in real and in generated maps.

    Args:
      spec: facts of the data.
    """
    classes = levels(spec)

    def read(key: jax.Array | None, x: jax.Array) -> jax.Array:
        return SMOOTH * jax.nn.one_hot(x, classes) + (1 - SMOOTH) / classes * (x < classes)[..., None]

    def relaxed(key: jax.Array, out: jax.Array) -> jax.Array:
        return jax.nn.softmax(out)

    def likeliest_class(key: jax.Array, out: jax.Array) -> jax.Array:
        return out.argmax(-1).astype(jnp.int32)

    def hidden(fake: jax.Array, real: jax.Array) -> jax.Array:
        return fake * (real.sum(-1, keepdims=True) > 0)

    return Representation((*spec.shape, classes), read, relaxed, likeliest_class, hidden=hidden)


def _largest(layout: Layout, flat: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the largest value in the block of each column of flat [N, L], and its index in the block, [N, D] each."""
    place, within = categorical.places(layout.groups)
    padded = jnp.where(within[None], flat[:, place], -jnp.inf)
    top = padded.max(-1)
    # the first index of the largest value; XLA's argmax, one reduction of pairs, takes ten times as long on a CPU
    return top, jnp.where(padded == top[..., None], np.arange(place.shape[1]), place.shape[1]).min(-1)
