"""The command line: flags, positional arguments, and the settings of a config that `--config.a.b=VALUE` changes."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from gen_jax.errors import UserError, choose, nearest, whole_number

EXAMPLES = {"config": "configs/gan.py", "workdir": "runs/gan"}
DEFINE: dict[type, Callable[..., Any]] = {  # type of a default -> definition of a flag; other types are strings
    bool: flags.DEFINE_boolean,
    int: flags.DEFINE_integer,
    list: flags.DEFINE_multi_string,
}


class ConfigFlags(NamedTuple):
    """Holds the flags of a command line that concern the config."""

    file: str | None  # file of the last `--config FILE`
    changes: dict[str, str]  # setting -> TEXT of `--config.SETTING=TEXT`
    rest: list[str]  # all arguments without `--config FILE`, including arguments that change settings


def parse(
    argv: list[str], options: Mapping[str, Any], required: str | None, positional: tuple[str, ...] = ()
) -> flags.FlagValues:
    """Parses a command line of absl flags, and `--config FILE --config.a.b=VALUE` if `required` is config.

    Args:
      argv: the command and its arguments.
      options: (default, help) of the other flags by name. The type of the default is the type of the flag; None is a
        string.
      required: the flag that must be given, or None.
      positional: names of further flags that must be given, in the order of the arguments without a name; by default
        none. If the last of these flags is a list, it takes all remaining arguments, after those that it has by name.

    Returns:
      The values of the flags.

    Raises:
      UserError: for an unknown flag or setting (with the nearest name), a wrong type, or a missing config file.
    """
    values = flags.FlagValues()
    for name, (default, text) in options.items():
        DEFINE.get(type(default), flags.DEFINE_string)(name, default, text, flag_values=values)
    usage = [*([f"--{required} {EXAMPLES[required]}"] if required else []), *usage_of(positional, options)]
    if {"--help", "-h", "-help"} & set(argv):
        print_help(Path(argv[0]).stem, usage, required, values)
        if required == "config" and read_config_flags(argv).file is not None:
            print_settings(argv)
        raise SystemExit(0)
    if required == "config":
        arguments = read_arguments(define_config(argv, values), values)
    else:
        arguments = read_arguments(argv, values)
    place_arguments(arguments, positional, values)
    refuse_missing(required, positional, usage, values)
    return values


def usage_of(positional: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Returns the positional arguments in the form of a line of usage.

    Args:
      positional: names of the positional flags.
      options: (default, help) of the flags by name.
    """
    return [f"{name} [{name} ...]" if isinstance(options[name][0], list) else name for name in positional]


def print_help(command: str, usage: list[str], required: str | None, values: flags.FlagValues) -> None:
    """Prints the usage of a command and its flags.

    Args:
      command: name of the command.
      usage: required arguments in the form of a line of usage.
      required: name of the flag that must be given, or None.
      values: the flags.
    """
    print(f"usage: python -m gen_jax.{' '.join([command, *usage])} [flags]\n")
    if required == "config":
        print("  --config: config file of the experiment; --config.a.b=VALUE changes a setting of the config\n")
    print(values.get_help())


def print_settings(argv: list[str]) -> None:
    """Prints the settings of the config that a command line names, with its changes and their meanings.

    Args:
      argv: the command and its arguments.

    Raises:
      UserError: for a file that does not give a config, or an unknown setting.
    """
    from gen_jax.cli import changes  # slow to import

    values = flags.FlagValues()
    changed = read_config_flags(define_config(argv, values)).changes
    read_arguments([argv[0], *(f"--config.{setting}={text}" for setting, text in changed.items())], values)
    print(f"settings of {config_file(argv)}, with this command line:")
    for line in changes.lines_of_help(values["config"].value):
        print(line)


def define_config(argv: list[str], values: flags.FlagValues) -> list[str]:
    """Defines the flag `config`, with all options of the model that the command line names.

    Args:
      argv: the command and its arguments.
      values: the flags, to which the flag is added.

    Returns:
      The command line without `--config FILE`.

    Raises:
      UserError: for a file that does not give a config, or an unknown setting.
    """
    from gen_jax.cli import changes  # slow to import
    from gen_jax.models import complete_settings
    from gen_jax.storage.registration import trusted_config

    config_flag = read_config_flags(argv)
    config = trusted_config(config_file(argv))
    name = config_flag.changes.get("model.name")
    if name is not None and "model" in config and name != config.model.get("name"):
        config.model = ConfigDict({"name": name})
    if "model" in config:
        config = complete_settings(config)
    removed = changes.prepare(config, config_flag.changes)
    rest = without_settings(config_flag.rest, removed)
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=rest)
    return rest


def without_settings(arguments: list[str], removed: set[str]) -> list[str]:
    """Returns arguments without the arguments that change a removed setting.

    Args:
      arguments: the arguments.
      removed: the removed settings.
    """
    other_arguments: list[str] = []
    queue = [*arguments]
    while queue:
        argument = queue.pop(0)
        flag, equals, _ = argument.partition("=")
        if flag.startswith(("--config.", "-config.")) and flag.partition(".")[2] in removed:
            del queue[: 0 if equals else 1]
            continue
        other_arguments.append(argument)
    return other_arguments


def read_config_flags(argv: list[str]) -> ConfigFlags:
    """Returns the flags of a command line that concern the config.

    Args:
      argv: the command and its arguments.
    """
    file, changes, arguments = None, {}, []
    queue = [*argv]
    while queue:
        argument = queue.pop(0)
        flag, equals, value = argument.partition("=")
        if not equals and queue:
            value = queue[0]
        if flag in ("--config", "-config"):
            file = value or file
            del queue[: 0 if equals else 1]
            continue
        arguments.append(argument)
        if flag.startswith(("--config.", "-config.")):
            changes[flag.partition(".")[2]] = value
    return ConfigFlags(file, changes, arguments)


def config_file(argv: list[str]) -> Path:
    """Returns the config file that a command line names.

    Args:
      argv: the command and its arguments.

    Raises:
      UserError: if the command line names no file, or a file that does not exist.
    """
    file = read_config_flags(argv).file
    if file is None:
        raise UserError(f"--config is missing; expected a file, for example --config {EXAMPLES['config']}")
    path = Path(file)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*.py")], 5, 0)
        hint = f". The nearest names in {path.parent} are {', '.join(near)}" if near else ""
        raise UserError(f"no config file {str(path)!r}; expected a file that exists{hint}")
    return path


def read_arguments(argv: list[str], values: flags.FlagValues) -> list[str]:
    """Reads a command line into flags, and returns the arguments that are not flags.

    Args:
      argv: the command and its arguments.
      values: the flags.

    Raises:
      UserError: for an unknown flag, or a value of a wrong type.
    """
    try:
        return values(argv)[1:]
    except flags.IllegalFlagValueError as error:
        name, value = str(error).removeprefix("flag --").split(": ")[0].split("=", 1)
        setting = name.removeprefix("config.")
        own_flag = setting == name
        expected = values[name].flag_type() if own_flag else kind_of(values["config"].value, setting, value)
        raise UserError(f"--{name} is {value}; expected {expected}") from None
    except flags.UnrecognizedFlagError as error:
        name = error.flagname
        raise UserError(f"unknown flag {name!r}; expected a flag that --help lists{nearest(name, values)}") from None
    except flags.Error as error:
        raise UserError(f"the command line is not readable ({error}); expected flags as --name=value") from None


def place_arguments(arguments: list[str], positional: Sequence[str], values: flags.FlagValues) -> None:
    """Gives arguments without a name to the positional flags.

    Args:
      arguments: arguments without a name.
      positional: names of the positional flags.
      values: the flags.

    Raises:
      UserError: if there are more arguments than positional flags.
    """
    for index, name in enumerate(positional[: len(arguments)]):
        takes_all = isinstance(values[name].value, list)
        already: Any = values[name].value
        values[name].value = [*already, *arguments[index:]] if takes_all else arguments[index]
        if takes_all:
            return
    if len(arguments) > len(positional):
        raise UserError(f"unexpected argument {arguments[len(positional)]!r}; expected flags as --name=value")


def refuse_missing(required: str | None, positional: Sequence[str], usage: list[str], values: flags.FlagValues) -> None:
    """Refuses a command line that lacks a required flag.

    Args:
      required: the flag that must be given, or None.
      positional: names of the positional flags.
      usage: required arguments in the form of a line of usage.
      values: the flags.

    Raises:
      UserError: for the first missing flag.
    """
    if required and values[required].value is None:
        raise UserError(f"--{required} is missing; expected a value, for example --{required} {EXAMPLES[required]}")
    for name in positional:
        if not values[name].value:
            raise UserError(f"{name} is missing; expected {' '.join(usage)}")


def kind_of(config: ConfigDict, setting: str, text: str) -> str:
    """Returns in words which values a setting may have.

    Args:
      config: the config.
      setting: the setting.
      text: the value that it cannot have.
    """
    *sections, name = setting.split(".")
    for section in sections:
        config = config[section]
    value = config[name]
    if isinstance(value, ConfigDict) and "name" in value:
        return f"a name, as in --config.{setting}.name={text}"
    if isinstance(value, ConfigDict):
        return f"one of its settings, for example --config.{setting}.{next(iter(value))}=VALUE"
    kind = config.get_type(name).__name__
    return kind if value is None else f"{kind}, as in {value!r}"


def integer(name: str, text: str | None, low: int = 0) -> int | None:
    """Returns the value of an optional whole-number flag; None if it is unset.

    Args:
      name: name of the flag.
      text: its text; None if it is unset.
      low: smallest value; by default 0.

    Raises:
      UserError: for anything but a whole number of at least `low`.
    """
    if text is None:
        return None
    value = whole_number(text)
    if value is None or value < low:
        raise UserError(f"--{name} is {text[:80]}; expected a whole number, at least {low}")
    return value


def number(name: str, text: str | None) -> int | float | None:
    """Returns the value of an optional flag that is a number; None if it is unset.

    Args:
      name: name of the flag.
      text: its text; None if it is unset.

    Raises:
      UserError: for a text that is not a number.
    """
    for kind in (int, float):
        with suppress(ValueError):
            return None if text is None else kind(text)
    raise UserError(f"--{name} is {text}; expected a number")


def output_file(text: str | None, example: str, suffixes: tuple[str, ...]) -> Path:
    """Returns the file that `--out` names.

    Args:
      text: value of `--out`, or None.
      example: a file name, for the error.
      suffixes: possible suffixes.

    Raises:
      UserError: if the file is missing, or has another suffix.
    """
    if text is None:
        raise UserError(f"--out is missing; expected a file, for example --out {example}")
    choose("file type of --out", Path(text).suffix, suffixes)
    return Path(text)


def check_bounds(values: flags.FlagValues, limits: Mapping[str, tuple[int, int]]) -> None:
    """Refuses whole-number flags outside their limits.

    Args:
      values: the flags.
      limits: smallest and largest value of each flag.

    Raises:
      UserError: with the flag, its value and the expected value.
    """
    for name, (low, high) in limits.items():
        value = getattr(values, name)
        if not low <= value <= high:
            raise UserError(f"--{name} is {value}; expected {low} to {high}")
