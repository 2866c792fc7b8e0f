"""Which code of the user a run may name: loading a run that somebody sent must not run code.

A config holds references `module:name` or `file.py:name` of the user's own nets, families and losses. Training with a
reference, by a config or a program, says that it is trusted, and it is noted in the user's folder of settings. A run with
another reference is refused, unless the environment variable `GEN_JAX_TRUST` lists it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gen_jax.devices.startup import only_mine
from gen_jax.errors import UserError

VARIABLE = "GEN_JAX_TRUST"  # references, separated by commas


def references_in(settings: Any) -> Iterator[str]:
    """Yields the texts in settings that may be references: all that hold a colon, as `registry.pick` reads them.

    The `type` of an object that no other process has is for messages alone.
    """
    if isinstance(settings, Mapping):
        lost = settings.get("object", "") is None
        for name, value in settings.items():
            if not (lost and name == "type"):
                yield from references_in(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from references_in(value)
    elif isinstance(settings, str) and ":" in settings:
        yield settings


def references_of(config: Mapping[str, Any]) -> set[str]:
    """Returns the references of a config: of its model, and of the names that it registers."""
    return {*references_in(config.get("model", {})), *references_in(config.get("registered", {}))}


def store() -> Path:
    """Returns the file of the references that the user has trained with."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "gen_jax" / "trusted"


def trusted() -> set[str]:
    """Returns the trusted references. A folder that others may write to holds none."""
    listed = {text.strip() for text in os.environ.get(VARIABLE, "").split(",")}
    with suppress(OSError, RuntimeError):  # there is none yet, or no home
        if only_mine(store().parent):
            listed.update(store().read_text().splitlines())
    return listed


def trust(config: Mapping[str, Any]) -> None:
    """Notes the references of a config that its user trains with."""
    new = references_of(config) - trusted()
    if not new:
        return
    with suppress(OSError, RuntimeError):  # without a home, `GEN_JAX_TRUST` says what is trusted
        store().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with store().open("a") as file:
            file.writelines(f"{reference}\n" for reference in sorted(new))


def refuse_untrusted(config: Mapping[str, Any], workdir: Path) -> None:
    """Refuses a run that names code which the user has not trained with.

    Raises:
      UserError: naming the first reference, and how to trust it.
    """
    unknown = sorted(references_of(config) - trusted())
    if unknown:
        raise UserError(
            f"{workdir} names code that this user has not trained with, {unknown[0]}, which loading would run: if you trust "
            f"it, set {VARIABLE}={','.join(unknown)}"
        )
