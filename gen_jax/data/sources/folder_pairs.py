"""Folders of paired data: two folders with equal file names, halves of pictures, and pictures with metadata."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.source import Source, size_of
from gen_jax.data.sources.class_list import ClassList, find_class_list
from gen_jax.data.sources.fields import column_field, condition_options, text_field
from gen_jax.data.sources.image_folder import HALVES, SUFFIXES, report_others, visible_files
from gen_jax.data.sources.pairs import Pairs, names_of, source_of_pairs
from gen_jax.data.sources.picture_files import picture_field, refuse_sizes
from gen_jax.data.sources.records import SPLIT, metadata_file, read_columns, read_whole_text
from gen_jax.data.sources.splits import SPLITS, held_out, split_name, splits_by_name
from gen_jax.errors import UserError, choose, readable

PICTURE = "file_name"  # column with the picture of a row
METADATA = "metadata.csv"
TEXT_SUFFIX = ".txt"  # of a file with the text of one row
SHOWN = 3  # number of files that an error names


def open_folder_of_pairs(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens a folder of paired pictures, or of pictures with metadata.

    Args:
      path: the folder.
      options: the `data` section of a config.

    Raises:
      UserError: for an unknown name, files without a partner, or files that cannot be read.
    """
    names = {options[name] for name in ("target", "condition") if options.get(name) is not None}
    classes = find_class_list(path, options.get("classes"))
    roots, folders = sub_folders(path, names)
    if options.get("metadata") is not None and names and names <= {*folders, *HALVES}:
        raise UserError(
            f"data.metadata is {options['metadata']} and data.target and data.condition are folders or halves; expected "
            "columns of the metadata, or no metadata"
        )
    tables = metadata_of_folder(path, options)
    if names and names <= {*folders}:
        pairs = two_folders(path, options, classes, roots, folders)
    elif names and names <= {*HALVES}:
        pairs = pictures(path, options, classes, names_of(options, path.name, HALVES))
    elif tables:
        pairs = pictures_with_metadata(path, options, classes, tables)
    elif names:
        names_of(options, path.name, [*folders, *HALVES])
        raise UserError(
            f"data.target and data.condition of {path} are {' and '.join(sorted(names))}; expected two sub-folders "
            f"({', '.join(folders) or 'there are none'}), or left and right"
        )
    else:
        pairs = pictures(path, options, classes, ("", None))
    return source_of_pairs(pairs, options, classes)


def sub_folders(path: Path, names: set[str]) -> tuple[dict[str, Path], list[str]]:
    """Returns the folder of each split, and the names of the fields in them.

    Args:
      path: the folder of the data. It holds a folder for each field, or such folders for each split.
      names: the names that the user gives.

    Raises:
      UserError: for two folders of one split.
    """
    tops = _folders_in(path)
    if names & {*tops}:
        return {"": path}, tops
    train_first = sorted(tops, key=lambda top: (top != "train", top))
    chosen = [top for top in train_first if names & {*_folders_in(path / top)} or top in SPLITS]
    roots = {split_name(top): path / top for top in chosen}
    if len(roots) < len(chosen):
        raise UserError(f"data.path {path} holds {', '.join(chosen)}; expected one folder for each split")
    fields = [name for root in roots.values() for name in _folders_in(root)]
    return roots, [*dict.fromkeys(fields or tops)]


def _folders_in(path: Path) -> list[str]:
    return sorted(folder.name for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def two_folders(
    path: Path, options: Mapping[str, Any], classes: ClassList | None, roots: Mapping[str, Path], folders: Sequence[str]
) -> Pairs:
    """Returns the pairs of files with equal names, but for the suffix, in two folders.

    Args:
      path: the folder of the data.
      options: the `data` section of a config.
      classes: the classes of maps, if the data have a list of them.
      roots: folder of each split; the split is the empty text for a folder without splits.
      folders: names of the folders of the fields.

    Raises:
      UserError: for files without a partner, or two pictures of a pair of different sizes.
    """
    target, condition = names_of(options, path.name, folders)
    names = [target] if condition is None else [target, condition]
    files = {name: {split: files_by_stem(root / name) for split, root in roots.items()} for name in names}
    refuse_unpaired(path, names, files)
    keys = [(split, stem) for split, stems in files[target].items() for stem in sorted(stems)]
    if {*roots} == {""}:
        places = held_out(f"data.path {path}", [stem for _, stem in keys], options)
    else:
        places = splits_by_name([split for split, _ in keys])
    rows = {name: [files[name][split][stem] for split, stem in keys] for name in names}
    texts = {name: _texts(rows[name]) for name in names if rows[name][0].suffix.lower() == TEXT_SUFFIX}
    train = places.get(options["split"], ())
    corpus = [texts[name][row] for name in names for row in train] if len(texts) == len(names) else ()
    fields = []
    for name, settings in zip(names, (options, condition_options(options))):
        if name in texts:
            field = text_field(path.name, f"data.path {path}, {name}", texts[name], places, settings, corpus)
        else:
            field = picture_field(path.name, rows[name], places, size_of(settings), classes)
        fields.append(field)
    drawn_pairs = condition is not None and all(rows[name][0].suffix.lower() != TEXT_SUFFIX for name in names)
    check = None
    if condition is not None and drawn_pairs:
        size, first, second = size_of(options), rows[target], rows[condition]
        refuse_sizes(first[0], second[0], size)

        def check_sizes(numbers: np.ndarray) -> None:
            for row in numbers:
                refuse_sizes(first[row], second[row], size)

        check = check_sizes if size else None  # because without resizing all pictures of a field have one size
    return Pairs(
        target=fields[0],
        condition=fields[1] if condition is not None else None,
        names=(target, condition),
        files=[file for name in names for file in rows[name]],
        places=places,
        check=check,
    )


def _texts(files: Sequence[Path]) -> list[str]:
    """Returns the text of each file."""
    texts = []
    for file in files:
        with readable(f"{file}", "a text file"):
            texts.append(read_whole_text(file))
    return texts


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Returns the pictures of a folder, or its text files if it has no pictures, by their names without the suffix.

    Args:
      folder: the folder. It may be absent.

    Raises:
      UserError: for two files with one name.
    """
    files, others = visible_files(folder)
    if not files:
        files = [file for file in others if file.suffix.lower() == TEXT_SUFFIX]
        others = [file for file in others if file.suffix.lower() != TEXT_SUFFIX]
    if files:
        report_others("data.path", folder, others, len(files))
    stems = {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}
    if len(stems) < len(files):
        times = Counter(file.relative_to(folder).with_suffix("").as_posix() for file in files)
        raise UserError(f"{folder} holds two files named {times.most_common(1)[0][0]}; expected one of each name")
    return stems


def refuse_unpaired(path: Path, names: Sequence[str], files: Mapping[str, Mapping[str, Mapping[str, Path]]]) -> None:
    """Refuses files without a partner, and fields without files.

    Args:
      path: the folder of the data.
      names: names of one or two fields.
      files: file of each name by field and split.

    Raises:
      UserError: with up to three such files and their number.
    """
    for name in names:
        if not any(files[name].values()):
            raise UserError(
                f"sub-folder {name} of data.path {path} holds no images; expected files of {', '.join(SUFFIXES)}"
            )
    alone = []
    for split in files[names[0]]:
        stems = [{*files[name][split]} for name in names]
        for name, present in zip(names, stems):
            partners = set.intersection(*stems)
            alone += [files[name][split][stem] for stem in sorted(present - partners)]
    if alone:
        raise UserError(
            f"data.path {path} holds {_listed(path, alone)} without a partner; expected equal names in {' and '.join(names)}"
        )


def _listed(path: Path, files: Sequence[Path]) -> str:
    shown = ", ".join(str(file.relative_to(path)) if file.is_relative_to(path) else str(file) for file in files[:SHOWN])
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return f"{len(files)} file{'s' if len(files) > 1 else ''} ({shown}{more})"


def pictures(path: Path, options: Mapping[str, Any], classes: ClassList | None, names: tuple[str, str | None]) -> Pairs:
    """Returns the halves of pictures, or whole pictures, in a folder or in a folder for each split.

    Args:
      path: the folder.
      options: the `data` section of a config.
      classes: the classes of maps, if the data have a list of them.
      names: the halves of target and condition; the empty text for whole pictures.

    Raises:
      UserError: for a folder without pictures, or a picture of an odd width.
    """
    files = visible_files(path)[0]
    if not files:
        raise UserError(f"data.path {path} holds no images; expected files of {', '.join(SUFFIXES)}")
    stems = [file.relative_to(path) for file in files]
    if all(len(stem.parts) > 1 and stem.parts[0] in SPLITS for stem in stems):
        places = splits_by_name([stem.parts[0] for stem in stems])
    else:
        places = held_out(f"data.path {path}", [stem.as_posix() for stem in stems], options)
    fields = [
        picture_field(path.name, files, places, size_of(settings), classes, name or None)
        for name, settings in zip(names, (options, condition_options(options)))
        if name is not None
    ]
    return Pairs(fields[0], fields[1] if len(fields) > 1 else None, names, files, places)


def metadata_of_folder(path: Path, options: Mapping[str, Any]) -> dict[Path, Path]:
    """Returns the metadata files of a folder of pictures, and the folder in which each names pictures.

    Args:
      path: the folder.
      options: the `data` section of a config, of which `metadata` is read.

    Raises:
      UserError: for a file of the user that does not exist.
    """
    if options.get("metadata") is not None:
        return {metadata_file(options["metadata"], path): path}
    files = [path / METADATA] if (path / METADATA).is_file() else sorted(path.glob(f"*/{METADATA}"))
    return {file: file.parent for file in files}


def pictures_with_metadata(
    path: Path, options: Mapping[str, Any], classes: ClassList | None, tables: Mapping[Path, Path]
) -> Pairs:
    """Returns pictures beside columns of their metadata.

    Args:
      path: the folder of the pictures.
      options: the `data` section of a config.
      classes: the classes of maps, if the data have a list of them.
      tables: metadata files, and the folder in which each names pictures. Several files are one split each.

    Raises:
      UserError: for metadata without the names of pictures, a name without a picture, or a picture without a row.
    """
    columns: dict[str, list[Any]] = {}
    files: list[Path] = []
    splits: list[str] = []
    for table, folder in tables.items():
        part = read_columns(table, options)
        choose(f"column of {table}:", PICTURE, part)
        if columns and columns.keys() != part.keys():
            raise UserError(f"columns of {table} are {', '.join(part)}; expected {', '.join(columns)}")
        for name, values in part.items():
            columns.setdefault(name, []).extend(values)
        files += [folder / str(name) for name in part[PICTURE]]
        splits += [str(name) for name in part.get(SPLIT, [folder.name] * len(part[PICTURE]))]
    names = names_of(options, path.name, [*columns], PICTURE)
    alone = [file for file in files if not file.is_file()]
    if alone:
        raise UserError(
            f"{next(iter(tables))} names {_listed(path, alone)} that do not exist; expected a picture for each row"
        )
    alone = sorted({*visible_files(path)[0]} - {*files})
    if alone:
        raise UserError(
            f"data.path {path} holds {_listed(path, alone)} without a row in {next(iter(tables)).name}; expected a row for each"
        )
    if SPLIT in columns or len(tables) > 1:
        places = splits_by_name(splits)
    else:
        places = held_out(f"data.path {path}", [str(name) for name in columns[PICTURE]], options)

    def field(name: str, settings: Mapping[str, Any]) -> Source:
        if name == PICTURE:
            return picture_field(path.name, files, places, size_of(settings), classes)
        return column_field(path.name, f"{next(iter(tables))}, column {name!r}", columns[name], places, settings)

    target, condition = names
    return Pairs(
        target=field(target, options),
        condition=None if condition is None else field(condition, condition_options(options)),
        names=names,
        files=[*tables, *files],
        places=places,
    )
