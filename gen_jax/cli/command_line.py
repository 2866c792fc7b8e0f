"""The command line: flags, positional arguments, and the settings of a config that `--config.a.b=VALUE` changes."""

import difflib
import inspect
import re
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_dict import placeholder

from gen_jax.config import flat, load_file
from gen_jax.errors import UserError, choose, whole_number

EXAMPLES = {"config": "configs/gan.py", "workdir": "runs/gan"}


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
    value = whole_number(text)
    if value is None or value < low:
        raise UserError(f"--{name}={text[:80]}: expected a whole number, at least {low}")
    return value


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
