"""Turns signals that ask a run to stop into a number that the training loop reads."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

INTERRUPTS: list[int] = []  # received signals, because an exception of a handler may be lost in a callback of XLA


@contextmanager
def stop_requests(alone: bool = True) -> Iterator[Callable[[], int]]:
    """Yields a function that returns the number of the SIGINT or SIGTERM that came, and 0 if no signal came.

    The training loop calls it after each step. A second signal interrupts at once. In a thread other than the main
    thread, signals are not changed. If there are several processes, SIGTERM is left to JAX, which tells all processes,
    and SIGINT becomes SIGTERM.

    Args:
      alone: whether the run has only this process; by default True.
    """
    received_signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0  # because only the main thread may handle signals
        return

    def note(number: int, frame: Any) -> None:
        if received_signals:
            raise KeyboardInterrupt
        received_signals.append(number)
        with suppress(OSError):  # not print, which may not be entered twice; nobody may read the stream any more
            os.write(2, b"\nstopping after this step; once more to stop at once\n")
        if not alone:
            os.kill(os.getpid(), signal.SIGTERM)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)[: 1 + alone]}
    if INTERRUPTS:
        raise KeyboardInterrupt
    try:
        yield lambda: received_signals[0] if received_signals else 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
