"""Pictures of samples: grids, strips and animations of images, plots of vectors, series and recordings, piano rolls.

The kind of the data, a fact of the spec, decides how they are drawn; the same arrays give the same bytes.
"""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.statistics import parts, shares
from gen_jax.errors import choose

TILE = 56  # pixels a small image is enlarged to, at least
FRAME = 60  # milliseconds that an animation shows a frame; a GIF counts in tens of them


def picture(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Samples of the data's own domain as one PNG; a sequence is drawn up to its `length`.

    Raises:
      UserError: for data that has no picture.
    """
    x = samples["x"]
    if "length" in samples:
        x = np.where(_frames(samples["length"], x), x.astype(np.float64), np.nan)
    return _file([_drawn(PICTURES, spec)(x, spec)], "PNG")


def strip(x: np.ndarray, spec: Spec) -> bytes:
    """Paths [N, T, *shape] in the data's own domain as one PNG: images in N rows of T, vectors as N lines.

    Raises:
      UserError: for data that has no picture.
    """
    return _file([_drawn(STRIPS, spec)(x, spec)], "PNG")


def animate(frames: Sequence[np.ndarray], spec: Spec) -> bytes:
    """Samples [T, N, *shape] in the data's own domain as a GIF of T pictures that plays endlessly.

    Raises:
      UserError: for data that has no picture.
    """
    draw = _drawn(PICTURES, spec)
    return _file([_paletted(draw(x, spec)) for x in frames], "GIF")


def grid(x: np.ndarray, spec: Spec, columns: int | None = None) -> Image.Image:
    """Images [N, H, W, C] row by row, with a border of one pixel, in a square unless `columns` is set.

    Small images are enlarged; of two channels the first is drawn.
    """
    low, high = float(np.min(spec.low)), float(np.max(spec.high))
    pixels = np.clip((x.astype(np.float64) - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)
    if pixels.shape[-1] == 2:
        pixels = pixels[..., :1]
    factor = max(1, -(-TILE // max(pixels.shape[1:3])))
    pixels = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    num, height, width, colours = pixels.shape
    columns = columns or int(np.ceil(np.sqrt(num)))
    lines = -(-num // columns)
    canvas = np.full((lines, height + 1, columns, width + 1, colours), 64, np.uint8)
    for index, image in enumerate(pixels):
        canvas[index // columns, :height, index % columns, :width] = image
    canvas = canvas.reshape(lines * (height + 1), columns * (width + 1), colours)
    return Image.fromarray(canvas[..., 0] if colours == 1 else canvas)


def rows(x: np.ndarray, spec: Spec) -> Image.Image:
    """Paths of images [N, T, H, W, C], one a row."""
    return grid(x.reshape(-1, *x.shape[2:]), spec, columns=x.shape[1])


def scatter(x: np.ndarray, spec: Spec) -> Image.Image:
    """Vectors [N, D] as a scatter plot of their first two entries, or as a histogram where there is one."""
    figure, panel = _panel(spec)
    if x.shape[1] == 1:
        panel.hist(x[:, 0], bins=60)
    else:
        panel.scatter(x[:, 0], x[:, 1], s=4, alpha=0.5, linewidths=0)
    return image_of(figure)


def lines(x: np.ndarray, spec: Spec) -> Image.Image:
    """Paths of vectors [N, T, D] as lines through their first two entries (the entry and t where there is one).

    A circle marks where a path begins.
    """
    figure, panel = _panel(spec)
    second = x[..., 1] if x.shape[2] > 1 else np.broadcast_to(np.linspace(0, 1, x.shape[1]), x.shape[:2])  # [N, T]
    for index in range(len(x)):
        panel.plot(x[index, :, 0], second[index], marker=".", markersize=3, linewidth=1, color=f"C{index % 10}")
        panel.plot(x[index, 0, 0], second[index, 0], marker="o", fillstyle="none", color=f"C{index % 10}")
    if x.shape[2] == 1:
        panel.set_ylabel("t")
    return image_of(figure)


def series(x: np.ndarray, spec: Spec) -> Image.Image:
    """Series [N, T, D], one panel each up to `PANELS`, a line for each column against t."""
    figure, panels = _panels(min(len(x), PANELS))
    low, high = float(np.min(spec.low)), float(np.max(spec.high))
    for panel, each in zip(panels, x):
        panel.plot(each, linewidth=0.8)
        panel.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    figure.supxlabel("t", fontsize=8)
    return image_of(figure)


def loudness(x: np.ndarray, spec: Spec) -> Image.Image:
    """Recordings [N, T] as spectrograms, one panel each up to `PANELS`: pitch runs upwards, the loudest is black."""
    from gen_jax.data.kinds.audio import RANGE, spectrogram, waveform  # imports SciPy's readers, which are slow

    figure, panels = _panels(min(len(x), PANELS))
    rate = spec.info.get("rate", 8000)
    for panel, each in zip(panels, x):
        sound = waveform(spec, each[~np.isnan(each.astype(np.float64))])
        extent = (0, len(sound) / rate, 0, rate / 2000)
        panel.imshow(spectrogram(sound), cmap="gray_r", vmin=-RANGE, vmax=0, aspect="auto", extent=extent)
    figure.supxlabel("s", fontsize=8)
    figure.supylabel("kHz", fontsize=8)
    return image_of(figure)


def piano(x: np.ndarray, spec: Spec) -> Image.Image:
    """Rolls [N, T, K], one under the other up to `PANELS`: time runs to the right, pitch upwards, a held key is black."""
    x = x[:PANELS]
    seen = ~np.isnan(x.astype(np.float64)).any(2, keepdims=True)
    pixels = np.where(seen, np.where(x > 0, 0, 255), 200).astype(np.uint8)  # beyond the end of a piece: grey
    pixels = np.pad(pixels.transpose(0, 2, 1)[:, ::-1], ((0, 0), (1, 1), (0, 0)), constant_values=128)  # [N, K + 2, T]
    factor = max(1, 640 // pixels.shape[2])
    return Image.fromarray(pixels.reshape(-1, pixels.shape[2]).repeat(factor, axis=1))


def margins(x: np.ndarray, spec: Spec) -> Image.Image:
    """Rows of a table [N, D]: the shares of each column's levels, or parts of its range, beside those of what was learnt.

    One panel a column, up to `PANELS`: grey bars are the rows learnt from, the line is the samples.
    """
    schema = columns(spec)[:PANELS]
    drawn = [shares(column, x[:, at]) for at, column in enumerate(schema)]
    return margins_of(schema, spec.info["marginals"], drawn, "share: grey learnt from, blue samples")


def margins_of(schema: Sequence[Mapping], real: Sequence, drawn: Sequence, label: str) -> Image.Image:
    """The shares of columns, `real` and `drawn`, one panel each; `label` stands at the side."""
    figure, panels = panels_of(len(schema))
    for each in zip(panels, schema, real, drawn):
        margin(*each)
    figure.supylabel(label, fontsize=8)
    return image_of(figure)


def margin(panel, column: Mapping[str, Any], real: Sequence[float], drawn: Sequence[float]) -> None:
    """Draws the shares of a column's levels, or of parts of its range: grey bars, and dots or, of a range, a line."""
    edges, names = parts(column), column.get("levels", ())
    places = (edges[1:] + edges[:-1]) / 2
    panel.stairs(real, edges, fill=True, color="0.8")
    panel.plot(places, drawn, marker=".", markersize=4, linewidth=0 if names else 0.8, color="C0")
    panel.set_title(short(column["name"], 32), fontsize=7)
    panel.locator_params(nbins=4)
    panel.xaxis.get_offset_text().set_fontsize(6)
    if len(names) > MOST_NAMES:
        panel.set_xticks([])
        panel.set_xlabel(f"{len(names)} levels", fontsize=6)
    elif sum(map(len, names)) > LETTERS:
        panel.set_xticks(places, [short(name, 10) for name in names], rotation=90, fontsize=5)
    elif names:
        panel.set_xticks(places, names)


def short(name: str, most: int) -> str:
    """A name of at most so many letters."""
    return name if len(name) <= most else name[: most - 1] + "…"


LETTERS, MOST_NAMES = 22, 20  # under a panel: letters side by side, names of levels
PANELS = 16  # sequences or columns drawn, at most
PICTURES = {  # kind -> (x [N, *shape], spec) -> picture; NaN beyond the end of a sequence
    "image": grid,
    "vector": scatter,
    "table": margins,
    "series": series,
    "audio": loudness,
    "roll": piano,
}
STRIPS = {"image": rows, "vector": lines}  # kind -> (x [N, T, *shape], spec) -> picture


def _drawn(pictures: Mapping[str, Callable], spec: Spec) -> Callable[[np.ndarray, Spec], Image.Image]:
    return pictures[choose("kind of data to draw", spec.kind, pictures)]


def _frames(length: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Which frames of sequences [N, T, ...] lie within their length [N], with the dimensions of `x`."""
    within = np.arange(x.shape[1])[None] < length[:, None]
    return within.reshape(*within.shape, *(1,) * (x.ndim - 2))


def _figure(size: tuple[float, float], lines: int, columns: int):
    """A figure of so many inches, and its panels [lines, columns]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = FigureCanvasAgg(Figure(figsize=size, dpi=100, layout="constrained")).figure
    return figure, figure.subplots(lines, columns, squeeze=False)


def _panels(num: int, across: int | None = None, size: tuple[float, float] = (2.4, 1.8)):
    """A figure of `num` panels of so many inches, so many in a line (as in a square where None), and the panels [num]."""
    columns = across or int(np.ceil(np.sqrt(num)))
    lines = -(-num // columns)
    figure, panels = _figure((size[0] * columns, size[1] * lines), lines, columns)
    for place, panel in enumerate(panels.flat):
        panel.tick_params(labelsize=6)
        panel.axison = place < num
    return figure, panels.flat[:num]


def panels_of(num: int, across: int | None = None, size: tuple[float, float] = (2.4, 2.0)):
    """As `_panels`, with room for titles and for names on the left and below, laid out at once."""
    figure, panels = _panels(num, across, size)
    figure.set_layout_engine(None)  # which would take seconds
    width, height = figure.get_size_inches()
    room = {"left": 0.85 / width, "bottom": 0.55 / height, "right": 1 - 0.1 / width, "top": 1 - 0.25 / height}
    figure.subplots_adjust(**room, wspace=0.3, hspace=0.65)
    return figure, panels


def _panel(spec: Spec):
    """A square figure and its one panel, with the limits of the data's domain."""
    figure, ((panel,),) = _figure((5, 5), 1, 1)
    low, high = (np.broadcast_to(limit, spec.shape)[:2] for limit in (spec.low, spec.high))
    margin = 0.05 * (high - low)
    panel.set_xlim(low[0] - margin[0], high[0] + margin[0])
    panel.set_xlabel("x[0]")
    if len(low) > 1:
        panel.set_ylim(low[1] - margin[1], high[1] + margin[1])
        panel.set_ylabel("x[1]")
    panel.grid(alpha=0.3)
    return figure, panel


def image_of(figure) -> Image.Image:
    """A figure as pixels; letters that its font lacks are boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")


def _paletted(image: Image.Image) -> Image.Image:
    """The image in the 256 colours of a GIF; greys are kept as they are."""
    return image if image.mode == "L" else image.convert("RGB").quantize()


def _file(images: list[Image.Image], form: str) -> bytes:
    """One image as a PNG, or several as a GIF that plays endlessly."""
    more = {"save_all": True, "append_images": images[1:], "duration": FRAME, "loop": 0} if form == "GIF" else {}
    buffer = io.BytesIO()
    images[0].save(buffer, form, **more)
    return buffer.getvalue()
