"""Builds the part of a model that a config names or a program passes: a function by name, or an object of the user."""

import functools
import inspect
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, NamedTuple

from gen_jax.errors import UserError, choose
from gen_jax.references import PLACE, resolve


class Choices(NamedTuple):
    """Describes the possible values of an argument of a family, in its annotation `Annotated[..., Choices(...)]`.

    Attributes:
      table: name -> function of options; empty for a number that may be a schedule.
      facts: number of arguments that the model itself gives to the function; by default 0.
      others: further options that are not parameters of the function, with their defaults; by default none.
      schedules: whether numbers among the options may be schedules; by default False.
    """

    table: Mapping[str, Callable]
    facts: int = 0
    others: Mapping[str, Any] = {}
    schedules: bool = False


SCHEDULE = Choices({}, schedules=True)  # a number or a schedule


def choices_of(function: Callable) -> dict[str, Choices]:
    """Returns the arguments of a family that are parts with a name and options, or may be schedules.

    Args:
      function: the function.
    """
    parameters = inspect.signature(function).parameters.values()
    return {
        parameter.name: fact
        for parameter in parameters
        for fact in getattr(parameter.annotation, "__metadata__", ())
        if isinstance(fact, Choices)
    }


def options_of(choices: Choices, name: str) -> dict[str, inspect.Parameter]:
    """Returns the options of the function that a name stands for. `**options` of the function are not listed.

    Args:
      choices: the possible names.
      name: the name.

    Raises:
      UserError: for an unknown name.
    """
    parameters = [*inspect.signature(pick("name", choices.table, name)).parameters.values()][choices.facts :]
    open_ended = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    options = {each.name: each for each in parameters if each.kind not in open_ended and each.name not in PLACE}
    for option, default in choices.others.items():
        options[option] = inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default)
    return options


def epochs_as_examples(options: Any, rows: int) -> Any:
    """Returns options in which each schedule that counts epochs counts examples. Other options are unchanged.

    Args:
      options: options of a model, or a part of them.
      rows: number of rows of an epoch.

    Raises:
      UserError: for a schedule with both, with epochs that are no number above 0, or without rows.
    """
    if not isinstance(options, Mapping):
        return options
    parts = {name: epochs_as_examples(part, rows) for name, part in options.items()}
    if {"start", "stop"} & parts.keys() and parts.get("epochs") is not None:
        epochs = parts.pop("epochs")
        if parts.get("examples") is not None:
            raise UserError(
                f"a schedule has epochs {epochs} and examples {parts['examples']}; expected one of them. Set the other one "
                "to None"
            )
        if isinstance(epochs, bool) or not isinstance(epochs, Real) or not 0 < float(epochs) < 2**31:
            raise UserError(f"epochs of a schedule is {epochs}; expected a number above 0")
        examples = float(epochs) * rows
        if not 0 < examples < 2**31:
            raise UserError(
                f"epochs of a schedule is {epochs} and the training split has {rows} rows; expected 1 to {2**31 - 1} "
                "examples. Set examples instead"
            )
        return {**parts, "examples": max(1, round(examples))}
    return parts if any(parts[name] is not part for name, part in options.items()) else options


def build(part: str, choices: Mapping[str, Callable], options: Any, *args) -> Any:
    """Builds one part of a model.

    Args:
      part: name of the part, for the errors.
      choices: functions by name.
      options: the part. `{"name": NAME, **options}` calls the function in `choices`, or of a reference `module:name`,
        with `args` and the options. `{"object": reference, **options}` calls the referenced object with the options
        alone. A function or a class is called with `args`. Any other object is returned unchanged.
      *args: facts that the model gives to the part.

    Raises:
      UserError: for an unknown name, an unknown option, or a missing option.
    """
    if isinstance(options, str):
        options = {"name": options}
    if not isinstance(options, Mapping):
        if not is_builder(options):
            return options
        refuse_other_signature(part, options, args)
        return options(*args)
    options = dict(options)
    if "object" in options:
        if options["object"] is None:
            raise UserError(
                f"{part} is {options.get('type')}, an object that only the program that made it has; expected a name, "
                "or module:name"
            )
        reference = options.pop("object")
        return call(part, reference, resolve(reference), options, ())
    if options.get("name") is None:
        raise UserError(f"name of {part} is missing; expected one of {', '.join(choices)}")
    name = options.pop("name")
    return call(part, name, pick(part, choices, name), options, args)


def refuse_other_signature(part: str, function: Callable, args: tuple) -> None:
    """Raises UserError if a function or a class in the place of a part cannot be called with the facts of the model.

    Args:
      part: name of the part, for the errors.
      function: the function or the class.
      args: facts that the model gives to the part.
    """
    name = getattr(function, "__name__", type(function).__name__)
    try:
        signature = inspect.signature(function)
        fields = [parameter for parameter in signature.parameters.values() if parameter.name not in PLACE]
        signature.replace(parameters=fields).bind(*args)
    except TypeError as error:
        facts = ", ".join(type(fact).__name__ for fact in args) or "nothing"
        raise UserError(
            f"{part} {name} cannot be called with the facts of the model ({facts}): {error}; expected an object, such as "
            f"{name}(...), or a function of these facts that returns one"
        ) from None
    except ValueError:  # a builtin without a signature
        return


def pick(part: str, choices: Mapping[str, Any], value: Any) -> Any:
    """Returns the value of a name in `choices`, the object of a reference `module:name`, or an object itself.

    Args:
      part: name of the part, for the errors.
      choices: functions by name.
      value: a name, a reference or an object.

    Raises:
      UserError: for an unknown name.
    """
    if not isinstance(value, str):
        return value
    if value not in choices and ":" in value:
        return resolve(value)
    return choices[choose(part, value, choices)]


def function_of(part: str, choices: Mapping[str, Callable], value: Any, inputs: str) -> Callable:
    """Returns the function of a name in `choices`, of a reference `module:name`, or a function of the user.

    Args:
      part: name of the part, for the errors.
      choices: functions by name.
      value: a name, a reference or a function.
      inputs: names of the arguments of the function.

    Raises:
      UserError: for an unknown name, or an object that is no function of so many arguments.
    """
    function = pick(part, choices, value)
    if not callable(function):
        raise UserError(f"{part} is {function!r}; expected a function ({inputs}), or a name: {', '.join(choices)}")
    refuse_other_arguments(part, function, inputs)
    return function


def refuse_other_arguments(part: str, function: Callable, inputs: str) -> None:
    """Refuses a function of another number of arguments.

    Args:
      part: name of the function, for the error.
      function: the function.
      inputs: names of its arguments, with commas between them.

    Raises:
      UserError: for such a function.
    """
    try:
        inspect.signature(function).bind(*inputs.split(", "))
    except TypeError as error:
        raise UserError(f"{part} {getattr(function, '__name__', function)}: {error}; expected ({inputs})") from None
    except ValueError:  # a builtin without a signature
        return


def is_builder(thing: Any) -> bool:
    """Returns whether a part must still be built by a call: a class or a function.

    Args:
      thing: the part.
    """
    return isinstance(thing, type | functools.partial) or inspect.isroutine(thing)


def call(part: str, name: str, function: Callable, options: Mapping[str, Any], args: tuple) -> Any:
    """Calls a function with its options.

    Args:
      part: name of the part, for the errors.
      name: name of the function, for the errors.
      function: the function.
      options: its options.
      args: its first arguments.

    Returns:
      The result of the function.

    Raises:
      UserError: for an unknown option, or a missing option.
    """
    parameters = dict(list(inspect.signature(function).parameters.items())[len(args) :])
    open_ended = any(facts.kind is facts.VAR_KEYWORD for facts in parameters.values())
    for option in options:
        if not open_ended:
            choose(f"option of {part} {name!r}", option, parameters)
    missing = [
        parameter
        for parameter, facts in parameters.items()
        if facts.default is facts.empty and facts.kind not in (facts.VAR_KEYWORD, facts.VAR_POSITIONAL)
        if parameter not in options
    ]
    if missing:
        raise UserError(f"{part} {name!r} lacks {', '.join(missing)}; expected a value for each")
    return function(*args, **options)
