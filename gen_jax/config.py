"""Experiments as ml_collections configs: the keys every config has, the command line, and what a changed key means."""

import difflib
import inspect
import json
import re
import runpy
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from absl import flags
from ml_collections import ConfigDict, config_flags
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
                "schema": placeholder(str),  # of a table: a JSON file that says what its columns are, or JSON itself
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


def parse(
    argv: list[str], options: Mapping[str, Any], required: str | None, positional: tuple[str, ...] = ()
) -> flags.FlagValues:
    """Parses a command line of absl flags, `--config FILE --config.a.b=VALUE` among them where `required` is config.

    Args:
      options: name -> (default, help) of the other flags; the default's type is the flag's, None means a string.
      required: the flag that must be given, if any.
      positional: names of flags that must be given too, for which arguments without a name stand in this order; a list, the
        last of them, takes all that are left.

    Raises:
      UserError: for an unknown flag or key (naming the nearest), a wrong type, or a missing config file.
    """
    values = flags.FlagValues()
    told = [f"{name} [{name} ...]" if isinstance(options[name][0], list) else name for name in positional]
    needed = [*([f"--{required} {EXAMPLES[required]}"] if required else []), *told]
    for name, (default, text) in options.items():
        kinds = {bool: flags.DEFINE_boolean, int: flags.DEFINE_integer, list: flags.DEFINE_multi_string}
        kinds.get(type(default), flags.DEFINE_string)(name, default, text, flag_values=values)
    if {"--help", "-h", "-help"} & set(argv):
        config = "  --config: the experiment's file; --config.a.b=VALUE changes one of its settings\n"
        print(f"usage: python -m gen_jax.{' '.join([Path(argv[0]).stem, *needed])} [flags]\n")
        print((config if required == "config" else "") + values.get_help())
        raise SystemExit(0)
    if required == "config":
        written = load_file(config_file(argv))
        more = left_out(written.get("model", ConfigDict()))
        for name in {key.split(".")[1] for key in overridden(argv) if key.startswith("model.")} & set(more):
            written.model[name] = more[name]
        for key in overridden(argv):
            choose("config key", key, {**flat(written, inner=True), **{f"model.{name}": None for name in more}})
        argv = without_file(argv)
        config_flags.DEFINE_config_dict("config", written, flag_values=values, sys_argv=argv)
    try:
        rest = values(argv)[1:]
    except flags.IllegalFlagValueError as error:
        name, value = str(error).removeprefix("flag --").split(": ")[0].split("=", 1)
        if not name.startswith("config."):
            raise UserError(str(error)) from None
        raise UserError(f"--{name}={value}: expected {kind_of(written, name.removeprefix('config.'))}") from None
    except flags.Error as error:
        raise UserError(str(error)) from None
    for place, name in enumerate(positional[: len(rest)]):
        values[name].value = rest[place:] if isinstance(options[name][0], list) else rest[place]
    if len(rest) > len(positional) and not isinstance(values[positional[-1]].value if positional else None, list):
        raise UserError(f"unexpected argument {rest[len(positional)]!r}; flags are given as --name=value")
    if required and values[required].value is None:
        raise UserError(f"--{required} is missing, for example --{required} {EXAMPLES[required]}")
    for name in positional:
        if not values[name].value:
            raise UserError(f"{name} is missing; expected {' '.join(needed)}")
    return values


EXAMPLES = {"config": "configs/gan.py", "workdir": "runs/gan"}


def overridden(argv: list[str]) -> list[str]:
    """The keys of a config that a command line changes."""
    found = (re.match(r"--?config\.([^=]+)", argument) for argument in argv)
    return [match[1] for match in found if match]


def left_out(model: ConfigDict) -> dict[str, Any]:
    """The settings of a model that its config leaves at their defaults, which a command line may change."""
    from gen_jax.models import MODELS

    family = MODELS.get(model.get("name"))
    facts = inspect.signature(family).parameters if family else {}
    defaults = {name: each for name, each in facts.items() if each.default is not each.empty and name not in model}

    def setting(each: inspect.Parameter) -> Any:
        if each.default is None:
            return placeholder(next((kind for kind in (int, str) if kind in get_args(each.annotation)), float))
        return ConfigDict(each.default) if isinstance(each.default, dict) else each.default

    return {name: setting(each) for name, each in defaults.items()}


def config_file(argv: list[str]) -> Path:
    """The config file that a command line names.

    Raises:
      UserError: where it names none, or one that does not exist.
    """
    given = [value for flag, value in pairwise(argv) if flag in ("--config", "-config")]
    given += [argument.split("=", 1)[1] for argument in argv if re.match("--?config=", argument)]
    if not given:
        raise UserError(f"--config is missing, for example --config {EXAMPLES['config']}")
    path = Path(given[-1])
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*.py")], 5, 0)
        hint = f"; of those in {path.parent}, {', '.join(near)} are nearest" if near else ""
        raise UserError(f"no config file {str(path)!r}{hint}")
    return path


def without_file(argv: list[str]) -> list[str]:
    """A command line without its `--config FILE`; the flags that change settings stay."""
    rest = [argument for argument in argv if not re.match("--?config=", argument)]
    while places := [place for place, argument in enumerate(rest) if argument in ("--config", "-config")]:
        del rest[places[0] : places[0] + 2]
    return rest


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


def kind_of(config: ConfigDict, key: str) -> str:
    """What a setting may be, in words."""
    *parents, last = key.split(".")
    for parent in parents:
        config = config[parent]
    if isinstance(config[last], ConfigDict):
        return f"one of its settings, for example --config.{key}.{next(iter(config[last]))}=VALUE"
    kind = config.get_type(last).__name__
    return f"{kind}, as in {config[last]!r}" if config[last] is not None else kind


def integer(name: str, text: str | None, low: int = 0) -> int | None:
    """The value of an optional whole-number flag.

    Raises:
      UserError: for anything but a whole number from `low` up.
    """
    if text is None:
        return None
    if not text.isdecimal() or int(text) < low:
        raise UserError(f"--{name}={text}: expected a whole number, at least {low}")
    return int(text)


def number(name: str, text: str | None) -> int | float | None:
    """The value of an optional flag that is a number.

    Raises:
      UserError: for anything else.
    """
    for kind in (int, float):
        with suppress(ValueError):
            return None if text is None else kind(text)
    raise UserError(f"--{name}={text}: expected a number")


def output_file(text: str | None, example: str, suffixes: tuple[str, ...]) -> Path:
    """The file that `--out` names.

    Raises:
      UserError: where it is missing, or is of another type than one of `suffixes`.
    """
    if text is None:
        raise UserError(f"--out is missing, for example --out {example}")
    choose("file type of --out", Path(text).suffix, suffixes)
    return Path(text)


def check_bounds(values: flags.FlagValues, limits: Mapping[str, tuple[int, int]]) -> None:
    """Refuses whole-number flags outside their limits, both included.

    Raises:
      UserError: naming the flag, its value and what was expected.
    """
    for name, (low, high) in limits.items():
        if not low <= values[name].value <= high:
            raise UserError(f"--{name}={values[name].value}: expected {low} to {high}")


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
