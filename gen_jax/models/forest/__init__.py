"""Generative forests: trees that tell real rows from drawn ones cut a table into leaves in which columns are simple."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import given_observed, refuse_given, refuse_impossible, sampler_options
from gen_jax.data.spec import Spec, columns
from gen_jax.distributions import categorical
from gen_jax.errors import UserError, check_strengths, check_whole, choose
from gen_jax.host import on_host
from gen_jax.model import Batch, Model
from gen_jax.models.forest import density, growth
from gen_jax.models.forest import leaves as inside
from gen_jax.models.forest.density import Forest

LEAVES = ("independent", "chow_liu")
MOST = 1 << 30  # numbers in the leaves of a forest


class ForestState(NamedTuple):
    step: jax.Array  # [] int32
    forest: Forest
    accuracy: jax.Array  # [] float32, out of bag, of the trees that are kept; 1 before there are any
    done: jax.Array  # [] bool, whether no round will change the forest any more


def random_forest(
    spec: Spec,
    trees: int = 50,
    min_rows: int = 5,
    max_leaves: int | None = None,
    leaves: str = "independent",
    pseudo_rows: float = 0.1,
    delta: float = 0.0,
) -> Model:
    """An adversarial random forest as a density (Watson, Blesch, Kapar & Wright 2023, ARF, FORDE and FORGE).

    Args:
      trees: T.
      min_rows: of a leaf; what has fewer goes to its sibling.
      max_leaves: of a tree, in which then more than the leaves with too few rows go; None is half of what `min_rows` allows.
      leaves: `independent` columns within a leaf, or levels that follow a `chow_liu` tree there.
      pseudo_rows: of the whole table, that every leaf holds besides its own: levels by their shares among those that can
        be there, numbers with the deviation of the column. 0 is the maximum of the likelihood.
      delta: by how much the accuracy of a discriminator may exceed 1/2.

    A step is one adversarial round on its batch, which should be all rows (`data.order` all): rows are drawn whose cells
    are independent within the leaves so far, of which at first there is one; trees learn to tell them from the real ones;
    the real rows in their leaves are the new density. Once the trees are wrong as often as right out of bag, or no more often than those
    before, which then stay, the forest is done: further steps change nothing. In learning, a missing cell is drawn
    in the same way, from a leaf that its row is in where nodes that ask for a missing cell are passed by chance; the
    densities of leaves are of observed cells alone. A number is normal between the splits of its leaf; the outermost leaves are not
    bounded by the range of the data. `log_prob` integrates missing cells out, exactly, and is
    differentiable in the numbers of whole rows. `given` takes `x` and `mask` [num, D].

    Raises:
      UserError: for data without columns, or an argument that cannot be.
    """
    schema = columns(spec)
    layout = inside.layout_of(spec, pseudo_rows, choose("leaves", leaves, LEAVES) == "chow_liu")
    if leaves == "chow_liu" and not len(layout.levels.columns):
        raise UserError(f"leaves 'chow_liu' are trees of levels, and {spec.name} has none: expected 'independent'")
    shape = check_arguments(spec, layout, trees, min_rows, max_leaves, delta)
    ordered = [column["kind"] == "ordered" or len(column.get("levels", ())) <= 2 for column in schema]
    unordered = [0 if known else len(column["levels"]) for known, column in zip(ordered, schema)]

    def init(key: jax.Array, batch: Batch) -> ForestState:
        stumps = jax.tree.map(jnp.asarray, growth.stumps(shape).trees)
        blank = jax.tree.map(
            lambda leaf: jnp.tile(leaf[None], (trees, *[1] * leaf.ndim)), inside.blank(layout, shape[1])
        )
        return ForestState(jnp.int32(0), Forest(stumps, blank), jnp.float32(1), jnp.bool_(False))

    def grow(seed: Any, x: Any, mask: Any, weight: Any, leaf: Any) -> tuple:
        real = weight > 0
        # Because NumPy pads seeds with zeros, default_rng(seed) would draw what default_rng([seed, 0]) draws for tree 0.
        rng = np.random.default_rng([int(seed), trees])
        rows = x[real], mask[real], leaf[:, real]
        drawn, hidden = growth.resampled(rng, *rows), np.flatnonzero(~rows[1].all(1))
        full, places = np.where(mask, x, 0), np.flatnonzero(real)[hidden]
        full[places] = np.where(mask[places], x[places], growth.resampled(rng, *rows, hidden))
        found, accuracy = growth.grown(int(seed), full[real], drawn, unordered, shape, min_rows)
        return found, full, np.float32(accuracy)

    def one_round(key: jax.Array, state: ForestState, batch: Batch) -> ForestState:
        x, seed_key, leaf_key = batch["x"], *jax.random.split(key)
        weight = batch.get("weight", jnp.ones(len(x)))
        mask = jnp.broadcast_to(jnp.asarray(batch.get("mask", True), bool), x.shape)
        if "mask" in batch:
            each = state.forest.trees, jax.random.split(leaf_key, trees)
            leaf = jax.lax.map(
                lambda tree_and_key: density.route(layout, tree_and_key[0], x, mask, tree_and_key[1]), each
            )
        else:
            leaf = jax.lax.map(lambda tree: density.route(layout, tree, x), state.forest.trees)
        like = jax.tree.map(lambda each: jax.ShapeDtypeStruct(each.shape, each.dtype), growth.stumps(shape))
        outcome = like, jax.ShapeDtypeStruct(x.shape, x.dtype), jax.ShapeDtypeStruct((), jnp.float32)
        seed = jax.random.bits(seed_key)
        found, full, accuracy = on_host(grow, outcome, seed, x, mask, weight, leaf)
        new = density.fitted(layout, *found, x, full, mask & (weight > 0)[:, None])
        better = (accuracy < state.accuracy) | (state.step == 0)
        kept, accuracy = jax.tree.map(partial(jnp.where, better), (new, accuracy), (state.forest, state.accuracy))
        return ForestState(state.step, kept, accuracy, ~better | (accuracy <= 0.5 + delta))

    def step(key: jax.Array, state: ForestState, batch: Batch) -> tuple[ForestState, dict]:
        new = jax.lax.cond(state.done, lambda: state, lambda: one_round(key, state, batch))
        rows = new.forest.leaves.rows
        metrics = {"accuracy": new.accuracy, "leaves": (rows > 0).sum() / trees, "done": new.done.astype(jnp.float32)}
        return new._replace(step=state.step + 1), metrics

    whole = jax.jit(lambda found, x: density.log_prob(layout, found, x))
    posterior = partial(density.posterior, layout, jax.jit(partial(density.joint, layout)))

    def log_prob(key: jax.Array, state: ForestState, batch: Batch) -> jax.Array:
        x = batch["x"]
        mask = np.broadcast_to(np.asarray(batch.get("mask", True)) > 0, x.shape)
        hidden = np.flatnonzero(~mask.all(1))
        if not isinstance(x, jax.core.Tracer):
            categorical.check_levels(layout.levels, x, batch.get("mask"))
        elif len(hidden):
            raise UserError(
                f"row {hidden[0] + 1} has cells that are not observed: a forest has gradients of whole rows alone"
            )
        found = whole(state.forest, x)
        if not len(hidden):
            return found
        return found.at[hidden].set(posterior(key, state.forest, np.asarray(x)[hidden], mask[hidden])[0])

    @partial(jax.jit, static_argnums=2)
    def free(key: jax.Array, found: Forest, num: int) -> jax.Array:
        place_key, cell_key = jax.random.split(key)
        nothing = jnp.zeros((num, *spec.shape)), jnp.zeros((num, *spec.shape), bool)
        return density.draw(cell_key, layout, found.leaves, *density.prior(place_key, found.leaves, num), *nothing)

    complete = jax.jit(lambda key, found, *known: density.draw(key, layout, found.leaves, *known))

    def sample(
        key: jax.Array, state: ForestState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        sampler_options(how)
        refuse_given(given, ("x", "mask"))
        known = given_observed(given, num, spec.shape)
        if known is None:
            return {"x": free(key, state.forest, num)}
        categorical.check_levels(layout.levels, *known)
        place_key, cell_key = jax.random.split(key)
        evidence, *place = posterior(place_key, state.forest, *map(np.asarray, known))
        refuse_impossible(evidence)
        return {"x": complete(cell_key, state.forest, *place, *known)}

    return Model(init, step, sample, log_prob, given=("x", "mask"))


def check_arguments(
    spec: Spec, layout: inside.Layout, trees: int, min_rows: int, max_leaves: int | None, delta: float
) -> tuple[int, int, int, int]:
    """How many trees, leaves of each, columns and levels of one, at most.

    Raises:
      UserError: naming the argument, its value and what was expected.
    """
    for name, value in (("trees", trees), ("min_rows", min_rows)):
        check_whole(name, value)
    check_strengths(pseudo_rows=layout.pseudo_rows)
    if not 0 <= delta <= 0.5:
        raise UserError(f"delta {delta}: expected 0 to 0.5")
    if max_leaves is not None:
        check_whole("max_leaves", max_leaves, 2)
    most = max(2, max_leaves or spec.sizes.get(spec.split, 2) // (2 * min_rows))
    count, width = layout.valid.shape
    numbers = trees * most * (4 * len(layout.numbers) + count * (width if layout.dependent else 1) * width)
    if numbers > MOST:
        raise UserError(
            f"{trees} trees of up to {most} leaves hold {numbers:,} numbers, expected at most {MOST:,}: choose a smaller "
            f"max_leaves, a larger min_rows or fewer trees"
        )
    return trees, most, len(columns(spec)), width
