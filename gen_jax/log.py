"""What a run leaves to be read: metrics.jsonl, TensorBoard events, curves, and the progress bar."""

import io
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import indent
from typing import Any, NamedTuple

from PIL import Image
from tqdm import tqdm

from gen_jax.files import own_file, write, writing


class Log(NamedTuple):
    """`record(step, values)` keeps one object of metrics; `show(step, files)` samples; `tick(step)` moves the bar."""

    record: Callable[[int, dict[str, float | None]], None]
    show: Callable[[int, dict[str, bytes]], None]
    tick: Callable[[int], None]


SILENT = Log(lambda step, values: None, lambda step, files: None, lambda step: None)


def read_metrics(workdir: Path) -> list[dict]:
    """The objects of `metrics.jsonl`, in order of step, up to the first line that is none, such as a last one that was cut off."""
    path = Path(workdir) / "metrics.jsonl"
    objects = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not _is_record(found):
            break
        objects.append(found)
    return objects


def _is_record(found: Any) -> bool:
    """Whether this is a step, the seconds that it took, and numbers or None by name."""
    if not isinstance(found, dict) or not isinstance(found.get("step"), int) or found.get("seconds") is None:
        return False
    return all(value is None or isinstance(value, int | float) for value in found.values())


@contextmanager
def opened(workdir: Path, start: int, total: int, metrics: tuple[str, ...], quiet: bool) -> Iterator[Log]:
    """The log of a run that continues after step `start`: what an interrupted run wrote beyond it is dropped.

    Nothing waits in a buffer or for a thread: a disk that is full is said at once, by a UserError.

    Args:
      metrics: those of a step; what else is recorded are scores.
    """
    path = workdir / "metrics.jsonl"
    kept = [each for each in read_metrics(workdir) if each["step"] <= start]
    write(path, "".join(json.dumps(each) + "\n" for each in kept))
    before = kept[-1]["seconds"] if kept else 0.0
    began = time.perf_counter()
    pace = 0.2 if sys.stderr.isatty() else 5.0  # seconds
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


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """Hides a module that is not imported yet from those that would import it."""
    loaded = sys.modules.setdefault(name, None)
    try:
        yield
    finally:
        if loaded is None:
            del sys.modules[name]


@contextmanager
def _tensorboard(folder: Path, purge_step: int) -> Iterator[Callable[[int, Any], None]]:
    """A function (step, summary) that writes a TensorBoard event; the events of earlier files from `purge_step` on are void.

    tensorboardX's SummaryWriter has a thread, which a full disk ends, and with it, for ever waiting, the run.
    """
    with _absent("torch"):  # tensorboardX would import PyTorch, for seconds
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

    def event(step: int, **content: Any) -> None:
        with writing(folder):
            writer.write_event(Event(wall_time=time.time(), step=step, **content))
            writer.flush()

    with writing(folder):
        folder.mkdir(exist_ok=True)
        writer = EventsWriter(str(folder / "events"), f".{purge_step}")
    try:
        event(purge_step, session_log=SessionLog(status=SessionLog.START))
        yield lambda step, summary: event(step, summary=summary)
    finally:
        with suppress(OSError):
            writer.close()


def _scalars(values: dict[str, float | None], metrics: tuple[str, ...]) -> Any:
    """Numbers as a TensorBoard summary: those of a step and their standard errors, and scores, in a section each."""
    from tensorboardX.proto.summary_pb2 import Summary

    known = {name: value for name, value in values.items() if value is not None}
    parts = {name: "step" if name.removesuffix("_se") in metrics else "scores" for name in known}
    tags = (Summary.Value(tag=f"{parts[name]}/{name}", simple_value=value) for name, value in known.items())
    return Summary(value=tags)


def _samples(files: dict[str, bytes]) -> Any:
    """The picture and the text among files of samples as a TensorBoard summary."""
    from tensorboardX import summary
    from tensorboardX.proto.summary_pb2 import Summary

    found = Summary()
    if ".png" in files:
        picture = Image.open(io.BytesIO(files[".png"]))
        facts = {"width": picture.width, "height": picture.height, "colorspace": len(picture.getbands())}
        found.value.add(tag="samples", image=Summary.Image(**facts, encoded_image_string=files[".png"]))
    if ".txt" in files:
        found.MergeFrom(summary.text("samples", indent(files[".txt"].decode(), "    ")))  # Markdown, as it stands
    return found


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
        panel.set_title(name, fontsize=10, parse_math=False)
        panel.grid(alpha=0.3)
        panel.tick_params(labelsize=8)
        panel.locator_params(axis="x", nbins=5)
    for panel in list(figure.axes)[len(names) :]:
        panel.set_axis_off()
    figure.supxlabel("step", fontsize=9, y=0.1 / height)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=100)
    write(workdir / "curves.png", picture.getvalue())
