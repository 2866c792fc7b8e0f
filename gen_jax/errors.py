"""What a user can get wrong, said in one line. Nothing here knows models, data or devices."""

import difflib
import inspect
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any, TextIO

CONTROLS = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]"
)  # the last ones turn the direction of writing
MOVES = re.compile("(\\n|\\r|\\x1b\\[A)*")
DIGITS = 18  # of a whole number that a user types
INTERRUPTS: list[int] = []  # signals noted; an exception that a handler raises may be lost in a callback of XLA's


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


def build(what: str, choices: Mapping[str, Callable], options: Mapping[str, Any], *args) -> Any:
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


def printable(text: str, kept: str = "\n\t") -> str:
    """Returns a text whose control characters, but those that are kept, are written out.

    Names and levels of a received file may hold some, and a terminal obeys them.
    """
    return CONTROLS.sub(lambda found: found[0] if found[0] in kept else ascii(found[0])[1:-1], text)


def tolerant(stream: TextIO, bars: bool = False) -> SimpleNamespace:
    """A stream that drops what is written where nobody reads any more (`| head`), and writes `printable` text.

    Args:
      bars: whether bars of progress are drawn on it, which move the cursor by writes of their own.
    """

    def write(text: str) -> int:
        moves = bars and MOVES.fullmatch(text)
        with suppress(OSError):
            stream.write(text if moves else printable(text, "\n\t\r" if bars else "\n\t"))
        return len(text)

    def flush() -> None:
        with suppress(OSError):
            stream.flush()

    same = {name: getattr(stream, name) for name in dir(stream) if not name.startswith("_")}
    return SimpleNamespace(**{**same, "write": write, "flush": flush})


@contextmanager
def stop_requests(alone: bool = True) -> Iterator[Callable[[], int]]:
    """Turns SIGINT and SIGTERM into a number that the loop asks for after each step, 0 where none came.

    A second one interrupts at once.

    Of several processes SIGTERM is left to JAX, which tells all of them, and SIGINT becomes one.
    """
    asked = []

    def note(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        with suppress(OSError):  # print may not be entered twice, and the reader may be gone
            os.write(2, b"\nstopping after this step; once more to stop at once\n")
        if not alone:
            os.kill(os.getpid(), signal.SIGTERM)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)[: 1 + alone]}
    if INTERRUPTS:
        raise KeyboardInterrupt
    try:
        yield lambda: asked[0] if asked else 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def command(main: Callable[[list[str]], None]) -> None:
    """Runs `main(argv)` as a shell command: a user's mistake is one line and its exit code, 2 for most, a signal 128 + its number."""

    def interrupt(number: int, frame: Any) -> None:
        INTERRUPTS.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    # a save that fails is said in one line: not again by asyncio, nor by threads of TensorStore's that come too late
    logging.getLogger("asyncio").disabled = True
    sys.unraisablehook = lambda found: found.object is None or sys.__unraisablehook__(found)
    sys.stdout.reconfigure(line_buffering=True)  # a log is read while it is written
    sys.stdout, sys.stderr = tolerant(sys.stdout), tolerant(sys.stderr, bars=True)
    try:
        main(sys.argv)
    except UserError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        sys.exit(error.code)
    except (OSError, MemoryError) as error:
        said = printable(" ".join(str(error).split()), "")[:500]
        print(f"error: {'not enough memory: ' * isinstance(error, MemoryError)}{said}", file=sys.stderr)
        sys.exit(UserError.code)
    except KeyboardInterrupt:
        print("\ninterrupted: nothing was left half written", file=sys.stderr)
        sys.exit(128 + (INTERRUPTS or [signal.SIGINT])[0])


def check_strengths(**strengths: float) -> None:
    """Raises where a pseudo-count or the like is negative."""
    for name, value in strengths.items():
        if value < 0:
            raise UserError(f"{name} {value}: expected at least 0, which is no prior")
