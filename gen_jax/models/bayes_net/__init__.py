"""Bayesian networks over tables: a graph, a table for each column given its parents, exact inference in between."""

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import given_cells, option_numbers, refuse_given, refuse_impossible, sampler_options
from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.network_source import network_of
from gen_jax.data.tables.networks import Network
from gen_jax.distributions import bins, categorical, chow_liu
from gen_jax.errors import UserError, check_strengths, check_whole
from gen_jax.host import on_host
from gen_jax.model import Batch, Model, family
from gen_jax.models.bayes_net import batched, cpds, inference
from gen_jax.models.bayes_net.structures import STRUCTURES, Graph, Rows, Structure, kept, tree_of
from gen_jax.registry import build

OPTIONS = {"temperature": 1.0}


class BayesNetState(NamedTuple):
    """A network of D variables of at most R levels, with at most P parents that have at most Q configurations."""

    step: jax.Array  # [] int32
    rows: jax.Array  # [] float32, counted in the pass so far
    bins: bins.Bins  # of the columns of numbers
    graph: Graph
    tables: jax.Array  # [D, Q, R] float32, P(level | configuration of the parents)
    counts: jax.Array  # [D, Q, R] float32; [D, R, D, R] of pairs, for a tree


@family("bayes_net")
def bayes_net(
    spec: Spec, structure: Mapping | None = None, bif: str | None = None, pseudo_count: float = 1.0, max_bins: int = 8
) -> Model:
    """A discrete Bayesian network: its graph and its tables are learnt, or read from a BIF file.

    Args:
      structure: a `name` in `STRUCTURES` and its options; None is `search` with its defaults.
      bif: a file whose graph is kept and whose tables are where learning starts; its variables are the columns.
      pseudo_count: added to each cell of each table (a Dirichlet prior of 1 + pseudo_count); 0 is maximum likelihood.
      max_bins: levels that a column of numbers is cut into, with equal shares of the rows.

    A step counts the rows of a batch (`data.order` once, or all), anew after each pass; a graph is searched in the first
    batch. With missing cells a step is an iteration of EM over its batch, which should be all the data, from the tables
    of the rows in which a family is complete. Numbers are drawn uniformly within their bin, exponentially beyond the
    outermost edges. `given` takes `x` and `mask` [num, D], and the same under `do` for an intervention. `how` takes
    `temperature`: 1 draws, 0 gives the most probable explanation.

    Raises:
      UserError: for data that are no rows of columns, a file that does not fit them, or an unknown name or option.
    """
    schema = columns(spec)
    check_strengths(pseudo_count=pseudo_count)
    check_whole("max_bins", max_bins, 2)
    levels = categorical.levels_of(schema)
    cards = tuple(len(column["levels"]) if "levels" in column else max_bins for column in schema)
    names, numeric = [column["name"] for column in schema], np.array(["levels" not in each for each in schema])
    known = None if bif is None else network_of(spec, bif)
    how = graph_of(structure, known, names, cards)
    shape = (len(cards), how.max_configurations, max(cards))

    def valid(cut: bins.Bins) -> jax.Array:
        used = jnp.where(numeric, bins.used(cut), jnp.asarray(cards))
        return jnp.arange(shape[2])[None] < used[:, None]

    def seen_in(batch: Batch) -> tuple:  # cells [B, D], which of them are observed, weights [B]
        x, weight = jnp.asarray(batch["x"]), batch.get("weight", jnp.ones(len(batch["x"])))
        mask = jnp.broadcast_to(jnp.asarray(batch.get("mask", True), bool), x.shape)
        return x, mask & (weight > 0)[:, None], weight

    def rows_of(cut: bins.Bins, batch: Batch) -> Rows:
        x, observed, weight = seen_in(batch)
        codes = jnp.where(numeric[None], bins.code(cut, x), jnp.rint(x).astype(jnp.int32))
        return Rows(jnp.where(observed, codes, 0), observed, weight)

    def init(key: jax.Array, batch: Batch) -> BayesNetState:
        x, observed, _ = seen_in(batch)
        cut = bins.fit(x, observed & numeric[None], max_bins)
        graph = Graph(jnp.full((shape[0], how.max_parents), -1, jnp.int32), jnp.zeros((shape[0], shape[0])))
        tables = categorical.normalised(jnp.zeros(shape), valid(cut), 0.0)
        if known is not None:
            graph = graph._replace(parents=jnp.asarray(cpds.padded(known.parents, how.max_parents)))
            tables = jnp.asarray(cpds.repadded(known.tables, shape))
        counts = jnp.zeros(shape[::2] * 2 if how.pairwise else shape)
        return BayesNetState(jnp.int32(0), jnp.float32(0), cut, graph, tables, counts)

    def count(state: BayesNetState, rows: Rows) -> tuple[Graph, jax.Array, jax.Array]:
        """The graph, the counts of its families and what is kept of them, with those of the pass so far."""
        if how.pairwise:
            pairs = state.counts + chow_liu.pair_counts(*rows, shape[2])
            return *tree_of(pairs, state.graph, valid(state.bins), pseudo_count), pairs
        config = cpds.configurations(rows.x, state.graph.parents, cards)
        here = cpds.complete(rows.observed, state.graph.parents)
        counts = state.counts + cpds.counted(rows.x, config, here, rows.weight, shape)
        return state.graph, counts, counts

    def step(key: jax.Array, state: BayesNetState, batch: Batch) -> tuple[BayesNetState, dict]:
        rows = rows_of(state.bins, batch)
        size = rows.weight.sum()
        again = state.rows >= spec.sizes.get(spec.split, jnp.inf)  # a pass is over, and a new one begins
        before, counted = (jnp.where(again, 0, each) for each in (state.rows, state.counts))
        state = state._replace(graph=how.learn(key, state.step, state.graph, rows), counts=counted)
        graph, counts, kept = count(state, rows)
        seen = before + size
        tables = categorical.normalised(counts, valid(state.bins), pseudo_count)
        if "mask" in batch:
            started = (state.step > 0) | (known is not None)
            start = jnp.where(started, state.tables, tables)
            outcome = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct((), jnp.float32)
            e_step = partial(cpds.expectation, cards=cards)
            counts, total = on_host(e_step, outcome, graph.parents, start, *rows)
            tables = categorical.normalised(counts, valid(state.bins), pseudo_count)
            nats = -total / jnp.maximum(size, 1)
        else:
            nats = cpds.nats(counts, tables) / jnp.maximum(seen, 1)
        metrics = {"nats_per_row": nats, "edges": (graph.parents >= 0).sum().astype(jnp.float32)}
        return BayesNetState(state.step + 1, seen, state.bins, graph, tables, kept), metrics

    def scored(state: BayesNetState, batch: Batch) -> jax.Array:
        """Log-density of the numbers that are observed, within their bins [B]."""
        inside = bins.log_density(state.bins, jnp.asarray(batch["x"]))
        return jnp.where(rows_of(state.bins, batch).observed & numeric[None], inside, 0).sum(1)

    def evidence_of(state: BayesNetState, batch: Batch, done: Any = None) -> inference.Evidence:
        categorical.check_levels(levels, batch["x"], batch.get("mask"))
        x, observed, _ = map(
            np.asarray, rows_of(state.bins, {name: batch[name] for name in ("x", "mask") if name in batch})
        )
        return inference.evidence_of(x, observed, done)

    def log_prob(key: jax.Array, state: BayesNetState, batch: Batch) -> jax.Array:
        known = evidence_of(state, batch)
        return jnp.asarray(batched.log_evidence(state.graph.parents, state.tables, cards, known)) + scored(state, batch)

    def sample(
        key: jax.Array, state: BayesNetState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        best = most_probable(sampler_options(how, OPTIONS)["temperature"], num)
        x, mask, done = asked(given, num, spec)
        level_key, place_key = jax.random.split(key)
        known = evidence_of(state, {"x": x, "mask": mask}, done)
        codes, evidence = batched.completed(level_key, state.graph.parents, state.tables, cards, known, best)
        refuse_impossible(evidence)
        share = jnp.full(x.shape, 0.5) if best else jax.random.uniform(place_key, x.shape)
        drawn = jnp.where(numeric[None], bins.undo(state.bins, codes.T, share), codes.T.astype(np.float32))
        return {"x": jnp.where(mask, x, drawn)}

    def free_parameters(state: BayesNetState) -> int:
        above = cpds.listed(state.graph.parents)
        return sum(prod(cards[each] for each in parents) * (cards[i] - 1) for i, parents in enumerate(above))

    extras = {
        "free_parameters": free_parameters,
        "network": lambda state: (network_in(spec, state), np.asarray(state.graph.confidence)),
    }
    return Model(init, step, sample, log_prob, given=("x", "mask", "do"), options=OPTIONS, extras=extras)


def most_probable(temperature: Any, num: int) -> bool:
    """Returns whether the most probable explanation is asked for, by temperature 0, and not a draw, by temperature 1.

    Args:
      temperature: 0 or 1, a number for all rows or the same number for each row [num].
      num: number of rows.

    Raises:
      UserError: for another temperature.
    """
    values = sorted({*option_numbers("temperature", temperature, num, 0, 1).tolist()})
    if values not in ([], [0], [1]):
        wrong = next((value for value in values if value not in (0, 1)), values[0])
        raise UserError(f"temperature {wrong:g}: expected 1, or 0 for the most probable explanation, of all rows")
    return values == [0]


def asked(given: dict | None, num: int, spec: Spec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the conditions of `given`: cells x [num, D], which of them hold, and which hold because they were set by `do`.

    Raises:
      UserError: for another condition, one of another shape, or a cell that is both observed and set.
    """
    refuse_given(given, ("x", "mask", "do"))
    x, mask = map(np.asarray, given_cells(given, num, spec.shape))
    value, done = map(np.asarray, given_cells((given or {}).get("do"), num, spec.shape))
    if (mask & done).any():
        row, column = np.argwhere(mask & done)[0]
        raise UserError(f"given: row {row}, column {column} is both observed and set by do; expected one of them")
    return np.where(done, value, x), mask | done, done


def graph_of(structure: Mapping | None, known: Network | None, names: list[str], cards: tuple[int, ...]) -> Structure:
    """How the graph is learnt, or kept where it was read.

    Raises:
      UserError: for an unknown structure or option of one, or a structure beside a file.
    """
    if known is None:
        return build("structure", STRUCTURES, structure or {"name": "search"}, names, cards)
    if structure is not None:
        raise UserError("model.bif has a graph already: leave model.structure out")
    return kept(known.parents, cards)


def network_in(spec: Spec, state: BayesNetState) -> Network:
    """The learnt network as plain data; the levels of a column of numbers are its bins."""
    schema, parents = columns(spec), cpds.listed(state.graph.parents)
    edges = np.asarray(state.bins.edges, np.float64)
    raw = edges * np.asarray(spec.scale)[:, None] + np.asarray(spec.shift)[:, None]
    edges = np.where(edges < bins.BEYOND, raw, np.inf)
    levels = tuple(tuple(column.get("levels", ())) or bins.labels(edges[i]) for i, column in enumerate(schema))
    cards = [len(column["levels"]) if "levels" in column else edges.shape[1] + 1 for column in schema]
    tables = cpds.unpadded(np.asarray(state.tables, np.float64), parents, cards)
    used = [np.ix_(*(range(len(levels[each])) for each in (*above, i))) for i, above in enumerate(parents)]
    tables = tuple(table[places] for table, places in zip(tables, used))
    return Network(tuple(column["name"] for column in schema), levels, parents, tables)
