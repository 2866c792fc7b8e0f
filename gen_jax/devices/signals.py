"""Signals that ask a run to stop, as a number that its loop reads."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

INTERRUPTS: list[int] = []  # signals noted; an exception that a handler raises may be lost in a callback of XLA's


@contextmanager
def stop_requests(alone: bool = True) -> Iterator[Callable[[], int]]:
    """Turns SIGINT and SIGTERM into a number that the loop asks for after each step, 0 where none came.

    A second one interrupts at once.

    Of several processes SIGTERM is left to JAX, which tells all of them, and SIGINT becomes one.
    """
    asked: list[int] = []

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
