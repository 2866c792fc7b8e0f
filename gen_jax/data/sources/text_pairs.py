"""Pairs of texts as a source of rows: two columns of a TSV file, or two files whose lines belong together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen_jax.data.source import Source
from gen_jax.data.sources.fields import condition_options, text_field
from gen_jax.data.sources.pairs import Pairs, names_of, source_of_pairs
from gen_jax.data.sources.records import SPLIT, read_rows_of_text, read_whole_text
from gen_jax.data.sources.splits import SPLITS, held_out, split_name, splits_by_name
from gen_jax.data.tables.text_columns import OPEN
from gen_jax.errors import UserError, readable

TABLES = (".tsv", ".tsv.gz", ".tsv.bz2")  # suffixes of files with a pair in each line
Columns = dict[str, list[str]]  # name -> texts of all rows


def open_tsv_pairs(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens two columns of a TSV file as target and condition.

    If a file is named `train.REST`, files `val.REST` and `test.REST` beside it are the other splits.

    Args:
      path: the file. Its first row may hold the names of the columns; else their names are 1, 2, ...
      options: the `data` section of a config.

    Raises:
      UserError: for a file that cannot be read, or an unknown column.
    """
    files = {"": path}
    begin, _, end = path.name.partition(".")
    if begin == "train":
        names = ("train", *sorted(SPLITS.keys() - {"train"}))
        siblings = [(split_name(name), path.with_name(f"{name}.{end}")) for name in names]
        files = {split: file for split, file in siblings if file.is_file()}
    fields = {str(options[name]) for name in ("target", "condition") if options.get(name) is not None}
    parts = {split: _columns(file, fields) for split, file in files.items()}
    for split, part in parts.items():
        if part.keys() != parts[next(iter(parts))].keys():
            raise UserError(f"columns of {files[split]} are {', '.join(part)}; expected the columns of {path.name}")
    return _source(path, options, parts, [*files.values()])


def _columns(file: Path, names: set[str]) -> Columns:
    rows = read_rows_of_text(file, "\t")
    if not rows:
        raise UserError(f"{file} is empty; expected a pair of texts in each line, with a tab between them")
    numbers = [str(place + 1) for place in range(len(rows[0]))]
    header = not names <= {*numbers}
    wrong = sorted(names - {*rows[0], *numbers})
    if wrong:
        raise UserError(
            f"{file} has no column {wrong[0]!r}; expected a number from 1 to {len(rows[0])}, or a name of its first line: "
            f"{', '.join(name[:30] for name in rows[0])}"
        )
    return {name: [row[place] for row in rows[header:]] for place, name in enumerate(rows[0] if header else numbers)}


def line_files(path: Path) -> dict[str, dict[str, Path]]:
    """Returns files `SPLIT.NAME`, which may be compressed, by split and name.

    Args:
      path: their folder.
    """
    files: dict[str, dict[str, Path]] = {}
    for file in sorted(path.iterdir()):
        parts = (
            file.name.removesuffix(file.suffix if file.suffix.lower() in OPEN else "").removesuffix(".txt").split(".")
        )
        if len(parts) == 2 and all(parts) and file.is_file():
            files.setdefault(split_name(parts[0]), {})[parts[1]] = file
    return files


def open_line_pairs(path: Path, options: Mapping[str, Any], files: Mapping[str, Mapping[str, Path]]) -> Source:
    """Opens two files for each split, whose lines belong together.

    Args:
      path: their folder.
      options: the `data` section of a config.
      files: the files by split and name, see `line_files`.

    Raises:
      UserError: for a file that cannot be read, or files with different numbers of lines.
    """
    names = [name for name in (options.get("target"), options.get("condition")) if name is not None]
    parts: dict[str, Columns] = {}
    used: list[Path] = []
    for split, by_name in files.items():
        if {*names} <= {*by_name}:
            parts[split] = {name: _lines(by_name[name]) for name in names}
            used += [by_name[name] for name in names]
            sizes = {str(by_name[name]): len(texts) for name, texts in parts[split].items()}
            if len({*sizes.values()}) > 1:
                listed = ", ".join(f"{file} {size:,}" for file, size in sizes.items())
                raise UserError(f"numbers of lines of paired files are {listed}; expected equal numbers")
    return _source(path, options, parts, used)


def _lines(file: Path) -> list[str]:
    with readable(f"{file}", "a text file"):
        text = read_whole_text(file)
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if not lines[-1] else lines


def _source(path: Path, options: Mapping[str, Any], parts: Mapping[str, Columns], files: list[Path]) -> Source:
    columns: Columns = {}
    for part in parts.values():
        for name, texts in part.items():
            columns.setdefault(name, []).extend(texts)
    names = names_of(options, path.name, [name for name in columns if name != SPLIT])
    target, condition = names
    if SPLIT in columns:
        places = splits_by_name(columns[SPLIT])
    elif {*parts} == {""}:
        places = held_out(f"data.path {path}", columns[target], options)
    else:
        places = splits_by_name([split for split, part in parts.items() for _ in part[target]])
    fields = [name for name in names if name is not None]
    corpus = [columns[name][row] for name in fields for row in places.get(options["split"], ())]  # one vocabulary
    sources = [
        text_field(path.name.split(".")[0], f"data.path {path}, {name!r}", columns[name], places, settings, corpus)
        for name, settings in zip(fields, (options, condition_options(options)))
    ]
    return source_of_pairs(Pairs(sources[0], sources[1] if condition else None, names, files, places), options)
