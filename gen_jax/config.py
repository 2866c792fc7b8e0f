"""Experiments as ml_collections configs: the keys every config has, and what a changed key means."""

import json
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from gen_jax.errors import UserError, choose

FREE = (
    "sample.",
    "evaluate.",
    "log_every",
    "sample_every",
    "eval_every",
    "save_every",
    "keep",
    "sharding",
    "data.data_dir",
    "data.feed",
)
GROWING = ("steps",)
KINDS = {float: (int, float), tuple: (list, tuple)}  # of settings as JSON holds them
LARGEST = 2**31  # of seeds and counts


def base_config() -> ConfigDict:
    """The keys that every experiment has, with their defaults; a config file changes what it needs.

    A period of 0 means never; an unset string or number is a placeholder that a flag can set.
    """
    return ConfigDict(
        {
            "seed": 0,
            "replicas": 1,  # independent runs of the seeds from `seed` on, trained together
            "steps": 1000,
            "epochs": placeholder(float),  # replaces steps where it is set
            "batch_size": 64,
            "log_every": 100,
            "sample_every": 1000,
            "eval_every": 0,
            "save_every": 1000,
            "keep": 3,  # newest checkpoints kept
            "sharding": placeholder(str),  # fsdp: each device keeps a part of the state; all of it where unset
            "select": placeholder(str),  # metric whose best checkpoint is kept beside them, and used from then on
            "data": {
                "name": "digits",
                "variant": placeholder(str),  # TFDS config of the set, or numbers: a table without its class
                "data_dir": placeholder(str),  # where TFDS sets are prepared; $TFDS_DATA_DIR where unset
                "set": placeholder(str),  # which of the sets of 0 and 1 that data_dir holds, where the name is binary
                "path": placeholder(str),  # a file or a folder of images; beats the name
                "test_path": placeholder(str),  # of a table in a file: another with the rows of the tests
                "holdout": 0.1,  # share of the rows of a table in a file without test_path that are its test split
                "schema": placeholder(str),  # of a table: a JSON file that says what its columns are, or JSON itself
                "separator": placeholder(str),  # of the columns of a CSV file; guessed where unset
                "decimal": placeholder(str),  # "," or "." in its numbers; guessed where unset
                "kind": placeholder(str),  # series, where an array file [N, T, D] holds them
                "window": placeholder(int),  # frames a row of sequences; whole ones where unset
                "vocabulary": placeholder(str),  # of text: characters (where unset) or bytes
                "encoding": placeholder(str),  # of recordings: mu_law (where unset) or waveform
                "label": placeholder(str),  # of recordings: digit (where unset) or speaker
                "resize": placeholder(int),  # side in pixels
                "stack": placeholder(int),  # grey images drawn at random that are stacked as the channels of one
                # signed, unit, rms, none, static_binary or dynamic_binary; where unset signed, of tokens and rolls none; of
                # tables standard, where unset, or modes
                "transform": placeholder(str),
                "split": "train",
                "test_split": "test",
                "test_name": placeholder(str),  # another TFDS set, whose test split takes the place of this one's
                "feed": "auto",  # resident, streaming or auto (by size)
                "order": "shuffle",  # shuffle, once, all, lanes or by_level
            },
            "model": {"name": placeholder(str)},
            "sample": {
                "num": 64,
                "seed": 0,
                "given": placeholder(str),  # as --given and --length of gen_jax.sample
                "length": placeholder(int),
                "num_samples": 100,  # latents drawn for each row for the importance weighted bound, nll_bound
            },
            # where no metric is named: while training the cheap ones, by the command all that apply
            "evaluate": {
                "num": 1000,
                "seed": 0,
                "metrics": (),
                # column of a table that classifiers tell; the last one with levels where unset
                "target": placeholder(str),
            },
        }
    )


def load_file(path: Path) -> ConfigDict:
    """The config of a file. Settings that the file builds from one dict are separate ones, each with its own flags.

    Raises:
      UserError: where the file does not run or gives no config.
    """
    try:
        return unshared(runpy.run_path(str(path))["get_config"]())
    except Exception as error:  # noqa: BLE001 (a user's file may raise anything)
        raise UserError(f"{path} does not give a config: {type(error).__name__}: {error}") from None


def unshared(config: ConfigDict) -> ConfigDict:
    """A config in which no two keys hold the same object."""
    copy = ConfigDict()
    for key, value in config.items(preserve_field_references=True):
        copy[key] = unshared(value) if isinstance(value, ConfigDict) else value
    return copy


def check(config: ConfigDict) -> None:
    """Refuses a config whose common keys are missing, unknown or out of range.

    Raises:
      UserError: naming key, value and what was expected.
    """
    known, given = flat(base_config(), inner=True), flat(config, inner=True)
    for key in given:
        if not key.startswith("model."):
            choose("config key", key, known)
    for key in known:
        if key not in given:
            raise UserError(f"the config lacks {key!r}; start it from gen_jax.config.base_config()")
    for key, low in {
        "batch_size": 1,
        "replicas": 1,
        "steps": 0,
        "keep": 1,
        "sample.num": 1,
        "sample.length": 1,
        "sample.num_samples": 1,
        "evaluate.num": 1,
        "seed": 0,
        "sample.seed": 0,
        "evaluate.seed": 0,
    }.items():
        value = given[key]
        if value is not None and not low <= value < LARGEST:
            raise UserError(f"{key} {value}: expected {low} to {LARGEST - 1}")
    for key in ("log_every", "sample_every", "eval_every", "save_every"):
        if config[key] < 0:
            raise UserError(f"{key} {config[key]}: expected a number of steps, or 0 for never")
    if config.sharding is not None:
        choose("sharding", config.sharding, ("fsdp",))
    if config.sharding and config.replicas > 1:
        raise UserError(f"sharding {config.sharding}: replicas are spread over the devices whole; expected replicas 1")
    if config.epochs is not None and config.epochs <= 0:
        raise UserError(f"epochs {config.epochs}: expected more than 0")


def refuse_types(found: Mapping[str, Any], where: Path) -> None:
    """Refuses settings read from a file whose common keys hold values of another type than they may.

    Raises:
      UserError: naming key, value and the expected type.
    """

    def look(expected: ConfigDict, given: Any, prefix: str) -> None:
        if not isinstance(given, Mapping):
            raise UserError(f"{where}: {prefix.rstrip('.')} is {str(given)[:80]!r}; expected a section of settings")
        for key in expected.keys() & given.keys():
            kind, value = expected.get_type(key), given[key]
            if kind is ConfigDict:
                look(expected[key], value, f"{prefix}{key}.")
            elif value is not None and not (
                isinstance(value, KINDS.get(kind, kind)) and isinstance(value, bool) == (kind is bool)
            ):
                raise UserError(f"{where}: {prefix}{key} is {str(value)[:80]!r}; expected {kind.__name__}")

    look(base_config(), found, "")


def plain(config: Any) -> Any:
    """A config as JSON would give it back."""
    return json.loads(json.dumps(config.to_dict() if isinstance(config, ConfigDict) else config))


def flat(config: Any, prefix: str = "", inner: bool = False) -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`, with `a` too where `inner` is set."""
    items: dict[str, Any] = {}
    for key, value in config.items():
        nested = isinstance(value, Mapping | ConfigDict)
        if inner or not nested:
            items[f"{prefix}{key}"] = value
        if nested:
            items.update(flat(value, f"{prefix}{key}.", inner))
    return items


def refuse_changes(old: dict, new: dict, workdir: Path) -> None:
    """Refuses to resume a run whose settings changed; `FREE` keys may, and `GROWING` ones may grow.

    Raises:
      UserError: naming the first changed key and both values.
    """
    old, new = flat(old), flat(new)
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before == after or key.startswith(FREE):
            continue
        if key in GROWING and before is not None and after is not None and after > before:
            continue
        more = "; a run can be given more, not fewer" if key in GROWING else ""
        raise UserError(
            f"{key} was {before!r} in {workdir} and is now {after!r}{more}: "
            f"choose another --workdir, or start a changed run from this one with --fork {workdir}"
        )
