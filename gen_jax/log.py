"""What a run leaves to be read: metrics.jsonl, TensorBoard events, curves, and the progress bar."""

import io
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from gen_jax.run import write


class Log(NamedTuple):
    """`record(step, values)` keeps one object of metrics; `show(step, files)` samples; `tick(step)` moves the bar."""

    record: Callable[[int, dict[str, float | None]], None]
    show: Callable[[int, dict[str, bytes]], None]
    tick: Callable[[int], None]


SILENT = Log(lambda step, values: None, lambda step, files: None, lambda step: None)


def read_metrics(workdir: Path) -> list[dict]:
    """The objects of `metrics.jsonl`, in order of step; a last line that was cut off is left out."""
    path = Path(workdir) / "metrics.jsonl"
    objects = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            objects.append(json.loads(line))
        except ValueError:
            break
    return objects


@contextmanager
def opened(workdir: Path, start: int, total: int, metrics: tuple[str, ...], quiet: bool) -> Iterator[Log]:
    """The log of a run that continues after step `start`: what an interrupted run wrote beyond it is dropped.

    Args:
      metrics: those of a step; what else is recorded are scores.
    """
    kept = [each for each in read_metrics(workdir) if each["step"] <= start]
    write(workdir / "metrics.jsonl", "".join(json.dumps(each) + "\n" for each in kept))
    before = kept[-1]["seconds"] if kept else 0.0
    began = time.perf_counter()
    events = _tensorboard(workdir / "tensorboard", start + 1)
    pace = 0.2 if sys.stderr.isatty() else 5.0  # seconds
    bar = tqdm(total=total, initial=start, unit="step", disable=quiet, dynamic_ncols=True, mininterval=pace)
    bar.set_postfix_str("compiling")
    with open(workdir / "metrics.jsonl", "a") as file, bar:

        def record(step: int, values: dict[str, float | None]) -> None:
            seconds = round(before + time.perf_counter() - began, 3)
            file.write(json.dumps({"step": step, "seconds": seconds, **values}) + "\n")
            file.flush()
            for name, value in values.items():
                if value is not None:
                    events.add_scalar(
                        f"{'step' if name.removesuffix('_se') in metrics else 'scores'}/{name}", value, step
                    )
            shown = {name: _short(value) for name, value in list(values.items())[:6]}
            bar.set_postfix(shown, refresh=False)
            if quiet:
                print(f"step {step}/{total} {seconds:.0f} s " + " ".join(f"{k}={v}" for k, v in shown.items()))

        def show(step: int, files: dict[str, bytes]) -> None:
            if ".png" in files:
                pixels = np.asarray(Image.open(io.BytesIO(files[".png"])).convert("RGB"))
                events.add_image("samples", pixels, step, dataformats="HWC")
            if ".txt" in files:
                events.add_text("samples", indent(files[".txt"].decode(), "    "), step)  # Markdown, as it stands

        def tick(step: int) -> None:
            if bar.n == start:
                bar.set_postfix_str("", refresh=False)
            bar.update(step - bar.n)

        try:
            yield Log(record, show, tick)
        finally:
            events.close()


def _tensorboard(folder: Path, purge_step: int):
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(folder), purge_step=purge_step)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def draw_curves(workdir: Path) -> None:
    """Draws every metric of `metrics.jsonl` against the step, one panel each, to `curves.png`."""
    from matplotlib.figure import Figure

    objects = read_metrics(workdir)
    names = list(dict.fromkeys(name for each in objects for name in each if name not in ("step", "seconds")))
    if not names:
        return
    columns = min(3, len(names))
    lines = math.ceil(len(names) / columns)
    width, height = 4 * columns, 2.6 * lines  # inches
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(0.6 / width, 0.55 / height, 1 - 0.2 / width, 1 - 0.35 / height, 0.25, 0.35)
    for panel, name in zip(figure.subplots(lines, columns, squeeze=False).flat, names):
        points = [(each["step"], each[name]) for each in objects if each.get(name) is not None]
        panel.plot(*zip(*points), linewidth=1, marker="." if len(points) < 30 else "")
        panel.set_title(name, fontsize=10)
        panel.grid(alpha=0.3)
        panel.tick_params(labelsize=8)
        panel.locator_params(axis="x", nbins=5)
    for panel in list(figure.axes)[len(names) :]:
        panel.set_axis_off()
    figure.supxlabel("step", fontsize=9, y=0.1 / height)
    path = workdir / ".curves.png"
    figure.savefig(path, dpi=100)
    os.replace(path, workdir / "curves.png")
