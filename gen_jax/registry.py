"""Builds what a config names: a function of a dictionary, and its options."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from gen_jax.errors import UserError, choose


def build(what: str, choices: Mapping[str, Callable[..., Any]], options: Mapping[str, Any], *args: Any) -> Any:
    """Calls the function that `options["name"]` names in `choices` with `args` and the remaining options.

    Raises:
      UserError: for an unknown name, an option the function does not take, or one it lacks.
    """
    options = dict(options)
    if options.get("name") is None:
        raise UserError(f"{what} has no name; choices are {', '.join(choices)}")
    name = choose(what, options.pop("name"), choices)
    parameters = dict(list(inspect.signature(choices[name]).parameters.items())[len(args) :])
    for option in options:
        choose(f"option of {what} {name!r}", option, parameters)
    missing = [each for each, facts in parameters.items() if facts.default is facts.empty and each not in options]
    if missing:
        raise UserError(f"{what} {name!r} lacks {', '.join(missing)}")
    return choices[name](*args, **options)
