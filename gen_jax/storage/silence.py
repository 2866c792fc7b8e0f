"""Silences what Orbax and TensorStore print of their own work: failures are exceptions, and said once."""

import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import LogRecord, getLogger
from typing import Any

from absl import logging  # before its logger is asked for by name, so that it is absl's own

LOOP_CLOSED = "Event loop is closed"  # says a thread of TensorStore that is done after its reader has failed


@contextmanager
def silenced() -> Iterator[None]:
    """Silences Orbax while the body runs."""
    undo = silence()
    try:
        yield
    finally:
        undo()


def silence() -> Callable[[], None]:
    """Silences Orbax: its narration of every save, and the tracebacks of its tasks and of TensorStore's threads.

    What others print stays.

    Returns:
      A function that undoes it.
    """
    loggers = logging.get_absl_logger(), getLogger("asyncio")
    before, active = sys.unraisablehook, [True]

    def kept(record: LogRecord) -> bool:
        return not is_of_orbax(record)

    def hook(unraisable: Any) -> None:
        if not (active and is_dropped_task(unraisable)):
            before(unraisable)

    def undo() -> None:
        active.clear()  # the hook may stay, below that of another thread
        for logger in loggers:
            logger.removeFilter(kept)
        if sys.unraisablehook is hook:
            sys.unraisablehook = before

    for logger in loggers:
        logger.addFilter(kept)
    sys.unraisablehook = hook
    return undo


def is_of_orbax(record: LogRecord) -> bool:
    """Returns whether a line of a log is written by Orbax, or by asyncio about a task of Orbax."""
    return "orbax" in record.pathname or (record.name == "asyncio" and "orbax" in record.getMessage())


def is_dropped_task(unraisable: Any) -> bool:
    """Returns whether an error that nobody can catch is of a task of Orbax, or of a thread of TensorStore."""
    if unraisable.object is None:
        return LOOP_CLOSED in str(unraisable.exc_value)
    code = getattr(unraisable.object, "cr_code", None)
    return code is not None and "orbax" in code.co_filename


def drop_failed_tasks() -> None:
    """Ends the tasks of Orbax that have failed while it is silenced: they lie in cycles of references, and print as they end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tasks that were never begun
        gc.collect()
