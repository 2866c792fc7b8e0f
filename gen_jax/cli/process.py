"""Runs a command in a shell: errors in one line, exit codes, streams that nobody reads any more."""

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, TextIO

from gen_jax.devices.signals import INTERRUPTS
from gen_jax.errors import MOVES, UserError, printable
from gen_jax.storage.silence import silence


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


def command(main: Callable[[list[str]], None]) -> None:
    """Runs `main(argv)` as a shell command: a user's mistake is one line and its exit code, 2 for most, a signal 128 + its number."""

    def interrupt(number: int, frame: Any) -> None:
        INTERRUPTS.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    silence()  # for the rest of the process: threads of TensorStore may come after all else
    # A log is read while it is written.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # nothing has replaced it yet
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
