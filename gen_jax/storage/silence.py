"""Silences the messages of Orbax and TensorStore, because their failures are exceptions that are reported once."""

import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import LogRecord, getLogger
from typing import Any

from absl import logging  # imported before its logger is requested by name, so that it is absl's logger

LOOP_CLOSED = "Event loop is closed"  # error of a thread of TensorStore that ends after its reader has failed


@contextmanager
def silenced() -> Iterator[None]:
    """Silences Orbax while the body runs."""
    undo = silence()
    try:
        yield
    finally:
        undo()


def silence() -> Callable[[], None]:
    """Silences Orbax: its log of every save, and the tracebacks of its tasks and of TensorStore's threads.

    Messages of other packages stay.

    Returns:
      A function that undoes it.
    """
    loggers = logging.get_absl_logger(), getLogger("asyncio")
    before, active = sys.unraisablehook, [True]

    def passes(record: LogRecord) -> bool:
        return not is_of_orbax(record)

    def hook(unraisable: Any) -> None:
        if not (active and is_dropped_task(unraisable)):
            before(unraisable)

    def undo() -> None:
        active.clear()  # because the hook may stay, below the hook of another thread
        for logger in loggers:
            logger.removeFilter(passes)
        if sys.unraisablehook is hook:
            sys.unraisablehook = before

    for logger in loggers:
        logger.addFilter(passes)
    sys.unraisablehook = hook
    return undo


def is_of_orbax(record: LogRecord) -> bool:
    """Returns whether a log record comes from Orbax, or from asyncio about a task of Orbax.

    Args:
      record: the record.
    """
    return "orbax" in record.pathname or (record.name == "asyncio" and "orbax" in record.getMessage())


def is_dropped_task(unraisable: Any) -> bool:
    """Returns whether an error that cannot be caught comes from a task of Orbax or a thread of TensorStore.

    Args:
      unraisable: arguments of `sys.unraisablehook`.
    """
    if unraisable.object is None:
        return LOOP_CLOSED in str(unraisable.exc_value)
    code = getattr(unraisable.object, "cr_code", None)
    return code is not None and "orbax" in code.co_filename


def drop_failed_tasks() -> None:
    """Ends the failed tasks of Orbax while it is silenced.

    The tasks are in reference cycles, and print when they are collected.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # because some tasks were never started
        gc.collect()
