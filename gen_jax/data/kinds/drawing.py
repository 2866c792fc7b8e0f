"""Figures of panels, which the pictures of several kinds of data share. Matplotlib is imported on first use."""

import warnings

import numpy as np
from PIL import Image

PANELS = 16  # largest number of sequences or columns in a picture


def new_figure(size: tuple[float, float], lines: int, columns: int):
    """Returns a figure and its panels [lines, columns].

    Args:
      size: width and height of the figure in inches.
      lines: number of rows of panels.
      columns: number of panels in a row.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = FigureCanvasAgg(Figure(figsize=size, dpi=100, layout="constrained")).figure
    return figure, figure.subplots(lines, columns, squeeze=False)


def new_panels(num: int, across: int | None = None, size: tuple[float, float] = (2.4, 1.8)):
    """Returns a figure and its panels [num].

    Args:
      num: number of panels.
      across: number of panels in a row; by default the panels form a square.
      size: width and height of a panel in inches; by default 2.4 x 1.8.
    """
    columns = across or int(np.ceil(np.sqrt(num)))
    lines = -(-num // columns)
    figure, panels = new_figure((size[0] * columns, size[1] * lines), lines, columns)
    for place, panel in enumerate(panels.flat):
        panel.tick_params(labelsize=6)
        panel.axison = place < num
    return figure, panels.flat[:num]


def panels_of(num: int, across: int | None = None, size: tuple[float, float] = (2.4, 2.0)):
    """Returns a figure and its panels [num], with room for titles and for names on the left and below.

    Args:
      num: number of panels.
      across: number of panels in a row; by default the panels form a square.
      size: width and height of a panel in inches; by default 2.4 x 2.0.
    """
    figure, panels = new_panels(num, across, size)
    figure.set_layout_engine(None)  # because a layout engine would take seconds
    width, height = figure.get_size_inches()
    room = {"left": 0.85 / width, "bottom": 0.55 / height, "right": 1 - 0.1 / width, "top": 1 - 0.25 / height}
    figure.subplots_adjust(**room, wspace=0.3, hspace=0.65)
    return figure, panels


def image_of(figure) -> Image.Image:
    """Returns a figure as an image. Letters that its font lacks are drawn as boxes.

    Args:
      figure: the figure.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
