"""TensorBoard events of metrics and samples."""

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
    """Hides a module that is not imported yet from those that would import it."""
    loaded = sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None refuses the import
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
