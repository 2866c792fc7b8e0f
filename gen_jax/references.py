"""References to objects by the place of their definition: `module:name`, or `file.py:name` for a file of the user."""

import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from gen_jax.errors import UserError

PLACE = ("parent", "name")  # fields of a Flax module that hold its place in another module
NOWHERE = "__main__"  # module of a notebook or a script, which no other process can import


def run_file(path: Path) -> ModuleType:
    """Runs a Python file of the user as a module, once in a process unless the file has changed.

    Objects that the file defines have its absolute path as `__module__`, so that `reference_of` can name them.

    Args:
      path: the file.

    Raises:
      Exception: any exception of the file.
    """
    name, stamp = str(path.resolve()), path.stat().st_mtime_ns
    module = sys.modules.get(name)
    if module is not None and getattr(module, "stamp_of_file", None) == stamp:
        return module
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file; expected a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    module.stamp_of_file = stamp  # type: ignore[attr-defined]
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def resolve(reference: str) -> Any:
    """Returns the object of a reference.

    Args:
      reference: `module:name` or `file.py:name`. The name may have dots.

    Raises:
      UserError: if the module, the file or the name does not exist, or if it cannot be run.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise UserError(f"reference is {reference!r}; expected module:name or file.py:name")
    try:
        target: Any = run_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:  # noqa: BLE001 (a user's file may raise anything)
        raise UserError(
            f"{place} of {reference!r} cannot be imported ({type(error).__name__}: {error}); expected a module or a "
            "file that runs"
        ) from None
    for part in name.split("."):
        if not hasattr(target, part):
            raise UserError(f"{place} has no {name!r}; expected the name of an object in it")
        target = getattr(target, part)
    return target


def place_of(thing: Any) -> str:
    """Returns `module:name` of a function or a class, or of the class of another object, for messages.

    Args:
      thing: the object.
    """
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}:{named.__qualname__}"


def reference_of(thing: Any) -> str | None:
    """Returns the reference of a function or a class; None if another process could not resolve it.

    Args:
      thing: the object.
    """
    if not hasattr(thing, "__qualname__"):
        return None
    reference = place_of(thing)
    if thing.__module__ == NOWHERE or "<" in thing.__qualname__:
        return None
    try:
        return reference if resolve(reference) is thing else None
    except UserError:
        return None


def described(value: Any) -> Any:
    """Returns an argument of a model in the form in which `config.json` stores it.

    Numbers, texts, and sections of them are not changed. A function or a class becomes its reference. An object that is
    a dataclass (as Flax modules are) becomes `{"object": reference, field: value, ...}`. Anything else becomes
    `{"object": None, "type": ...}`, which no other process can build.

    Args:
      value: the argument.
    """
    if isinstance(value, Mapping):
        return {key: described(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return [described(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, partial):
        inner = described(value.func)
        if isinstance(inner, str) and not value.args:
            return {"name": inner, **described(value.keywords)}
    reference = reference_of(value)
    if reference is not None:
        return reference
    home = None if isinstance(value, type) else reference_of(type(value))
    if home is not None and dataclasses.is_dataclass(value):
        fields = {
            field.name: described(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.init and field.name not in PLACE
        }
        return {"object": home, **fields}
    return {"object": None, "type": place_of(value)}


def lost_objects(settings: Any, place: str = "") -> list[str]:
    """Returns `setting (type)` for each object in stored settings that no process can build again.

    Args:
      settings: settings as `described` returns them.
      place: name of the settings; by default empty.
    """
    if isinstance(settings, list):
        settings = dict(enumerate(settings))
    if not isinstance(settings, Mapping):
        return []
    if "type" in settings and settings.get("object", "") is None:
        return [f"{place} ({settings['type']})"]
    lost = []
    for key, value in settings.items():
        lost += lost_objects(value, f"{place}.{key}" if place else str(key))
    return lost
