"""Opens the data that the `data` section of a config names, without an order of rows and without a device.

The only transform here is the one to black and white.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from gen_jax.data.kinds import KINDS, kind_of
from gen_jax.data.source import Source, size_of
from gen_jax.data.sources.binary import BINARY, binarised
from gen_jax.data.sources.clips import clips
from gen_jax.data.sources.derived import joined, stacked, with_hole, with_shrunk
from gen_jax.data.sources.tfds import open_tfds
from gen_jax.data.sources.tone_letters import TONES, tone_letters
from gen_jax.data.sources.user_files import SETTINGS, open_files
from gen_jax.data.sources.windows import windowed
from gen_jax.data.tables.sets import TABLES, open_set
from gen_jax.errors import UserError

IN_MEMORY = "arrays:"  # beginning of the name of a data set that a program holds in memory; the hash follows
HELD: WeakValueDictionary[str, Any] = (
    WeakValueDictionary()
)  # name of a data set in memory -> `dataset.DataSet`, as long as the program holds it


def open_source(options: Mapping[str, Any]) -> Source:
    """Opens a file or folder of the user, a table by name, or a data set of TFDS by name.

    The files of a user are read once for the hash of their content, unless `options["content"]` holds this hash.

    Args:
      options: the `data` section of a config. If `path` is set, `name` is not read.

    Returns:
      The source. By the options it is cut into windows, stacked, made black and white, or joined with another test
      split.

    Raises:
      UserError: for data that do not exist, are not prepared, or cannot be modelled.
    """
    size_of(options)  # because a wrong size is refused before the data are read
    if options.get("path") is not None:
        source = open_files(Path(options["path"]), options)
    elif options["name"].startswith(IN_MEMORY):
        source = held_source(options["name"])
    elif options["name"] == TONES:
        source = tone_letters(options)
    elif options["name"] in TABLES:
        source = open_set(options)
    else:
        source = open_tfds(options)
    return prepared(source, options)


def prepared(source: Source, options: Mapping[str, Any]) -> Source:
    """Returns a source as the options ask for it: in windows, stacked, black and white, or with another test split.

    Args:
      source: the rows.
      options: the `data` section of a config.

    Raises:
      UserError: for an option that does not fit the rows.
    """
    refuse_options(source, options)
    refuse_photo_options(source, options)
    if kind_of(source).film:
        source = clips(source, options)
    if options.get("shrink") is not None and "shrink" not in source.info:
        source = with_shrunk(source, options["shrink"])
    if options.get("hole") is not None:
        source = with_hole(source, options["hole"])
    refuse_condition(source, options)
    if options.get("window") is not None:
        source = windowed(source, options["window"])
    if options.get("stack") is not None:
        source = stacked(source, options["stack"])
    if options.get("transform") in BINARY:
        source = binarised(source, options["transform"])
    return source if options.get("test_name") is None else with_test_set(source, options)


def held_source(name: str) -> Source:
    """Returns the rows that this process holds in memory under a name.

    Args:
      name: the name.

    Raises:
      UserError: if this process holds no such rows.
    """
    if name not in HELD:
        raise UserError(
            f"data of {name} were arrays in the program that trained; expected the same arrays, or a file of rows. "
            "Open the arrays first, by gen_jax.data.arrays"
        )
    return HELD[name].origin


def refuse_options(source: Source, options: Mapping[str, Any]) -> None:
    """Refuses options that belong to other kinds of data.

    Args:
      source: the rows.
      options: the `data` section of a config.

    Raises:
      UserError: for the first such option that is set.
    """
    kinds_of_rows = kinds_in(source)
    for option in dict.fromkeys(option for kind in KINDS.values() for option in kind.options):
        value = options.get(option)
        kinds = [name for name, kind in KINDS.items() if option in kind.options]
        if value is not None and not kinds_of_rows & {*kinds}:
            raise UserError(
                f"data.{option} is {value!r} and {source.name} holds {source.kind} data; expected {' or '.join(kinds)}"
            )
    if options.get("kind") not in (None, source.kind):
        raise UserError(
            f"data.kind is {options['kind']!r} and {source.name} holds {source.kind} data; expected data.kind unset"
        )


def kinds_in(source: Source) -> set[str]:
    """Returns the kinds of the rows and of their condition.

    Args:
      source: the rows.
    """
    return {source.kind} if source.condition is None else {source.kind, source.condition.kind}


def refuse_photo_options(source: Source, options: Mapping[str, Any]) -> None:
    """Refuses options of a folder of photos that is cut into patches for other images, and the reverse.

    Args:
      source: the rows.
      options: the `data` section of a config.

    Raises:
      UserError: for the first such option that is set.
    """
    photos, pixels = "photos" in source.info, any(KINDS[kind].pixels for kind in kinds_in(source))
    for option in ("patch", "stride", "channels", "test_path"):
        if options.get(option) is not None and pixels and not photos:
            raise UserError(
                f"data.{option} is {options[option]!r} and {source.name} is not cut into patches; expected a folder of photos "
                f"as data.path, and data.patch"
            )
    for option in ("stack", "test_name", *SETTINGS):
        if options.get(option) is not None and photos:
            raise UserError(f"data.{option} is {options[option]!r} beside data.patch; expected one of the two")


def refuse_condition(source: Source, options: Mapping[str, Any]) -> None:
    """Refuses settings of paired data for other data, and settings that paired data do not have.

    Args:
      source: the rows.
      options: the `data` section of a config.

    Raises:
      UserError: for the first such setting.
    """
    held = (options.get("name") or "").startswith(IN_MEMORY) or source.condition is not None
    for option in SETTINGS if options.get("path") is None and not held else ():
        if options.get(option) is not None:
            raise UserError(
                f"data.{option} is {options[option]!r} and {source.name} is a set by name; expected paired data in files "
                f"of your own, by data.path"
            )
    for option in ("window", "stack", "test_name"):
        if options.get(option) is not None and source.condition is not None:
            raise UserError(
                f"data.{option} is {options[option]!r} and the rows of {source.name} have a condition; expected rows without, "
                f"because a row stays whole beside its condition"
            )


def with_test_set(source: Source, options: Mapping[str, Any]) -> Source:
    """Returns a source with the test split of the data set `data.test_name`.

    Args:
      source: the rows.
      options: the `data` section of a config.

    Raises:
      UserError: if the test split is the training split, or the other data set has different rows.
    """
    name = options["test_name"]
    if options["test_split"] == options["split"]:
        raise UserError(
            f"data.test_split of data.test_name {name!r} is {options['split']!r}, as is data.split; expected another "
            "split"
        )
    test = open_source({**options, "path": None, "name": name, "variant": None, "test_name": None})
    return joined(source, test, options["test_split"])
