"""Runs a command in a shell: errors in one line, exit codes, and streams that nobody reads any more."""

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
    """Returns a stream that writes `printable` text, and drops text that nobody reads any more (`| head`).

    Args:
      stream: the stream.
      bars: whether progress bars are drawn on it, which move the cursor by separate writes; by default False.
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
    """Runs `main(argv)` as a shell command.

    A mistake of the user is one line and its exit code, mostly 2. For a signal the exit code is 128 plus its number.

    Args:
      main: function of the command and its arguments.
    """

    def interrupt(number: int, frame: Any) -> None:
        INTERRUPTS.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    silence()  # until the process ends, because threads of TensorStore may print last
    # Because a log is read while it is written, lines are not buffered.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # stdout is not replaced yet
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
