"""Writes the log of a run: metrics.jsonl, TensorBoard events and the progress bar."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from gen_jax.files import own_file, write, writing
from gen_jax.storage.metrics_file import read_metrics
from gen_jax.training.tensorboard import _samples, _scalars, _tensorboard


class Log(NamedTuple):
    """Holds three functions: `record` logs numbers, `show` logs samples, and `tick` moves the progress bar."""

    record: Callable[[int, dict[str, float | None]], None]  # (step, numbers by name)
    show: Callable[[int, dict[str, bytes]], None]  # (step, files of samples by suffix)
    tick: Callable[[int], None]  # (step)


SILENT = Log(lambda step, values: None, lambda step, files: None, lambda step: None)


@contextmanager
def opened(workdir: Path, start: int, total: int, metrics: tuple[str, ...], quiet: bool) -> Iterator[Log]:
    """Yields the log of a run that continues after step `start`. Later lines of an interrupted run are dropped.

    Nothing is buffered and no thread writes, so that a full disk raises a UserError at once.

    Args:
      workdir: directory of the run.
      start: number of steps that are done.
      total: number of steps of the whole run.
      metrics: names of the metrics of a step. Other numbers are scores.
      quiet: whether lines are printed instead of a progress bar.
    """
    path = workdir / "metrics.jsonl"
    kept = [each for each in read_metrics(workdir) if each["step"] <= start]
    write(path, "".join(json.dumps(each) + "\n" for each in kept))
    before = kept[-1]["seconds"] if kept else 0.0
    began = time.perf_counter()
    pace = 0.2 if sys.stderr.isatty() else 5.0  # seconds
    quiet = quiet or sizeless(sys.stderr)
    bar = tqdm(total=total, initial=start, unit="step", disable=quiet, dynamic_ncols=True, mininterval=pace)
    bar.set_postfix_str("compiling")
    with _tensorboard(workdir / "tensorboard", start + 1) as event, bar:

        def record(step: int, values: dict[str, float | None]) -> None:
            seconds = round(before + time.perf_counter() - began, 3)
            with writing(path), open(path, "a", opener=own_file) as file:
                file.write(json.dumps({"step": step, "seconds": seconds, **values}, allow_nan=False) + "\n")
            event(step, _scalars(values, metrics))
            shown = {name: _short(value) for name, value in list(values.items())[:6]}
            bar.set_postfix(shown, refresh=False)
            if quiet:
                print(f"step {step}/{total} {seconds:.0f} s " + " ".join(f"{k}={v}" for k, v in shown.items()))

        def show(step: int, files: dict[str, bytes]) -> None:
            event(step, _samples(files))

        def tick(step: int) -> None:
            if bar.n == start:
                bar.set_postfix_str("", refresh=False)
            bar.update(step - bar.n)

        yield Log(record, show, tick)


def sizeless(stream: Any) -> bool:
    """Returns whether a stream is a terminal of 0 columns or 0 lines, on which tqdm shows no bar.

    Args:
      stream: the stream.
    """
    try:
        return stream.isatty() and 0 in os.get_terminal_size(stream.fileno())
    except (OSError, ValueError, AttributeError):  # a stream without a file
        return False


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
