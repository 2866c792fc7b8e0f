"""Prepares a config for the changes of a command line, so that each change can be set as a typed flag.

A config names the options that it needs. A command line may also set every other option of the chosen net, optimizer,
cell or loss. It may change a `name`, which removes the options of the old name. It may replace a number by a schedule
or a schedule by a number, and remove an option, or unset a setting that may be unset, by `=None`.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from gen_jax.config import MEANINGS, base_config, flat, setting_of
from gen_jax.errors import UserError, choose
from gen_jax.models import MODELS
from gen_jax.registry import Choices, choices_of, options_of, pick

FAMILY = Choices(MODELS, 1)
ENTRY = re.compile(r"  ([a-z_0-9]+(?:, [a-z_0-9]+)*): (.*)")  # entry of an option in a docstring
SENTENCE_END = re.compile(r"(?<!et al)[.] ")
MOVING = {"start": placeholder(float), "stop": placeholder(float), "examples": placeholder(int), "shape": "cosine"}


class Slot(NamedTuple):
    """Describes the place of a setting of the model."""

    section: ConfigDict  # section that holds the setting
    option: str
    choices: Choices | None  # possible values, if the setting is a part with options or may be a schedule
    inner: bool  # whether the section is a part of the model instead of the model itself


def prepare(config: ConfigDict, changes: Mapping[str, str]) -> set[str]:
    """Changes a config so that each change of a command line is the value of a setting that the config has.

    Args:
      config: the config, which is changed.
      changes: new text of each setting.

    Returns:
      The settings that need no flag because they are removed.

    Raises:
      UserError: for an unknown setting or name.
    """
    removed = set()
    for setting in sorted(changes, key=lambda setting: (not setting.endswith(".name"), setting.count("."))):
        if not setting.startswith("model.") or setting == "model.name":
            choose("config key", setting, flat(config, inner=True))
            if changes[setting] == "None" and flat(base_config()).get(setting, "") is None:
                config.update_from_flattened_dict({setting: None})
                removed.add(setting)
            continue
        slot = find(config, setting)
        text = changes[setting]
        if slot.option == "name" and slot.choices is not None:
            rename(slot, text, setting.rpartition(".")[0])
        elif text == "None":
            remove(slot)
            removed.add(setting)
        elif isinstance(slot.section[slot.option], ConfigDict) and is_number(text):
            with slot.section.unlocked(), slot.section.ignore_type():
                slot.section[slot.option] = float(text)
    return removed


def find(config: ConfigDict, setting: str) -> Slot:
    """Returns the place of a setting of the model. A missing option is added to the config.

    Args:
      config: the config.
      setting: the setting, such as `model.optimizer.b1`.

    Raises:
      UserError: for an unknown setting.
    """
    section, path, choices, schedules = config.model, setting.split(".")[1:], FAMILY, False
    for depth, option in enumerate(path):
        inner = depth > 0
        if option == "name" and inner and choices.table:
            return Slot(section, option, choices, inner)
        function, options = known_options(choices, section, schedules)
        if option not in section:
            place = setting.split(".")[: depth + 1]
            listed = {".".join([*place, other]) for other in {*options, *section}}
            choose("config key", ".".join([*place, option]), sorted(listed))
            set_free(section, option, setting_of(options[option]))
        below = choices_of(function).get(option) if function else None
        schedules = choices.schedules or (below is not None and below.schedules)
        if depth == len(path) - 1:
            return Slot(section, option, below, inner)
        value = section[option]
        if not isinstance(value, ConfigDict):
            value = opened(section, option, below, schedules, setting)
        section, choices = value, below if below is not None and below.table else Choices({}, schedules=schedules)
    raise AssertionError(setting)


def known_options(
    choices: Choices, section: ConfigDict, schedule: bool
) -> tuple[Callable | None, dict[str, inspect.Parameter]]:
    """Returns the function that a section names, and the options that the section may have.

    Args:
      choices: possible names of the section.
      section: section of the config.
      schedule: whether a section without a name is a schedule.
    """
    name = section.get("name")
    if not choices.table or name is None:
        fields = {**MOVING, "epochs": placeholder(float)} if schedule else {}
        return None, {
            field: inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=value)
            for field, value in fields.items()
        }
    return pick("name", choices.table, name), options_of(choices, name)


def opened(section: ConfigDict, option: str, choices: Choices | None, schedules: bool, setting: str) -> ConfigDict:
    """Replaces a value whose inner settings a command line names by an empty section, and returns the section.

    Args:
      section: section of the config.
      option: name of the option.
      choices: possible values of the option, or None.
      schedules: whether the option may be a schedule.
      setting: the setting, for the error.

    Raises:
      UserError: for a value that has no inner settings.
    """
    if choices is not None and choices.table:
        set_free(section, option, ConfigDict({"name": placeholder(str)}))
    elif schedules:
        set_free(section, option, ConfigDict(MOVING))
    else:
        raise UserError(
            f"--config.{setting} is a setting of {option} {section[option]!r}; expected a part that has settings"
        )
    return section[option]


def rename(slot: Slot, name: str, part: str) -> None:
    """Changes the name of a part. The old options are removed, except options that the new part requires.

    Args:
      slot: place of the name.
      name: the new name.
      part: the setting that has this name, for the error.

    Raises:
      UserError: for an unknown name.
    """
    if slot.choices is None or slot.section.get("name") == name:
        return
    if ":" not in name:
        choose(part.rpartition(".")[2], name, slot.choices.table)
    options = options_of(slot.choices, name)
    needed = [option for option, parameter in options.items() if parameter.default is parameter.empty]
    for option in [*slot.section]:
        if option not in needed:
            del slot.section[option]
    slot.section["name"] = name


def remove(slot: Slot) -> None:
    """Removes an option of a part, or gives an option of the model its default.

    Args:
      slot: place of the option.
    """
    option, section = slot.option, slot.section
    if not slot.inner:
        parameter = options_of(FAMILY, section.name)[option]
        set_free(section, option, setting_of(parameter))
        return
    del section[option]


def set_free(section: ConfigDict, option: str, value: Any) -> None:
    """Sets a setting to a value of any type.

    Args:
      section: section of the config.
      option: name of the option.
      value: the value.
    """
    with section.unlocked(), section.ignore_type():
        if option in section:
            del section[option]
        section[option] = value


def is_number(text: str) -> bool:
    """Returns whether a text is a number that `float` reads, which includes `nan` and `inf`.

    Args:
      text: the text.
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def lines_of_help(config: ConfigDict) -> list[str]:
    """Returns a line for each setting of a config and for each option of its parts: name, value and meaning.

    Args:
      config: the config.
    """
    lines = []
    for setting, value in flat(config).items():
        if not setting.startswith(("model.", "registered.")):
            lines.append(line_of_help(setting, value, MEANINGS.get(setting, "")))
    if config.model.get("name") is not None:
        lines += model_lines(config.model, FAMILY, "model")
    return lines


def model_lines(section: ConfigDict, choices: Choices, place: str) -> list[str]:
    """Returns the lines of a part of a model and of the parts in it.

    Args:
      section: section of the config.
      choices: possible names of the section.
      place: the setting that is this section.
    """
    lines = [line_of_help(f"{place}.name", section.get("name"), f"one of {', '.join(choices.table)}")]
    function, options = known_options(choices, section, False)
    meanings = meanings_of(function)
    inner = {} if function is None else choices_of(function)
    for option, parameter in options.items():
        value = section[option] if option in section else default_of(parameter)
        meaning = meanings.get(option, "clip the gradient to this global norm" if option == "clip_norm" else "")
        part = inner.get(option)
        if isinstance(value, ConfigDict) and part is not None and part.table and value.get("name") is not None:
            lines += model_lines(value, part, f"{place}.{option}")
            continue
        if part is not None and part.table:
            meaning = f"{meaning} (.name: {', '.join(part.table)})"
        for setting, single in flat({option: value}).items():
            lines.append(line_of_help(f"{place}.{setting}", single, meaning))
    return lines


def line_of_help(setting: str, value: Any, meaning: str) -> str:
    """Returns a setting, its value and its meaning as one line.

    Args:
      setting: the setting.
      value: its value.
      meaning: its meaning; empty if it is unknown.
    """
    shown = "unset" if value is None else ",".join(map(str, value)) if isinstance(value, list | tuple) else value
    return f"  --config.{setting}={shown}" + (f"  {meaning}" if meaning else "")


def default_of(parameter: inspect.Parameter) -> Any:
    """Returns the default of an option; None if it has no default.

    Args:
      parameter: the option.
    """
    if isinstance(parameter.default, Mapping):
        return ConfigDict(dict(parameter.default))
    return None if parameter.default is parameter.empty else parameter.default


def meanings_of(function: Callable | None) -> dict[str, str]:
    """Returns the first sentence about each option in the docstring of a function or a net.

    Args:
      function: the function or the net, or None.
    """
    text = inspect.getdoc(getattr(function, "func", function)) or "" if function is not None else ""
    meanings: dict[str, str] = {}
    inside, option = False, ""
    for line in text.splitlines():
        if not line.startswith(" "):
            inside = line.strip() in ("Args:", "Options:", "Attributes:")
            continue
        if not inside:
            continue
        entry = ENTRY.fullmatch(line)
        if entry:
            names, words = entry[1].split(","), entry[2]
            option = names[0].strip()
            meanings.update({name.strip(): words for name in names})
        elif option:
            meanings[option] += f" {line.strip()}"
    return {name: SENTENCE_END.split(words)[0].rstrip(".") for name, words in meanings.items()}
