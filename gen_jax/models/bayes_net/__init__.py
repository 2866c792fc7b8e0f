"""Bayesian networks over tables: a graph, a table for each column given its parents, and exact inference."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import given_cells, option_numbers, refuse_given, refuse_impossible, sampler_options
from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.network_source import network_of, plain_network
from gen_jax.data.tables.networks import Network
from gen_jax.distributions import bins, categorical, chow_liu
from gen_jax.errors import UserError, check_strengths, check_whole
from gen_jax.host import on_host
from gen_jax.model import Batch, Model, family
from gen_jax.models.bayes_net import batched, cpds
from gen_jax.models.bayes_net.inference import Evidence, evidence_of
from gen_jax.models.bayes_net.information_theory import network_information
from gen_jax.models.bayes_net.structures import (
    STRUCTURES,
    Graph,
    Rows,
    Structure,
    StructureChoice,
    fixed_structure,
    tree_of,
)
from gen_jax.registry import build

OPTIONS = {"temperature": 1.0}  # options of the sampler, with their defaults
CONDITIONS = ("x", "mask", "do")


class BayesNetState(NamedTuple):
    """Holds a network of D variables with at most R levels, P parents and Q configurations of the parents."""

    step: jax.Array  # [] int32
    rows: jax.Array  # [] float32, number of rows counted in the pass so far
    bins: bins.Bins  # bins of the columns of numbers
    graph: Graph
    tables: jax.Array  # [D, Q, R] float32, P(level | configuration of the parents)
    counts: jax.Array  # counts of the pass so far: [D, Q, R] float32, or counts of pairs [D, R, D, R] for a tree


class BayesNet(NamedTuple):
    """Describes a Bayesian network without its graph and its tables."""

    structure: Structure  # method that finds the graph
    network: Network | None  # network of a BIF file, from which training starts; None without a file
    levels: categorical.Levels  # layout of the columns that have levels
    cards: tuple[int, ...]  # [D] number of levels of each column; for a column of numbers, the largest number of bins
    shape: tuple[int, int, int]  # shape of the tables: D, Q, R
    numeric: np.ndarray  # [D] bool, columns of numbers, which are cut into bins
    max_bins: int
    pseudo_count: float
    pass_rows: float  # number of rows of a pass over the data; infinity if the number is unknown


@family("bayes_net")
def bayes_net(
    spec: Spec, structure: StructureChoice = None, bif: str | None = None, pseudo_count: float = 1.0, max_bins: int = 8
) -> Model:
    """Returns a discrete Bayesian network. Its graph and its tables are fitted to data, or read from a BIF file.

    A step counts the rows of a batch (`data.order` once, or all), and the counts begin at 0 after each pass. The graph
    is searched in the first batch. If cells are missing, a step is one iteration of EM on the batch, which should hold
    all the data. The first iteration starts from tables that are counted on complete families.

    Numbers are drawn uniformly within their bin, and exponentially beyond the outermost edges. `given` takes `x` and
    `mask` [num, D], and the same two under `do` for an intervention. `how` takes `temperature`: 1 for draws, or 0 for
    the most probable explanation.

    Args:
      spec: facts of a table of D columns.
      structure: a `name` in `STRUCTURES` and its options. None, the default, is `search` with its defaults.
      bif: path of a BIF file whose variables are the columns; by default None, no file. The graph of the file is kept,
        and training starts from its tables.
      pseudo_count: number added to each cell of each table; by default 1. It is the prior Dirichlet(1 + pseudo_count);
        0 is maximum likelihood.
      max_bins: number of bins of a column of numbers, with equal shares of the rows; by default 8.

    Raises:
      UserError: for data without columns, a file that does not fit the data, or an unknown name or option.
    """
    schema = columns(spec)
    check_strengths(pseudo_count=pseudo_count)
    check_whole("max_bins", max_bins, 2)
    cards = tuple(len(column["levels"]) if "levels" in column else max_bins for column in schema)
    network = None if bif is None else network_of(spec, bif)
    method = structure_of(structure, network, [column["name"] for column in schema], cards)
    net = BayesNet(
        structure=method,
        network=network,
        levels=categorical.levels_of(schema),
        cards=cards,
        shape=(len(cards), method.max_configurations, max(cards)),
        numeric=np.array(["levels" not in column for column in schema]),
        max_bins=max_bins,
        pseudo_count=pseudo_count,
        pass_rows=spec.sizes.get(spec.split, math.inf),
    )
    extras: dict[str, Callable[..., Any]] = {
        "free_parameters": partial(free_parameters, net),
        "network": partial(network_and_confidence, spec),
        "information": partial(fitted_information, spec),
    }
    if bif is not None and network is not None:
        extras["facts"] = lambda: {"network": plain_network(bif, network)}
    return Model(
        partial(init, net),
        partial(step, net),
        partial(sample, net),
        partial(log_prob, net),
        given=CONDITIONS,
        options=OPTIONS,
        extras=extras,
    )


def structure_of(
    structure: Mapping | None, network: Network | None, names: list[str], cards: tuple[int, ...]
) -> Structure:
    """Returns the method that finds the graph. If there is a file, the method keeps the graph of the file.

    Args:
      structure: a `name` in `STRUCTURES` and its options, or None.
      network: network of a BIF file, or None.
      names: names of the columns.
      cards: number of levels of each column.

    Raises:
      UserError: for an unknown structure, an unknown option of the structure, or a structure together with a file.
    """
    if network is None:
        return build("structure", STRUCTURES, structure or {"name": "search"}, names, cards)
    if structure is not None:
        raise UserError("model.bif has a graph already; expected no model.structure beside it")
    return fixed_structure(network.parents, cards)


def init(net: BayesNet, key: jax.Array, batch: Batch) -> BayesNetState:
    """Returns the state before the first step: the bins of the numbers, and the network of the file, if any.

    Args:
      net: the network.
      key: not used.
      batch: see `step`. The bins are fitted to its numbers.
    """
    variables, _, levels = net.shape
    max_parents = net.structure.max_parents
    x, observed, _ = cells_of(batch)
    cut = bins.fit(x, observed & net.numeric[None], net.max_bins)
    parents = jnp.full((variables, max_parents), -1, jnp.int32)
    tables = categorical.normalised(jnp.zeros(net.shape), valid_levels(net, cut), 0.0)
    if net.network is not None:
        parents = jnp.asarray(cpds.padded_parents(net.network.parents, max_parents))
        tables = jnp.asarray(cpds.padded_tables(net.network.tables, net.shape))
    return BayesNetState(
        step=jnp.int32(0),
        rows=jnp.float32(0),
        bins=cut,
        graph=Graph(parents, jnp.zeros((variables, variables))),
        tables=tables,
        counts=jnp.zeros((variables, levels) * 2 if net.structure.pairwise else net.shape),
    )


def step(net: BayesNet, key: jax.Array, state: BayesNetState, batch: Batch) -> tuple[BayesNetState, dict]:
    """Returns the state after the rows of a batch are counted, or after one iteration of EM if the batch has `mask`.

    Args:
      net: the network.
      key: random key of the search of a graph.
      state: the state before the step.
      batch: `x` [B, D], and `weight` [B] and `mask` [B, D] of observed cells if the batch has them.

    Returns:
      The new state and the metrics. `edges` is the number of edges. `nats_per_row` is -log p of a row: on average over
      the pass so far, under the new tables. For EM it is the average over the batch, under the tables before the
      iteration.
    """
    rows = coded_rows(net, state.bins, batch)
    state = begun_pass(net, state)
    graph = net.structure.find(key, state.step, state.graph, rows)
    graph, counts, kept_counts = counted(net, state._replace(graph=graph), rows)
    batch_rows = rows.weight.sum()
    pass_rows = state.rows + batch_rows
    tables = smoothed(net, state.bins, counts)
    if "mask" in batch:
        tables, nats = em_update(net, state, graph, tables, rows)
        nats_per_row = nats / jnp.maximum(batch_rows, 1)
    else:
        nats_per_row = cpds.negative_log_likelihood(counts, tables) / jnp.maximum(pass_rows, 1)
    edges = (graph.parents >= 0).sum().astype(jnp.float32)
    state = BayesNetState(state.step + 1, pass_rows, state.bins, graph, tables, kept_counts)
    return state, {"nats_per_row": nats_per_row, "edges": edges}


def begun_pass(net: BayesNet, state: BayesNetState) -> BayesNetState:
    """Returns the state without rows and counts if a pass over the data is complete, so that the next pass begins.

    Args:
      net: the network without its graph and its tables.
      state: the state.
    """
    complete = state.rows >= net.pass_rows
    return state._replace(
        rows=jnp.where(complete, 0, state.rows),
        counts=jnp.where(complete, 0, state.counts),
    )


def counted(net: BayesNet, state: BayesNetState, rows: Rows) -> tuple[Graph, jax.Array, jax.Array]:
    """Returns the graph, the counts of its families [D, Q, R], and the counts that the state keeps.

    Args:
      net: the network.
      state: the state with the counts of the pass so far.
      rows: the rows to count.
    """
    parents = state.graph.parents
    if net.structure.pairwise:
        pairs = state.counts + chow_liu.pair_counts(*rows, net.shape[2])
        graph, counts = tree_of(pairs, state.graph, valid_levels(net, state.bins), net.pseudo_count)
        return graph, counts, pairs
    config = cpds.configurations(rows.x, parents, net.cards)
    complete = cpds.complete_families(rows.observed, parents)
    counts = state.counts + cpds.counted(rows.x, config, complete, rows.weight, net.shape)
    return state.graph, counts, counts


def em_update(
    net: BayesNet, state: BayesNetState, graph: Graph, tables: jax.Array, rows: Rows
) -> tuple[jax.Array, jax.Array]:
    """Returns the tables after one iteration of EM (Lauritzen 1995), and -log p of the rows before it, in nats.

    Args:
      net: the network.
      state: the state whose tables the iteration starts from.
      graph: graph of the network.
      tables: [D, Q, R], start of the first iteration of a network without a file.
      rows: the rows of a batch.

    Returns:
      The tables [D, Q, R], and the sum [] of -log p over the rows.
    """
    fitted = (state.step > 0) | (net.network is not None)
    start = jnp.where(fitted, state.tables, tables)
    shapes = jax.ShapeDtypeStruct(net.shape, jnp.float32), jax.ShapeDtypeStruct((), jnp.float32)
    e_step = partial(cpds.expectation, cards=net.cards)
    counts, log_likelihood = on_host(e_step, shapes, graph.parents, start, *rows)
    return smoothed(net, state.bins, counts), -log_likelihood


def smoothed(net: BayesNet, cut: bins.Bins, counts: jax.Array) -> jax.Array:
    """Returns the tables [D, Q, R] of counts: the mode of their posterior.

    Args:
      net: the network without its graph and its tables.
      cut: bins of the columns.
      counts: counts [D, Q, R].
    """
    return categorical.normalised(counts, valid_levels(net, cut), net.pseudo_count)


def valid_levels(net: BayesNet, cut: bins.Bins) -> jax.Array:
    """Returns whether each variable has each of the R levels, [D, R] bool.

    Args:
      net: the network without its graph and its tables.
      cut: bins of the columns.
    """
    sizes = jnp.where(net.numeric, bins.used(cut), jnp.asarray(net.cards))
    return jnp.arange(net.shape[2])[None] < sizes[:, None]


def cells_of(batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the cells [B, D] of a batch, whether they are observed [B, D], and the weights [B] of the rows.

    No cell of a padding row, whose weight is 0, is observed.

    Args:
      batch: `x` [B, D], and `weight` [B] and `mask` [B, D] if the batch has them.
    """
    x = jnp.asarray(batch["x"])
    weight = batch.get("weight", jnp.ones(len(batch["x"])))
    mask = jnp.broadcast_to(jnp.asarray(batch.get("mask", True), bool), x.shape)
    return x, mask & (weight > 0)[:, None], weight


def coded_rows(net: BayesNet, cut: bins.Bins, batch: Batch) -> Rows:
    """Returns the rows of a batch as codes: the number of a level, or the number of the bin of a number.

    Args:
      net: the network without its graph and its tables.
      cut: bins of the columns.
      batch: `x` [B, D], and `weight` [B] and `mask` [B, D] if the batch has them.
    """
    x, observed, weight = cells_of(batch)
    codes = jnp.where(net.numeric[None], bins.code(cut, x), jnp.rint(x).astype(jnp.int32))
    return Rows(jnp.where(observed, codes, 0), observed, weight)


def log_prob(net: BayesNet, key: jax.Array, state: BayesNetState, batch: Batch) -> jax.Array:
    """Returns log p(x) [B] of the observed cells of each row, in nats; for numbers, a density in model space.

    Args:
      net: the network.
      key: not used.
      state: the state.
      batch: `x` [B, D], and `mask` [B, D] of observed cells if cells are missing.

    Raises:
      UserError: for a cell that is no level of its column, or a network that is too wide.
    """
    evidence = coded_evidence(net, state, batch)
    log_p = batched.log_evidence(state.graph.parents, state.tables, net.cards, evidence)
    return jnp.asarray(log_p) + log_density_in_bins(net, state, batch)


def log_density_in_bins(net: BayesNet, state: BayesNetState, batch: Batch) -> jax.Array:
    """Returns the log-density [B] of the observed numbers of each row within their bins, in nats.

    Args:
      net: the network without its graph and its tables.
      state: the state.
      batch: `x` [B, D], and `mask` [B, D] of observed cells if cells are missing.
    """
    density = bins.log_density(state.bins, jnp.asarray(batch["x"]))
    observed = coded_rows(net, state.bins, batch).observed
    return jnp.where(observed & net.numeric[None], density, 0).sum(1)


def coded_evidence(net: BayesNet, state: BayesNetState, batch: Batch, done: np.ndarray | None = None) -> Evidence:
    """Returns the observed cells of a batch as evidence, NumPy arrays [D, B].

    Args:
      net: the network.
      state: the state.
      batch: `x` [B, D], and `mask` [B, D] of observed cells if cells are missing.
      done: cells that were set by an intervention, [B, D] bool; None, the default, for no cell.

    Raises:
      UserError: for a cell that is no level of its column.
    """
    categorical.check_levels(net.levels, batch["x"], batch.get("mask"))
    cells: Batch = {name: jnp.asarray(batch[name]) for name in ("x", "mask") if name in batch}
    rows = coded_rows(net, state.bins, cells)
    return evidence_of(np.asarray(rows.x), np.asarray(rows.observed), done)


def sample(
    net: BayesNet,
    key: jax.Array,
    state: BayesNetState,
    num: int,
    given: dict | None = None,
    how: dict | None = None,
) -> Batch:
    """Draws rows, or completes the rows of `given`.

    Args:
      net: the network.
      key: random key of the draws.
      state: the state.
      num: number of rows.
      given: conditions, see `bayes_net`; by default None.
      how: options of the sampler, see `bayes_net`; by default None.

    Returns:
      `x` [num, D] float32.

    Raises:
      UserError: for a condition or an option that the network does not have, impossible conditions, or a network that
        is too wide.
    """
    best = most_probable(sampler_options(how, OPTIONS)["temperature"], num)
    x, mask, done = asked_cells(given, num, len(net.cards))
    level_key, place_key = jax.random.split(key)
    evidence = coded_evidence(net, state, {"x": jnp.asarray(x), "mask": jnp.asarray(mask)}, done)
    codes, log_p = batched.completed(level_key, state.graph.parents, state.tables, net.cards, evidence, best)
    refuse_impossible(log_p)
    share = jnp.full(x.shape, 0.5) if best else jax.random.uniform(place_key, x.shape)
    numbers = bins.undo(state.bins, jnp.asarray(codes.T), share)
    drawn = jnp.where(net.numeric[None], numbers, codes.T.astype(np.float32))
    return {"x": jnp.where(mask, x, drawn)}


def most_probable(temperature: Any, num: int) -> bool:
    """Returns whether the sampler takes the most probable explanation, at temperature 0, instead of a draw, at 1.

    Args:
      temperature: 0 or 1, as a number, or as an array [num] of equal numbers.
      num: number of rows.

    Raises:
      UserError: for another temperature.
    """
    values = sorted({*option_numbers("temperature", temperature, num, 0, 1).tolist()})
    if values not in ([], [0], [1]):
        wrong = next((value for value in values if value not in (0, 1)), values[0])
        raise UserError(f"temperature is {wrong:g}; expected 1, or 0 for the most probable explanation, of all rows")
    return values == [0]


def asked_cells(given: dict | None, num: int, variables: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the cells that `given` observes or sets.

    Args:
      given: conditions, see `bayes_net`.
      num: number of rows.
      variables: number of columns D.

    Returns:
      The cells [num, D], whether they are observed or set [num, D], and whether `do` sets them [num, D].

    Raises:
      UserError: for an unknown condition, a condition of another shape, or a cell that is both observed and set.
    """
    refuse_given(given, CONDITIONS)
    given = given or {}
    observed_x, observed = given_cells(given, num, (variables,))
    done_x, done = given_cells(given.get("do"), num, (variables,))
    if (observed & done).any():
        row, column = np.argwhere(observed & done)[0]
        raise UserError(f"given: row {row}, column {column} is both observed and set by do; expected one of them")
    return np.where(done, done_x, observed_x), observed | done, done


def free_parameters(net: BayesNet, state: BayesNetState) -> int:
    """Returns the number of free parameters of the tables.

    Args:
      net: the network without its graph and its tables.
      state: the state.
    """
    total = 0
    for variable, above in enumerate(cpds.parent_lists(state.graph.parents)):
        total += math.prod(net.cards[parent] for parent in above) * (net.cards[variable] - 1)
    return total


def network_in(spec: Spec, state: BayesNetState) -> Network:
    """Returns the fitted network as plain data. The levels of a column of numbers are its bins.

    Args:
      spec: facts of the table.
      state: the state.
    """
    schema = columns(spec)
    parents = cpds.parent_lists(state.graph.parents)
    edges = raw_edges(spec, state.bins)
    cards = [len(column["levels"]) if "levels" in column else edges.shape[1] + 1 for column in schema]
    levels = [tuple(column.get("levels", ())) or bins.labels(edges[i]) for i, column in enumerate(schema)]
    tables = []
    for i, table in enumerate(cpds.table_list(np.asarray(state.tables, np.float64), parents, cards)):
        used = [range(len(levels[variable])) for variable in (*parents[i], i)]  # a column may have fewer bins than R
        tables.append(table[np.ix_(*used)])
    return Network(tuple(column["name"] for column in schema), tuple(levels), parents, tuple(tables))


def raw_edges(spec: Spec, cut: bins.Bins) -> np.ndarray:
    """Returns the edges of the bins of each column in data space, [D, R - 1] float64; infinity for no edge.

    Args:
      spec: facts of the table.
      cut: bins of the columns.
    """
    edges = np.asarray(cut.edges, np.float64)
    raw = edges * np.asarray(spec.scale)[:, None] + np.asarray(spec.shift)[:, None]
    return np.where(edges < bins.BEYOND, raw, np.inf)


def network_and_confidence(spec: Spec, state: BayesNetState) -> tuple[Network, np.ndarray]:
    """Returns the fitted network, and the confidence [D, D] in each edge from a row to a column.

    Args:
      spec: facts of the table.
      state: the state.
    """
    return network_in(spec, state), np.asarray(state.graph.confidence)


def fitted_information(
    spec: Spec, state: BayesNetState, first: Sequence[int], second: Sequence[int], given: Sequence[int] = ()
) -> float:
    """Returns the information I(first; second | given) of the fitted network, exactly and in nats.

    Args:
      spec: facts of the table.
      state: the state.
      first: see `network_information`.
      second: see `network_information`.
      given: see `network_information`.
    """
    return network_information(network_in(spec, state), first, second, given)
