"""Draws the curves of a run as a picture."""

import io
import math
from pathlib import Path

from gen_jax.files import write
from gen_jax.storage.metrics_file import read_metrics


def draw_curves(workdir: Path) -> None:
    """Draws every metric of `metrics.jsonl` over the step into `curves.png`, with one panel a metric.

    Args:
      workdir: directory of the run.
    """
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
