"""Errors of the user, each in one line. This file knows nothing of models, data or devices."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

CONTROLS = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]"
)  # control characters, and characters that change the direction of text
MOVES = re.compile("(\\n|\\r|\\x1b\\[A)*")
DIGITS = 18  # largest number of digits of a whole number that a user types


class UserError(ValueError):
    """Reports a mistake that the user can mend.

    Its message names the value, the expected value and the nearest choice.
    """

    code = 2  # exit code of the command; a subclass has its own code, so that scripts can tell mistakes apart


LISTED = 480  # largest number of letters of the choices that a message lists


def choose(subject: str, name: str, choices: Iterable[str]) -> str:
    """Returns a name if it is one of the choices.

    Args:
      subject: name of the thing, for the error.
      name: the name.
      choices: the choices.

    Raises:
      UserError: for another name, with the nearest choice and the list of choices.
    """
    choices = choices if isinstance(choices, Collection) else [*choices]
    if name in choices:
        return name
    hint = nearest(name, choices)
    listed = ", ".join(choices)
    if len(choices) > 16 and (hint or len(listed) > LISTED):
        listed = f"{len(choices)} names" + ("" if hint else f", such as {', '.join([*choices][:3])}")
    expected = f"one of {listed}" if len(choices) > 1 else listed or "none"
    raise UserError(f"unknown {subject} {name!r}; expected {expected}{hint}")


def nearest(name: str, choices: Iterable[str]) -> str:
    """Returns the last sentence of an error about an unknown name, which asks for the nearest choice.

    Args:
      name: the name.
      choices: the choices.

    Returns:
      The sentence, with the end of the sentence before it. Without a near choice it is empty.
    """
    near = difflib.get_close_matches(str(name), [*choices], 1)
    return f". Did you mean {near[0]!r}?" if near else ""


def first_line(error: BaseException) -> str:
    """Returns the first line of the text of an error, or the name of its type if it has no text.

    Args:
      error: the error.
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def whole_number(text: str) -> int | None:
    """Returns the whole number in a text of at most `DIGITS` digits; None for any other text.

    Args:
      text: the text.
    """
    return int(text) if text.isdecimal() and len(text) <= DIGITS else None


@contextmanager
def readable(path: str, expected: str) -> Iterator[None]:
    """Reports in one line that a file cannot be read, because a damaged file makes its reader raise any exception.

    Args:
      path: name of the file.
      expected: the expected kind of file, such as `an image`.

    Raises:
      UserError: for any exception of the body. The message has the reason.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} is not readable ({reason}); expected {expected}") from None


def check_share(name: str, value: Any) -> None:
    """Refuses a value that is not a share below 1, such as a rate of dropout.

    Args:
      name: name of the value.
      value: the value.

    Raises:
      UserError: for such a value.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < 1:
        raise UserError(f"{name} is {value}; expected a share from 0 to below 1")


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """Refuses a value that is not a whole number of at least `least`.

    Args:
      name: name of the value.
      value: the value.
      least: smallest number; by default 1.

    Raises:
      UserError: for such a value.
    """
    if not isinstance(value, Integral) or value < least:
        raise UserError(f"{name} is {value}; expected a whole number, at least {least}")


def printable(text: str, allowed_controls: str = "\n\t") -> str:
    """Returns a text with escape sequences instead of its control characters, except for given characters.

    Names and levels in a file from another person may contain control characters, which a terminal obeys.

    Args:
      text: the text.
      allowed_controls: control characters that stay; by default newline and tab.
    """
    return CONTROLS.sub(lambda found: found[0] if found[0] in allowed_controls else ascii(found[0])[1:-1], text)


def check_strengths(**strengths: float) -> None:
    """Refuses a negative pseudo-count or similar number.

    Args:
      **strengths: numbers by name.

    Raises:
      UserError: for the first negative number.
    """
    for name, value in strengths.items():
        if value < 0:
            raise UserError(f"{name} is {value}; expected at least 0, which is no prior")
