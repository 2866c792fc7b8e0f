"""Generative forests: trees that tell real rows from synthetic rows split a table into leaves with simple columns."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import given_observed, refuse_given, refuse_impossible, sampler_options
from gen_jax.data.spec import Spec, columns
from gen_jax.distributions import categorical
from gen_jax.errors import UserError, check_strengths, check_whole, choose
from gen_jax.host import on_host
from gen_jax.model import Batch, Model, family
from gen_jax.models.forest import growth as growing
from gen_jax.models.forest import leaf_mixture
from gen_jax.models.forest import leaves as inside
from gen_jax.models.forest.leaf_mixture import Forest

LEAVES = ("independent", "chow_liu")
MOST = 1 << 30  # largest number of parameters in the leaves of a forest


class ForestState(NamedTuple):
    """Holds the state of a forest."""

    step: jax.Array  # [] int32
    forest: Forest
    accuracy: jax.Array  # [] float32, out-of-bag accuracy of the trees that are kept; 1 before the first round
    done: jax.Array  # [] bool, whether no round will change the forest any more


class Growth(NamedTuple):
    """Describes a forest without its trees: the settings by which it grows."""

    layout: inside.Layout
    shape: tuple[int, int, int, int]  # trees T, largest number of leaves of a tree L, columns D, most levels R
    unordered: list[int]  # [D] number of levels of a column without an order; 0 for another column
    min_rows: int  # smallest number of rows of a leaf
    delta: float  # excess over 1/2 of the out-of-bag accuracy at which training stops


@family("forest")
def forest(
    spec: Spec,
    trees: int = 50,
    min_rows: int = 5,
    max_leaves: int | None = None,
    leaves: str = "independent",
    pseudo_rows: float = 0.1,
    delta: float = 0.0,
) -> Model:
    """Returns an adversarial random forest as a density (Watson, Blesch, Kapar & Wright 2023, arXiv 2205.09435).

    The paper calls the forest ARF, its density FORDE and its sampler FORGE.

    A step is one adversarial round on its batch, which should hold all rows (`data.order` all). Synthetic rows are
    drawn with independent cells within the current leaves; at first there is one leaf. Trees are trained to tell
    synthetic rows from real rows. The real rows in the leaves of these trees give the new density. Training stops when
    the out-of-bag accuracy reaches 1/2 + `delta`, or no longer falls. In the second case the previous forest is kept.
    Further steps then change nothing.

    During training, a missing cell is drawn from a leaf of its row in the same way. The row takes a random branch at
    splits on missing cells. The densities of leaves are fitted to observed cells alone. A number is normal between the
    splits of its leaf, and the outermost leaves are not bounded by the range of the data. `log_prob` integrates missing
    cells out exactly, and is differentiable in the numbers of complete rows. `given` takes `x` and `mask` [num, D].

    Args:
      spec: facts of the data, with D columns.
      trees: number of trees T; by default 50.
      min_rows: smallest number of rows of a leaf; by default 5. A smaller leaf is merged with its sibling.
      max_leaves: largest number of leaves of a tree. The leaves with the fewest rows are merged first. None, the
        default, is half the number that `min_rows` allows.
      leaves: `independent` for independent columns within a leaf, the default, or `chow_liu` for levels that follow a
        tree in each leaf.
      pseudo_rows: number of pseudo-rows of the whole table in every leaf; by default 0.1. Levels get their shares among
        the levels that the leaf can hold, and numbers the standard deviation of the column. 0 is maximum likelihood.
      delta: excess over 1/2 of the out-of-bag accuracy at which training stops; by default 0.

    Raises:
      UserError: for data without columns, or an argument out of its range.
    """
    growth = growth_of(spec, trees, min_rows, max_leaves, leaves, pseudo_rows, delta)
    layout = growth.layout
    whole = jax.jit(partial(leaf_mixture.log_prob, layout))
    posterior = partial(leaf_mixture.posterior, layout, jax.jit(partial(leaf_mixture.joint, layout)))
    free = jax.jit(partial(draw_rows, growth), static_argnums=2)
    complete = jax.jit(lambda key, forest, *cells: leaf_mixture.draw(key, layout, forest.leaves, *cells))

    def log_prob(key: jax.Array, state: ForestState, batch: Batch) -> jax.Array:
        mask = np.broadcast_to(np.asarray(batch.get("mask", True)) > 0, batch["x"].shape)
        hidden = np.flatnonzero(~mask.all(1))
        check_rows(layout, batch, hidden)
        log_p = whole(state.forest, batch["x"])
        if not len(hidden):
            return log_p
        evidence, _, _ = posterior(key, state.forest, np.asarray(batch["x"])[hidden], mask[hidden])
        return log_p.at[hidden].set(evidence)

    def sample(
        key: jax.Array, state: ForestState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        sampler_options(how)
        refuse_given(given, ("x", "mask"))
        cells = given_observed(given, num, spec.shape)
        if cells is None:
            return {"x": free(key, state.forest, num)}
        x, mask = cells
        categorical.check_levels(layout.levels, x, mask)
        place_key, cell_key = jax.random.split(key)
        evidence, tree, leaf = posterior(place_key, state.forest, np.asarray(x), np.asarray(mask))
        refuse_impossible(evidence)
        return {"x": complete(cell_key, state.forest, tree, leaf, x, mask)}

    return Model(partial(init, growth), partial(step, growth), sample, log_prob, given=("x", "mask"))


def init(growth: Growth, key: jax.Array, batch: Batch) -> ForestState:
    """Returns the state before the first round: trees of one leaf without rows.

    Args:
      growth: settings by which the forest grows.
      key: not used.
      batch: not used.
    """
    stumps = jax.tree.map(jnp.asarray, growing.stumps(growth.shape).trees)
    trees, most = growth.shape[:2]
    blank = inside.blank(growth.layout, most)
    leaves = jax.tree.map(lambda array: jnp.tile(array[None], (trees, *[1] * array.ndim)), blank)
    return ForestState(jnp.int32(0), Forest(stumps, leaves), jnp.float32(1), jnp.bool_(False))


def step(growth: Growth, key: jax.Array, state: ForestState, batch: Batch) -> tuple[ForestState, dict]:
    """Returns the state after one adversarial round. If the forest is done, only the number of the step changes.

    Args:
      growth: settings by which the forest grows.
      key: random key of the round.
      state: the state before the round.
      batch: `x` [B, D], and `mask` [B, D] and `weight` [B] if the batch has them.

    Returns:
      The new state and the metrics: the out-of-bag `accuracy`, the mean number of `leaves` of a tree, and `done`.
    """
    new = jax.lax.cond(state.done, lambda: state, lambda: adversarial_round(growth, key, state, batch))
    metrics = {
        "accuracy": new.accuracy,
        "leaves": (new.forest.leaves.rows > 0).sum() / growth.shape[0],  # mean number of leaves of a tree
        "done": new.done.astype(jnp.float32),
    }
    return new._replace(step=state.step + 1), metrics


def adversarial_round(growth: Growth, key: jax.Array, state: ForestState, batch: Batch) -> ForestState:
    """Returns the state with a new forest, if its out-of-bag accuracy is below the accuracy of the previous forest.

    Args:
      growth: settings by which the forest grows.
      key: random key of the round.
      state: the state.
      batch: see `step`.
    """
    seed_key, leaf_key = jax.random.split(key)
    x = batch["x"]
    weight = batch.get("weight", jnp.ones(len(x)))
    mask = jnp.broadcast_to(jnp.asarray(batch.get("mask", True), bool), x.shape)
    leaf = leaves_of(growth, leaf_key, state.forest, x, mask if "mask" in batch else None)
    outcome = (
        jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), growing.stumps(growth.shape)),
        jax.ShapeDtypeStruct(x.shape, x.dtype),
        jax.ShapeDtypeStruct((), jnp.float32),
    )
    seed = jax.random.bits(seed_key)
    grown, full, accuracy = on_host(partial(grow, growth), outcome, seed, x, mask, weight, leaf)
    forest = leaf_mixture.fitted(
        growth.layout, grown.trees, grown.low, grown.high, x, full, mask & (weight > 0)[:, None]
    )
    better = (accuracy < state.accuracy) | (state.step == 0)
    forest, accuracy = jax.tree.map(partial(jnp.where, better), (forest, accuracy), (state.forest, state.accuracy))
    return ForestState(state.step, forest, accuracy, ~better | (accuracy <= 0.5 + growth.delta))


def leaves_of(growth: Growth, key: jax.Array, forest: Forest, x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Returns the leaf of each row in each tree, [T, B]. A row takes a random branch at splits on missing cells.

    Args:
      growth: settings by which the forest grows.
      key: random key of the draws.
      forest: the forest.
      x: rows [B, D].
      mask: observed cells, [B, D] bool; None if all are observed.
    """
    if mask is None:
        return jax.lax.map(lambda tree: leaf_mixture.route(growth.layout, tree, x), forest.trees)
    keys = jax.random.split(key, growth.shape[0])
    route = lambda pair: leaf_mixture.route_by_chance(pair[1], growth.layout, pair[0], x, mask)
    return jax.lax.map(route, (forest.trees, keys))


def grow(
    growth: Growth, seed: np.ndarray, x: np.ndarray, mask: np.ndarray, weight: np.ndarray, leaf: np.ndarray
) -> tuple[growing.Grown, np.ndarray, np.float32]:
    """Grows trees that tell real rows from synthetic rows. Runs on the host.

    Args:
      growth: how a forest grows.
      seed: seed of the draws [].
      x: rows [B, D].
      mask: observed cells, [B, D] bool.
      weight: weights of the rows [B]; 0 for padding rows.
      leaf: leaf of each row in each current tree, [T, B].

    Returns:
      The trees, the rows [B, D] with their missing cells drawn, and the out-of-bag accuracy.
    """
    real = weight > 0
    # Because NumPy pads seeds with zeros, default_rng(seed) would draw what default_rng([seed, 0]) draws for tree 0.
    rng = np.random.default_rng([int(seed), growth.shape[0]])
    real_x, observed, real_leaf = x[real], mask[real], leaf[:, real]
    synthetic = growing.resampled(rng, real_x, observed, real_leaf)
    hidden = np.flatnonzero(~observed.all(1))
    cells = growing.resampled(rng, real_x, observed, real_leaf, hidden)
    places = np.flatnonzero(real)[hidden]
    full = np.where(mask, x, 0)
    full[places] = np.where(mask[places], x[places], cells)
    grown, accuracy = growing.grown(int(seed), full[real], synthetic, growth.unordered, growth.shape, growth.min_rows)
    return grown, full, np.float32(accuracy)


def draw_rows(growth: Growth, key: jax.Array, forest: Forest, num: int) -> jax.Array:
    """Draws rows [num, D].

    Args:
      growth: settings by which the forest grows.
      key: random key of the draws.
      forest: the forest.
      num: number of rows.
    """
    place_key, cell_key = jax.random.split(key)
    shape = (num, growth.shape[2])
    tree, leaf = leaf_mixture.prior(place_key, forest.leaves, num)
    return leaf_mixture.draw(
        cell_key, growth.layout, forest.leaves, tree, leaf, jnp.zeros(shape), jnp.zeros(shape, bool)
    )


def check_rows(layout: inside.Layout, batch: Batch, hidden: np.ndarray) -> None:
    """Refuses levels that a table does not have, and missing cells under differentiation.

    Args:
      layout: layout of the table.
      batch: `x` [B, D], and `mask` [B, D] if cells are missing.
      hidden: numbers of the rows with missing cells.

    Raises:
      UserError: with the row or the cell.
    """
    if not isinstance(batch["x"], jax.core.Tracer):
        categorical.check_levels(layout.levels, batch["x"], batch.get("mask"))
    elif len(hidden):
        raise UserError(
            f"row {hidden[0] + 1} has missing cells; expected whole rows, because a forest has gradients of these alone"
        )


def growth_of(
    spec: Spec,
    trees: int,
    min_rows: int,
    max_leaves: int | None,
    leaves: str,
    pseudo_rows: float,
    delta: float,
) -> Growth:
    """Returns the settings by which a forest over a table grows.

    Args:
      spec: facts of the data.
      trees: see `forest`.
      min_rows: see `forest`.
      max_leaves: see `forest`.
      leaves: see `forest`.
      pseudo_rows: see `forest`.
      delta: see `forest`.

    Raises:
      UserError: for data without columns, or an argument out of its range.
    """
    schema = columns(spec)
    layout = inside.layout_of(spec, pseudo_rows, choose("leaves", leaves, LEAVES) == "chow_liu")
    if leaves == "chow_liu" and not len(layout.levels.columns):
        raise UserError(f"leaves is 'chow_liu' and {spec.name} has no levels; expected 'independent'")
    shape = check_arguments(spec, layout, trees, min_rows, max_leaves, delta)
    ordered = [column["kind"] == "ordered" or len(column.get("levels", ())) <= 2 for column in schema]
    unordered = [0 if order else len(column["levels"]) for order, column in zip(ordered, schema)]
    return Growth(layout, shape, unordered, min_rows, delta)


def check_arguments(
    spec: Spec, layout: inside.Layout, trees: int, min_rows: int, max_leaves: int | None, delta: float
) -> tuple[int, int, int, int]:
    """Returns the numbers of trees, leaves of a tree, columns and levels of a column, as in `Growth.shape`.

    Args:
      spec: facts of the data.
      layout: layout of the table.
      trees: see `forest`.
      min_rows: see `forest`.
      max_leaves: see `forest`.
      delta: see `forest`.

    Raises:
      UserError: with the argument, its value and the expected value.
    """
    for name, value in (("trees", trees), ("min_rows", min_rows)):
        check_whole(name, value)
    check_strengths(pseudo_rows=layout.pseudo_rows)
    if not 0 <= delta <= 0.5:
        raise UserError(f"delta is {delta}; expected 0 to 0.5")
    if max_leaves is not None:
        check_whole("max_leaves", max_leaves, 2)
    leaf_limit = max(2, max_leaves or spec.sizes.get(spec.split, 2) // (2 * min_rows))
    count, width = layout.valid.shape
    numbers = trees * leaf_limit * (4 * len(layout.numbers) + count * (width if layout.dependent else 1) * width)
    if numbers > MOST:
        raise UserError(
            f"{trees} trees of up to {leaf_limit} leaves hold {numbers:,} numbers; expected at most {MOST:,}. Choose a "
            "smaller max_leaves, a larger min_rows or fewer trees"
        )
    return trees, leaf_limit, len(columns(spec)), width
