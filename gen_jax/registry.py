"""Builds what a config names or a program passes: a function of a dictionary with its options, or the user's object."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from gen_jax.errors import UserError, choose
from gen_jax.references import resolve


def build(what: str, choices: Mapping[str, Callable], options: Any, *args) -> Any:
    """Builds one part of a model.

    Args:
      what: the part, for messages.
      choices: name -> function.
      options: `{"name": NAME, **options}`: the function that `choices` or a reference `module:name` has for this name is
        called with `args` and the remaining options. `{"object": reference, **options}`: what is referred to is called with
        the options alone. A function or a class: it is called with `args`. Any other object is returned as it is.
      *args: facts that the model gives to the part.

    Raises:
      UserError: for an unknown name, an option that the function does not take, or one that it lacks.
    """
    if isinstance(options, str):
        options = {"name": options}
    if not isinstance(options, Mapping):
        return options(*args) if is_builder(options) else options
    options = dict(options)
    if "object" in options:
        if options["object"] is None:
            raise UserError(f"{what} {options.get('type')} is an object that only the program that made it has")
        reference = options.pop("object")
        return call(what, reference, resolve(reference), options, ())
    if options.get("name") is None:
        raise UserError(f"{what} has no name; choices are {', '.join(choices)}")
    name = options.pop("name")
    return call(what, name, pick(what, choices, name), options, args)


def pick(what: str, choices: Mapping[str, Any], value: Any) -> Any:
    """Returns what a name stands for in `choices`, what a reference `module:name` refers to, or an object itself.

    Raises:
      UserError: for an unknown name.
    """
    if not isinstance(value, str):
        return value
    if value not in choices and ":" in value:
        return resolve(value)
    return choices[choose(what, value, choices)]


def is_builder(thing: Any) -> bool:
    """Returns whether a part is still to be built by a call: a class or a function."""
    return isinstance(thing, type | functools.partial) or inspect.isroutine(thing)


def call(what: str, name: str, function: Callable, options: Mapping[str, Any], args: tuple) -> Any:
    """Calls a function with its options.

    Raises:
      UserError: for an option that it does not take, or one that it lacks.
    """
    parameters = dict(list(inspect.signature(function).parameters.items())[len(args) :])
    open_ended = any(facts.kind is facts.VAR_KEYWORD for facts in parameters.values())
    for option in options:
        if not open_ended:
            choose(f"option of {what} {name!r}", option, parameters)
    missing = [
        parameter
        for parameter, facts in parameters.items()
        if facts.default is facts.empty and facts.kind not in (facts.VAR_KEYWORD, facts.VAR_POSITIONAL)
        if parameter not in options
    ]
    if missing:
        raise UserError(f"{what} {name!r} lacks {', '.join(missing)}")
    return function(*args, **options)
