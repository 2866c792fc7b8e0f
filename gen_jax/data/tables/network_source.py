"""A Bayesian network as a source of rows, and a network for a table with the same columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.source import Source
from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.bif import read_bif
from gen_jax.data.tables.networks import Network, draw
from gen_jax.data.tables.statistics import marginals
from gen_jax.errors import UserError, choose

ROWS = 10_000  # number of rows that are drawn for each split


def open_network(path: Path, options: Mapping[str, Any], content: str) -> Source:
    """Returns a network as a source of exact rows: `ROWS` rows each in the training split and the test split.

    The rows of a split are always the same. The network itself is in `info`, so that a run does not need the file
    again.

    Args:
      path: a BIF file.
      options: the `data` section of a config.
      content: hash of the file.

    Raises:
      UserError: for a file that is not a network, or options that need a table.
    """
    for option in ("test_path", "schema"):
        if options.get(option) is not None:
            raise UserError(
                f"data.{option} is {options[option]!r} and {path} is a network, which draws its own rows; expected a "
                "file of rows"
            )
    network = read_bif(path)
    schema = [_column(name, levels) for name, levels in zip(network.names, network.levels)]
    splits = dict.fromkeys((options["split"], options["test_split"]))
    x = {split: draw(network, np.random.default_rng([*split.encode()]), ROWS).astype(np.float64) for split in splits}
    return Source(
        name=path.stem,
        kind="table",
        shape=(len(schema),),
        dtype=np.dtype(np.float64),
        sizes=dict.fromkeys(splits, ROWS),
        rows=lambda split, indices: {"x": x[split][indices]},
        content=content_hash(content),
        info={
            "columns": schema,
            "dropped": [],
            "marginals": marginals(schema, x[options["split"]]),
            "network": plain_network(path, network),
        },
    )


def _column(name: str, levels: Sequence[str]) -> dict[str, Any]:
    facts = {"kind": "categorical", "levels": [*levels], "missing": False}
    return {"name": name, **facts, "low": 0.0, "high": len(levels) - 1.0}


def plain_network(path: str | Path, network: Network) -> dict[str, Any]:
    """Returns the tables of a network as plain data, which a run keeps so that it does not need the file again.

    Args:
      path: a BIF file.
      network: the network.
    """
    tables = [table.tolist() for table in network.tables]
    return {"path": str(path), "parents": [*map(list, network.parents)], "tables": tables}


def network_of(spec: Spec, path: str) -> Network:
    """Returns the network of a file, with its variables and levels in the order of the columns of a table.

    If the spec holds the network, the file is not read.

    Args:
      spec: facts of the table.
      path: a BIF file.

    Raises:
      UserError: for variables that are not the columns, or have other levels.
    """
    schema = columns(spec)
    names = tuple(column["name"] for column in schema)
    levels = tuple(tuple(column.get("levels", ())) for column in schema)
    for plain in (spec.info.get("network", {}), spec.info.get("model_network", {})):
        if plain.get("path") == str(path):
            parents = tuple(map(tuple, plain["parents"]))
            return Network(names, levels, parents, tuple(map(np.asarray, plain["tables"])))
    network = read_bif(Path(path))
    refuse_other_columns(spec, path, network)
    return _in_order(network, names, levels)


def refuse_other_columns(spec: Spec, path: str, network: Network) -> None:
    """Refuses a network whose variables are not the columns of a table, or have other levels.

    Args:
      spec: facts of the table.
      path: a BIF file.
      network: the network.

    Raises:
      UserError: for the first difference.
    """
    schema = {column["name"]: column.get("levels", ()) for column in columns(spec)}
    for name in network.names:
        choose(f"column of {spec.name}, for a variable of {path}:", name, [*schema])
    for name, levels in schema.items():
        choose(f"variable of {path}, for a column of {spec.name}:", name, network.names)
        theirs = network.levels[network.names.index(name)]
        if {*levels} != {*theirs}:
            raise UserError(
                f"levels of {name!r} in {path} are {', '.join(theirs)}; expected {', '.join(levels) or 'numbers'}, as "
                f"in {spec.name}"
            )


def _in_order(network: Network, names: tuple[str, ...], levels: tuple[tuple[str, ...], ...]) -> Network:
    """Returns a network with its variables and their levels in another order."""
    variables = [network.names.index(name) for name in names]  # old number of each variable in the new order
    codes = [  # [variables][levels], old number of each level in the new order
        [network.levels[old].index(level) for level in listed] for old, listed in zip(variables, levels)
    ]
    parents, tables = [], []
    for new, old in enumerate(variables):
        above = tuple(variables.index(parent) for parent in network.parents[old])
        parents.append(above)
        tables.append(network.tables[old][np.ix_(*(codes[variable] for variable in (*above, new)))])
    return Network(names, levels, tuple(parents), tuple(tables))
