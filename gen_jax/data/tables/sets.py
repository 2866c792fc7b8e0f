"""Tables by name: data sets of scikit-learn, rows of a network, and data sets whose files are in a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash, files_hash
from gen_jax.data.source import Source
from gen_jax.data.tables.network_source import open_network
from gen_jax.data.tables.networks import ASIA
from gen_jax.data.tables.table_source import table_source
from gen_jax.data.tables.text_columns import cells_of, read_cells
from gen_jax.errors import UserError, choose

# Data sets of scikit-learn, with the name of the column of their classes.
SHIPPED = {"iris": "species", "wine": "cultivar", "breast_cancer": "diagnosis"}
ADULT = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
)
PARTS = {"train": "train", "validation": "valid", "test": "test"}  # split -> part of the file name of a binary set


def shipped(options: Mapping[str, Any]) -> Source:
    """Opens a data set of scikit-learn. Every fifth row is in the test split, and the class is the last column.

    Args:
      options: the `data` section of a config. The variant `numbers` leaves out the class.

    Raises:
      UserError: for another variant.
    """
    from sklearn import datasets

    if options.get("variant") is not None:
        choose(f"data.variant of {options['name']}:", options["variant"], ("numbers",))

    loaded = getattr(datasets, f"load_{options['name']}")()
    names = [*map(str, loaded.feature_names), SHIPPED[options["name"]]]
    classes = [str(loaded.target_names[label]) for label in loaded.target]
    cells = [*map(_texts, loaded.data.T), *([] if options.get("variant") else [classes])]
    test = np.arange(len(classes)) % 5 == 4
    parts = {
        split: {name: cells_of(np.array(column)[rows]) for name, column in zip(names, cells)}
        for split, rows in {"train": ~test, "test": test}.items()
    }
    return table_source(options["name"], parts, options, content_hash(options["name"], cells))


def _texts(values: np.ndarray) -> list[str]:
    """Returns numbers as texts, without decimals if all numbers are whole."""
    whole = (values == np.rint(values)).all()
    return [str(int(value)) if whole else repr(float(value)) for value in values]


def adult(options: Mapping[str, Any]) -> Source:
    """Opens Census income (Kohavi 1996, UCI): 32,561 training rows and 16,281 test rows of 15 columns.

    The dot after the labels of the test split is removed.

    Args:
      options: the `data` section of a config.

    Raises:
      UserError: if `data.data_dir` does not hold the files.
    """
    files = {split: _file(options, f"adult.{split}.csv") for split in ("train", "test")}
    parts = {split: read_cells(file, ADULT) for split, file in files.items()}
    for part in parts.values():
        texts = [text.removesuffix(".") for text in part["income"].texts]
        part["income"] = part["income"]._replace(texts=texts)
    return table_source("adult", parts, options, files_hash([*files.values()]))


def binary(options: Mapping[str, Any]) -> Source:
    """Opens the set of 0 and 1 without column names that `data.set` names.

    The twenty data sets of density estimation (Van Haaren & Davis 2012) have this form.

    Args:
      options: the `data` section of a config.

    Raises:
      UserError: for a missing or unknown name, or files that do not hold such rows.
    """
    folder = Path(options.get("data_dir") or ".").expanduser()
    names = sorted(file.name.removesuffix(".train.data") for file in folder.glob("*.train.data"))
    if options.get("set") is None:
        raise UserError(
            f"data.set is missing with data.name 'binary'; expected one of {', '.join(names) or 'none'} in {folder}. "
            "Give --config.data.set=NAME"
        )
    choose(f"data.set in data.data_dir {folder}:", options["set"], names)
    files = {split: folder / f"{options['set']}.{part}.data" for split, part in PARTS.items()}
    files = {split: file for split, file in files.items() if file.exists()}
    parts = {split: read_cells(file, _numbered(file)) for split, file in files.items()}
    facts = {name: {"kind": "categorical", "levels": ["0", "1"], "missing": False} for name in parts["train"]}
    return table_source(options["set"], parts, options, files_hash([*files.values()]), facts)


def _numbered(file: Path) -> list[str]:
    with open(file, encoding="utf-8", errors="replace") as lines:
        return [f"x{place}" for place in range(1 + next(lines, "").count(","))]


def asia(options: Mapping[str, Any]) -> Source:
    """Opens rows drawn from the built-in network of Lauritzen & Spiegelhalter 1988.

    Args:
      options: the `data` section of a config.
    """
    return open_network(ASIA, options, files_hash([ASIA]))


def _file(options: Mapping[str, Any], name: str) -> Path:
    """Returns the file of this name in `data.data_dir`, compressed or not."""
    folder = Path(options.get("data_dir") or ".").expanduser()
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    raise UserError(
        f"{folder} holds no {name} or {name}.gz; expected the files of data.name {options['name']!r}. Give their "
        "folder by --config.data.data_dir"
    )


TABLES = {  # data.name -> (options) -> Source
    **dict.fromkeys(SHIPPED, shipped),
    "asia": asia,
    "adult": adult,
    "binary": binary,
}


def open_set(options: Mapping[str, Any]) -> Source:
    """Opens the table in `TABLES` that `data.name` names.

    Args:
      options: the `data` section of a config.

    Raises:
      UserError: for an option that the table does not have, or missing files.
    """
    if options.get("test_path") is not None:
        raise UserError(f"data.test_path is {options['test_path']} without data.path; expected both")
    if options.get("set") is not None and options["name"] != "binary":
        raise UserError(
            f"data.set is {options['set']!r} with data.name {options['name']!r}; expected data.name 'binary'"
        )
    return TABLES[options["name"]](options)
