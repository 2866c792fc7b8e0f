"""What nets read and put out in the place of a row: the row itself, or of columns a flat vector of numbers and levels.

Xu et al. 2019 (CTGAN, arXiv 1907.00503), section 4.2: a number is one of the modes of its column and its distance to that
mode, (x - mean) / (4 deviation), within -1 and 1; a level is one of those of its column. A flat vector [W] is the G
distances, and then L indicators: of each column those of its modes, or levels, and where cells may be empty one more of
that. Rows x [N, D] are in model space, NaN where a cell is not observed. No networks live here.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.kinds import KINDS, kind_of
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.spec import Spec, columns
from gen_jax.distributions import categorical
from gen_jax.distributions.categorical import Levels
from gen_jax.distributions.linalg import matmul
from gen_jax.distributions.multivariate_normal import gaussian_log_prob
from gen_jax.errors import UserError

WIDTH = 4.0  # deviations of a mode that the distances -1 and 1 are away from its mean
TEMPERATURE = 0.2  # of relaxed levels (Jang et al. 2017, arXiv 1611.01144)
NEVER = -1e9  # the logit of what cannot be; finite, for its gradient's sake


class Representation(NamedTuple):
    """Rows as nets have them."""

    shape: tuple[int, ...]  # of a row
    read: Callable  # (key or None, x [N, *spec.shape]) -> [N, *shape]; without a key by their likeliest modes
    relaxed: Callable  # (key, out [N, *shape]) -> [N, *shape]: what a net puts out, as `read` gives real rows
    drawn: Callable  # (key, out) -> x
    mismatch: Callable | None = None  # (out, y [N]) -> [N] nats: what the class that was asked for costs
    shares: np.ndarray | None = None  # [K] of the classes, where batches show them otherwise
    asked: Callable | None = None  # (x, mask), both [N, D] -> y [N]: the class that observed cells ask for


class Layout(NamedTuple):
    """Where things stand in a flat vector, after the distances; plain NumPy, fixed by the schema."""

    groups: Levels  # one of each column
    numbers: np.ndarray  # [G] which columns are numbers
    possible: np.ndarray  # [L] bool: not an empty cell
    levelled: np.ndarray  # [L] bool: a level, not a mode
    weight: np.ndarray  # [L] log of a mode's; `NEVER` where none
    mean: np.ndarray  # [L] 0 where a level
    width: np.ndarray  # [L] of a mode; 1 where a level
    member: np.ndarray  # [L, D] 0 and 1


def check_kind(family: str, spec: Spec, takes: Callable[[Kind], bool]) -> None:
    """Refuses data that the nets of a family cannot read.

    Args:
      family: its name.
      spec: the facts of the data.
      takes: whether the family models a kind of data.

    Raises:
      UserError: for data of another kind, and for numbers of a table whose columns have no modes.
    """
    if not takes(kind_of(spec)):
        taken = ", ".join(kind.plural for kind in KINDS.values() if takes(kind))
        raise UserError(f"a {family} models {taken}; not data of kind {spec.kind!r} ({spec.name})")
    schema = columns(spec) if spec.tabular else []
    lacking = [column["name"] for column in schema if not {"levels", "modes"} & set(column)]
    if lacking:
        raise UserError(
            f"a {family} reads the number {lacking[0]!r} by the modes of its column: set --config.data.transform=modes"
        )


def layout_of(spec: Spec) -> Layout:
    """The layout of a table's columns."""
    schema = columns(spec)
    real = np.array(["modes" in column for column in schema])
    known = [len(column["modes"]["mean"] if "modes" in column else column["levels"]) for column in schema]
    empty = np.array([bool(column["missing"]) for column in schema])
    sizes = np.array(known) + empty
    column = np.repeat(np.arange(len(schema)), sizes)
    code = np.concatenate([np.arange(size) for size in sizes])
    possible = code < np.array(known)[column]
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
    """log sum exp of each column's part of flat [N, L]: [N, D]."""
    top = jax.lax.stop_gradient(_largest(layout, flat)[0])
    total = matmul(jnp.exp(flat - top[:, layout.groups.column]), layout.member)
    return top + jnp.log(total)


def normalised(layout: Layout, logits: jax.Array) -> jax.Array:
    """Logits [N, L] as log-probabilities of each column's part."""
    return logits - matmul(over_groups(layout, logits), layout.member.T)


def split(layout: Layout, flat: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Distances [N, G] and indicators, or their logits, [N, L]."""
    return flat[:, : len(layout.numbers)], flat[:, len(layout.numbers) :]


def row(layout: Layout, code: jax.Array, distance: jax.Array) -> jax.Array:
    """Rows [N, D] by the mode or level of each column [N, D] and the distances [N, G]."""
    held = categorical.indicators(layout.groups, code, None)
    centre, width = (
        matmul(held * flat[None], layout.member)[:, layout.numbers] for flat in (layout.mean, layout.width)
    )
    return code.at[:, layout.numbers].set(centre + width * jnp.clip(distance, -1, 1))


def drawn(layout: Layout, key: jax.Array | None, logits: jax.Array, distance: jax.Array) -> jax.Array:
    """Rows [N, D] whose modes and levels are drawn by logits [N, L], or the likeliest without a key; no cell is empty."""
    possible = jnp.where(layout.possible[None], logits, -jnp.inf)
    code = likeliest(layout, possible) if key is None else categorical.draw(key, layout.groups, possible)
    return row(layout, code, distance)


def likeliest(layout: Layout, logits: jax.Array) -> jax.Array:
    """The likeliest mode or level of each column [N, D] float32."""
    return _largest(layout, logits)[1].astype(jnp.float32)


def log_responsibilities(layout: Layout, x: jax.Array) -> jax.Array:
    """Log of how far each mode or level [N, L] explains the cell of its column in x [N, D], up to a constant of the column."""
    x = x[:, layout.groups.column]
    of_number = gaussian_log_prob(x, layout.mean[None], jnp.log(layout.width / WIDTH)[None]) + layout.weight[None]
    return jnp.where(layout.levelled[None], jnp.where(x == layout.groups.code[None], 0, NEVER), of_number)


def read(layout: Layout, key: jax.Array | None, x: jax.Array) -> jax.Array:
    """Rows [N, D] as flat vectors [N, W]; a mode is drawn by its responsibility, or the likeliest without a key."""
    seen, x = ~jnp.isnan(x), jnp.nan_to_num(x)
    log_r = log_responsibilities(layout, x)
    code = likeliest(layout, log_r if key is None else log_r + jax.random.gumbel(key, log_r.shape))
    held = categorical.indicators(layout.groups, jnp.where(seen, code, layout.groups.sizes[None] - 1.0), None)
    centre, width = (matmul(held * flat[None], layout.member) for flat in (layout.mean, layout.width))
    distance = jnp.where(seen, jnp.clip((x - centre) / width, -1, 1), 0)[:, layout.numbers]
    return jnp.concatenate([distance, held], 1)


def representation(spec: Spec) -> Representation:
    """How nets read and put out the rows of `spec`."""
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
        return drawn(layout, key, logits, jnp.tanh(distance))

    shape = (len(layout.numbers) + len(layout.possible),)
    plain = Representation(shape, lambda key, x: read(layout, key, x), relaxed, draw)
    if not spec.classes:
        return plain
    levelled = [at for at, column in enumerate(columns(spec)) if "levels" in column]
    place = np.flatnonzero(layout.possible & np.isin(layout.groups.column, levelled))  # [K] of each class
    shares = np.concatenate([spec.marginals[at] for at in levelled]) / len(levelled)

    def mismatch(out: jax.Array, y: jax.Array) -> jax.Array:
        log_p = normalised(layout, split(layout, out)[1])
        return -jnp.take_along_axis(log_p, jnp.asarray(place)[y][:, None], 1)[:, 0]

    def asked(x: jax.Array, mask: jax.Array) -> np.ndarray:
        observed = np.asarray(mask)
        rows, at = np.nonzero(observed & np.isin(np.arange(observed.shape[1]), levelled)[None])
        if not (observed.sum(1) == 1).all() or len(rows) != len(observed):
            raise UserError(
                f"given x: this model can be asked for one level of one column in each row, and for nothing else; columns "
                f"with levels are {', '.join(columns(spec)[each]['name'] for each in levelled)}"
            )
        first = np.searchsorted(layout.groups.column[place], at)
        return (first + np.asarray(x)[rows, at]).astype(np.int32)

    return plain._replace(mismatch=mismatch, shares=shares, asked=asked)


def _largest(layout: Layout, flat: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest of each column's part of flat [N, L], and which one it is: [N, D] each."""
    place, within = categorical.places(layout.groups)
    padded = jnp.where(within[None], flat[:, place], -jnp.inf)
    top = padded.max(-1)
    # the first that is as large: XLA's argmax, one reduction of pairs, takes ten times as long on a CPU
    return top, jnp.where(padded == top[..., None], np.arange(place.shape[1]), place.shape[1]).min(-1)
