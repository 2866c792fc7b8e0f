"""What a user can get wrong, said in one line. Nothing here knows models, data or devices."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

CONTROLS = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]"
)  # the last ones turn the direction of writing
MOVES = re.compile("(\\n|\\r|\\x1b\\[A)*")
DIGITS = 18  # of a whole number that a user types


class UserError(ValueError):
    """A mistake the user can mend: its message names the value, what was expected and the nearest right choice."""

    code = 2  # that the command exits with; a subclass is a mistake that scripts tell from others


def choose(what: str, name: str, choices: Iterable[str]) -> str:
    """Returns `name` if it is one of `choices`.

    Raises:
      UserError: naming the choices, the nearest one first.
    """
    choices = choices if isinstance(choices, Collection) else [*choices]
    if name in choices:
        return name
    near = difflib.get_close_matches(str(name), choices, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = f"choices are {', '.join(choices) or 'none'}" if len(choices) <= 16 or not near else ""
    raise UserError(f"unknown {what} {name!r}: {hint}{listed}")


def whole_number(text: str) -> int | None:
    """Returns the whole number that a text of at most `DIGITS` digits holds; None for any other text."""
    return int(text) if text.isdecimal() and len(text) <= DIGITS else None


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Says in one line that a file cannot be read: a torn file makes its reader raise all kinds of exceptions.

    Args:
      what: the file, and what it is not, as in `a.png: not a readable image`.

    Raises:
      UserError: for whatever the body raises; the message ends with the reason.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001
        raise UserError(f"{what} ({' '.join(str(error).split())[:200] or type(error).__name__})") from None


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """Raises UserError where a value is no whole number of at least `least`."""
    if not isinstance(value, int) or value < least:
        raise UserError(f"{name} {value}: expected a whole number, at least {least}")


def printable(text: str, kept: str = "\n\t") -> str:
    """Returns a text whose control characters, but those that are kept, are written out.

    Names and levels of a received file may hold some, and a terminal obeys them.
    """
    return CONTROLS.sub(lambda found: found[0] if found[0] in kept else ascii(found[0])[1:-1], text)


def check_strengths(**strengths: float) -> None:
    """Raises where a pseudo-count or the like is negative."""
    for name, value in strengths.items():
        if value < 0:
            raise UserError(f"{name} {value}: expected at least 0, which is no prior")
