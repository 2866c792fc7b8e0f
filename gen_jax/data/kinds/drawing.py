"""Figures of panels, which the pictures of several kinds of data share. Matplotlib is imported when it is first needed."""

import warnings

import numpy as np
from PIL import Image

PANELS = 16  # sequences or columns drawn, at most


def new_figure(size: tuple[float, float], lines: int, columns: int):
    """Returns a figure of so many inches, and its panels [lines, columns]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = FigureCanvasAgg(Figure(figsize=size, dpi=100, layout="constrained")).figure
    return figure, figure.subplots(lines, columns, squeeze=False)


def new_panels(num: int, across: int | None = None, size: tuple[float, float] = (2.4, 1.8)):
    """Returns a figure and its panels [num].

    Args:
      num: number of panels.
      across: panels in a line; if None, as many as make a square.
      size: width and height of a panel in inches.
    """
    columns = across or int(np.ceil(np.sqrt(num)))
    lines = -(-num // columns)
    figure, panels = new_figure((size[0] * columns, size[1] * lines), lines, columns)
    for place, panel in enumerate(panels.flat):
        panel.tick_params(labelsize=6)
        panel.axison = place < num
    return figure, panels.flat[:num]


def panels_of(num: int, across: int | None = None, size: tuple[float, float] = (2.4, 2.0)):
    """Returns a figure and its panels [num] as `new_panels`, with room for titles, and for names on the left and below."""
    figure, panels = new_panels(num, across, size)
    figure.set_layout_engine(None)  # which would take seconds
    width, height = figure.get_size_inches()
    room = {"left": 0.85 / width, "bottom": 0.55 / height, "right": 1 - 0.1 / width, "top": 1 - 0.25 / height}
    figure.subplots_adjust(**room, wspace=0.3, hspace=0.65)
    return figure, panels


def image_of(figure) -> Image.Image:
    """Returns a figure as pixels; letters that its font lacks are boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
