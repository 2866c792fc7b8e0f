"""Writes TensorBoard events of metrics and samples."""

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import indent
from typing import Any

from PIL import Image

from gen_jax.files import writing


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """Hides a module that is not imported yet, so that other modules cannot import it."""
    loaded = sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None refuses the import
    try:
        yield
    finally:
        if loaded is None:
            del sys.modules[name]


@contextmanager
def _tensorboard(folder: Path, purge_step: int) -> Iterator[Callable[[int, Any], None]]:
    """Yields a function (step, summary) that writes a TensorBoard event.

    Events of earlier files from `purge_step` on become void. The SummaryWriter of tensorboardX is not used, because it
    has a thread. A full disk ends this thread, and the run would then wait for ever.
    """
    with _absent("torch"):  # because tensorboardX would import PyTorch, which takes seconds
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
    """Returns numbers as a TensorBoard summary, with one section for the metrics of a step and one for scores.

    Standard errors are in the section of their metric.
    """
    from tensorboardX.proto.summary_pb2 import Summary

    known = {name: value for name, value in values.items() if value is not None}
    parts = {name: "step" if name.removesuffix("_se") in metrics else "scores" for name in known}
    tags = (Summary.Value(tag=f"{parts[name]}/{name}", simple_value=value) for name, value in known.items())
    return Summary(value=tags)


def _samples(files: dict[str, bytes]) -> Any:
    """Returns the picture and the text among files of samples as a TensorBoard summary."""
    from tensorboardX import summary
    from tensorboardX.proto.summary_pb2 import Summary

    message = Summary()
    if ".png" in files:
        picture = Image.open(io.BytesIO(files[".png"]))
        facts = {"width": picture.width, "height": picture.height, "colorspace": len(picture.getbands())}
        message.value.add(tag="samples", image=Summary.Image(**facts, encoded_image_string=files[".png"]))
    if ".txt" in files:
        message.MergeFrom(summary.text("samples", indent(files[".txt"].decode(), "    ")))  # a code block of Markdown
    return message
