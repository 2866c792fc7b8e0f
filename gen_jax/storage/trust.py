"""Decides which code of the user a run may name, because loading a run from another person must not run code.

A config holds references `module:name` or `file.py:name` of the user's own nets, families and losses. A reference is
trusted if the user trains with it, in a config or a program. It is then stored in the user's folder of settings. A run
with another reference is refused, unless the environment variable `GEN_JAX_TRUST` lists it.
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
    """Yields the texts in settings that may be references: all texts with a colon, as `registry.pick` reads them.

    The `type` of an object that no other process has is only for messages.

    Args:
      settings: the settings.
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
    """Returns the references of a config: in its model, and among the names that it registers.

    Args:
      config: settings of the run.
    """
    return {*references_in(config.get("model", {})), *references_in(config.get("registered", {}))}


def store() -> Path:
    """Returns the file of the references that the user has trained with."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "gen_jax" / "trusted"


def trusted() -> set[str]:
    """Returns the trusted references. A folder to which other users may write holds no trusted references."""
    listed = {text.strip() for text in os.environ.get(VARIABLE, "").split(",")}
    with suppress(OSError, RuntimeError):  # because there may be no such file yet, or no home
        if only_mine(store().parent):
            listed.update(store().read_text().splitlines())
    return listed


def trust(config: Mapping[str, Any]) -> None:
    """Stores the references of a config that its user trains with.

    Args:
      config: settings of the run.
    """
    new = references_of(config) - trusted()
    if not new:
        return
    with suppress(OSError, RuntimeError):  # because a user without a home uses `GEN_JAX_TRUST`
        store().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with store().open("a") as file:
            file.writelines(f"{reference}\n" for reference in sorted(new))


def refuse_untrusted(config: Mapping[str, Any], workdir: Path) -> None:
    """Refuses a run that names code with which the user has not trained.

    Args:
      config: settings of the run.
      workdir: directory of the run, for the error.

    Raises:
      UserError: with the first such reference, and the setting that trusts it.
    """
    unknown = sorted(references_of(config) - trusted())
    if unknown:
        raise UserError(
            f"{workdir} names the code {unknown[0]}, which loading would run; expected code that this user has "
            f"trained with. If you trust it, set {VARIABLE}={','.join(unknown)}"
        )
