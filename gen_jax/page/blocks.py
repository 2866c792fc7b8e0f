"""The web page of some runs, made from their controls. Gradio, an optional package, is imported by `page` alone."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from gen_jax.data.kinds import kind_of, pictures
from gen_jax.data.spec import columns
from gen_jax.data.tables.values import texts_of
from gen_jax.errors import UserError
from gen_jax.page.controls import (
    ANY,
    LARGEST_SEED,
    SLIDERS,
    Controls,
    Question,
    answer,
    check,
    command,
    controls_of,
    drawn_places,
    moved,
)
from gen_jax.page.tunes import sound_of
from gen_jax.run import Run, Samples, load
from gen_jax.storage.directory import BEST, steps_in
from gen_jax.verbs import paths
from gen_jax.verbs.draw import value_of

SCREEN = 320  # pixels of the longer side of an image that is erased with the mouse
PATHS, STEPS, COMPLETIONS = 4, 9, 8  # paths and their points, and completions of an image
TITLE = "gen_jax"


class Shelf:
    """Holds the runs of a page. The newest checkpoint of a run is loaded when a page is opened.

    Attributes:
      folders: directories of the runs.
      files: folder of the files that browsers read, which is removed at the end.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = tuple(folders)
        self.lock = Lock()
        self.runs = {folder: load(folder) for folder in self.folders}
        self.files = Path(tempfile.mkdtemp(prefix="gen_jax_demo_"))
        atexit.register(shutil.rmtree, self.files, ignore_errors=True)

    def renew(self, folder: str) -> Run:
        """Returns a run at its newest checkpoint, which is loaded if it is new.

        Args:
          folder: directory of the run.
        """
        with self.lock:
            steps = steps_in(Path(folder) / BEST) or steps_in(Path(folder) / "checkpoints")
            if steps and steps[-1] != self.runs[folder].step:
                self.runs[folder] = load(folder)
            return self.runs[folder]


def in_one_line(function: Callable[..., Sequence[Any]], blanks: Sequence[Any]) -> Callable[..., list[Any]]:
    """Returns a function whose last output is a line: empty, or the error of the user, with blanks before it.

    Args:
      function: the function.
      blanks: what the other outputs are after an error.
    """

    def guarded(*values: Any) -> list[Any]:
        try:
            return [*function(*values), ""]
        except UserError as error:
            return [*blanks, f"**{error}**"]

    return guarded


def enlarged(image: Image.Image) -> Image.Image:
    """Returns an image that is enlarged by a whole number to about `SCREEN` pixels.

    Args:
      image: the image.
    """
    factor = max(1, SCREEN // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


class Outputs:
    """The components that show samples, as their kind can be shown: a picture, a sound, a text, rows, and a file.

    Attributes:
      run: the run.
      folder: folder of the files that a browser reads.
      shown: name of each output -> its component.
    """

    def __init__(self, gr: Any, run: Run, folder: Path) -> None:
        kind = kind_of(run.spec)
        self.gr, self.run, self.folder = gr, run, folder
        self.shown: dict[str, Any] = {}
        if ".gif" in kind.write:
            self.shown["moving"] = gr.Image(label="clips", type="filepath", interactive=False)
        elif kind.picture is not None and not run.spec.tabular:
            self.shown["picture"] = gr.Image(label="samples", format="png", interactive=False)
        if ".wav" in kind.write:
            self.shown["sound"] = gr.Audio(label="sounds", type="filepath", interactive=False)
        if ".txt" in kind.write:
            self.shown["text"] = gr.Textbox(label="texts", lines=10, interactive=False)
            self.shown["tunes"] = gr.Audio(label="tunes", type="filepath", interactive=False, visible=False)
        if run.spec.tabular:
            heads = [facts["name"] for facts in columns(run.spec)]
            self.shown["rows"] = gr.Dataframe(label="rows", headers=heads, interactive=False)
        self.shown["file"] = gr.File(label="files", interactive=False)

    def values(self, samples: Samples) -> list[Any]:
        """Returns the value of each component for some samples.

        Args:
          samples: the samples.
        """
        kind, folder = kind_of(self.run.spec), Path(tempfile.mkdtemp(dir=self.folder))
        for suffix in (".npz", *kind.suffixes):
            if not (folder / f"samples{suffix}").exists():  # because a picture is written with some files
                samples.save(folder / f"samples{suffix}")
        files = {path.suffix: str(path) for path in sorted(folder.iterdir())}
        text = Path(files[".txt"]).read_text(errors="replace") if ".txt" in files else ""
        making: Mapping[str, Callable[[], Any]] = {
            "moving": lambda: files[".gif"],
            "picture": lambda: enlarged(samples.picture()),
            "sound": lambda: files[".wav"],
            "text": lambda: text,
            "tunes": lambda: self.tunes(text, folder / "tunes.wav"),
            "rows": lambda: rows_of(samples),
            "file": lambda: [*files.values()],
        }
        return [making[name]() for name in self.shown]

    def tunes(self, text: str, path: Path) -> Any:
        """Returns the player of the tunes of some texts, which is hidden if there are none.

        Args:
          text: the texts.
          path: file of their sound.
        """
        sound = sound_of(text)
        if sound is None:
            return self.gr.update(value=None, visible=False)
        path.write_bytes(sound)
        return self.gr.update(value=str(path), visible=True)


def rows_of(samples: Samples) -> list[list[str]]:
    """Returns the rows of a table as texts.

    Args:
      samples: the rows.
    """
    facts = columns(samples.spec)
    cells = [texts_of(column, samples["x"][:, place]) for place, column in enumerate(facts)]
    return [[*map(str, row)] for row in zip(*cells)]


class Form:
    """The components by which a user asks a question of one run.

    Attributes:
      controls: what the run can be asked for.
      components: the components of this run, in the order in which `question` takes their values.
    """

    def __init__(self, gr: Any, run: Run, controls: Controls) -> None:
        self.controls = controls
        parts: dict[str, Any] = {}
        if controls.labels:
            parts["label"] = gr.Dropdown([ANY, *controls.labels], value=ANY, label="label")
        if controls.file:
            parts["condition"] = gr.File(
                label=f"{controls.condition}; without a file: the first test rows", type="filepath"
            )
        elif controls.condition:
            parts["condition"] = gr.Textbox(label=f"{controls.condition}; empty: the first test rows")
        if controls.prefix:
            parts["prefix"] = gr.Textbox(label="beginning of the text", lines=2)
        if controls.cells:
            names = [*controls.cells]
            blank = [[""] * len(names)]
            parts["cells"] = gr.Dataframe(blank, headers=names, label="given cells", type="array", interactive=True)
        if controls.length:
            parts["length"] = gr.Textbox(label=f"length; empty: {run.spec.shape[0]}")
        for name, value in controls.options.items():
            parts[f"how {name}"] = gr.Textbox(label=f"{name}; empty: {value}")
        self.names = [*parts]
        self.components = [*parts.values()]

    def question(self, num: float, seed: float, *values: Any) -> Question:
        """Returns the question that the values of the components ask.

        Args:
          num: number of samples.
          seed: seed of the draws.
          *values: values of the components.

        Raises:
          UserError: for a text that is no whole number.
        """
        given = dict(zip(self.names, values))
        cells = given.get("cells") or [[]]
        options = {
            name.removeprefix("how "): value_of(value.strip())
            for name, value in given.items()
            if name.startswith("how ") and value and value.strip()
        }
        length = (given.get("length") or "").strip()
        return Question(
            num=whole("number of samples", num),
            seed=seed_of(seed),
            label=given.get("label") or ANY,
            condition=given.get("condition") or "",
            prefix=given.get("prefix") or "",
            cells={name: str(cell) for name, cell in zip(self.controls.cells, cells[0]) if cell is not None},
            length=whole("length", length) if length else None,
            options=options,
        )


def whole(name: str, value: Any) -> int:
    """Returns a whole number.

    Args:
      name: name of the number, for the error.
      value: a number or a text.

    Raises:
      UserError: for anything else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number) or number != int(number):
        raise UserError(f"{name} is {str(value)[:40]!r}; expected a whole number")
    return int(number)


def seed_of(value: Any) -> int:
    """Returns a seed.

    Args:
      value: a number or a text.

    Raises:
      UserError: for anything but a whole number that a seed may be.
    """
    return check("seed", whole("seed", value), 0, LARGEST_SEED)


def erased(run: Run, drawing: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image [H, W, C] in the domain of the data, and what is left of it [H, W, C] bool.

    Args:
      run: the run.
      drawing: `background`, an image, and `layers`, images that are opaque where it is erased.

    Raises:
      UserError: without an image, or if nothing is erased.
    """
    height, width, channels = run.spec.shape
    if drawing is None or drawing.get("background") is None:
        raise UserError("there is no image; expected one. Draw samples first, or open a file")
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels, "L")
    pixels = drawing["background"].convert(mode).resize((width, height), Image.Resampling.BOX)
    hidden = np.zeros((height, width), bool)
    for layer in drawing["layers"]:
        alpha = layer.convert("RGBA").getchannel("A").resize((width, height), Image.Resampling.BOX)
        hidden |= np.asarray(alpha) > 0
    if not hidden.any():
        raise UserError("nothing is erased; expected a part that is painted over with the brush")
    low, high = float(np.min(run.spec.low)), float(np.max(run.spec.high))
    x = low + np.asarray(pixels, np.float64).reshape(height, width, -1)[..., :channels] / 255 * (high - low)
    if np.dtype(run.spec.dtype).kind in "iu":
        x = np.rint(x)
    return x.astype(run.spec.dtype), np.broadcast_to(~hidden[..., None], run.spec.shape)


def completions(run: Run, seed: float, drawing: Mapping[str, Any], label: str = ANY) -> list[Any]:
    """Returns a picture of an erased image and its completions.

    Args:
      run: the run.
      seed: seed of the draws.
      drawing: see `erased`.
      label: the label of a model that reads labels; for `ANY` the labels take turns.

    Raises:
      UserError: as `erased`.
    """
    x, mask = erased(run, drawing)
    rows, labels = np.repeat(x[None], COMPLETIONS, 0), None
    if "y" in run.model.given and run.spec.classes:
        classes = len(run.spec.classes)
        labels = (
            np.arange(COMPLETIONS) % classes if label == ANY else np.full(COMPLETIONS, run.spec.classes.index(label))
        )
    drawn = run.inpaint(rows, mask, labels, completions=1, seed=seed_of(seed))[:, 0]
    hole = np.where(mask, x, np.asarray(run.spec.low, x.dtype))
    return [enlarged(pictures.picture_of({"x": np.concatenate([hole[None], drawn])}, run.spec))]


def answered(run: Run, column: str, given: str, seed: float) -> list[Any]:
    """Returns the distribution of a column given others, as rows.

    Args:
      run: the run.
      column: name of the column.
      given: the condition; empty for none.
      seed: seed of the draws for a condition on ranges.

    Raises:
      UserError: as `Run.query`.
    """
    found = run.query(column, given.strip() or None, seed=seed_of(seed))
    return [[[level, f"{share:.4f}"] for level, share in found.levels.items()]]


class Section:
    """One run on the page: its heading, its form, its outputs, and what else it can do.

    Attributes:
      shelf: the runs of the page.
      folder: directory of the run.
      num: component of the number of samples.
      seed: component of the seed.
    """

    def __init__(self, gr: Any, shelf: Shelf, folder: str, num: Any, seed: Any) -> None:
        self.gr, self.shelf, self.folder, self.num, self.seed = gr, shelf, folder, num, seed
        run = shelf.runs[folder]
        self.controls = controls_of(run)
        self.heading = gr.Markdown(heading_of(run))
        self.form = Form(gr, run, self.controls)
        self.button = gr.Button("draw", variant="primary")
        self.outputs = Outputs(gr, run, shelf.files)
        self.line = gr.Markdown()
        self.command = gr.Textbox(
            label="the command with the same bytes", buttons=["copy"], interactive=False, elem_classes=["command"]
        )
        self.add_draw()
        if self.controls.latents:
            self.add_latents()
        if self.controls.path:
            self.add_paths()
        if self.controls.completed:
            self.add_completion()
        if self.controls.queried:
            self.add_query()

    @property
    def run(self) -> Run:
        """Returns the run at the checkpoint that the page has loaded."""
        return self.shelf.runs[self.folder]

    def listen(self, button: Any, function: Callable, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Calls a function at a click. Its error becomes the line of the run.

        Args:
          button: the button.
          function: the function of the values of the inputs.
          inputs: components.
          outputs: components, without the line.
        """
        guarded = in_one_line(function, [self.gr.skip()] * len(outputs))
        button.click(guarded, [*inputs], [*outputs, self.line], api_name=False)

    def add_draw(self) -> None:
        """Adds what a click on `draw` does, which `drawing` holds for a click on `draw all`."""

        def draw(num: float, seed: float, *values: Any) -> list[Any]:
            run, question = self.run, self.form.question(num, seed, *values)
            samples = answer(run, self.controls, question)
            return [*self.outputs.values(samples), command(run, self.controls, question)]

        inputs = [self.num, self.seed, *self.form.components]
        outputs = [*self.outputs.shown.values(), self.command]
        self.drawing = (in_one_line(draw, [None] * len(outputs)), inputs, [*outputs, self.line])
        self.button.click(*self.drawing, api_name=False)

    def add_latents(self) -> None:
        """Adds a slider for each of the most active latents of one sample."""
        gr, order = self.gr, paths.by_activity(self.run)[0][:SLIDERS].tolist()
        with gr.Accordion("move latents", open=False):
            places = drawn_places(self.run, 0, order)
            sliders = [
                gr.Slider(-paths.REACH, paths.REACH, value=place, step=0.01, label=f"latent {number}")
                for number, place in zip(order, places)
            ]
            reset, outputs = gr.Button("latents of the seed"), Outputs(gr, self.run, self.shelf.files)

        def move(seed: float, *values: float) -> list[Any]:
            return outputs.values(moved(self.run, seed_of(seed), order, values))

        def begin(seed: float) -> list[float]:
            return drawn_places(self.run, seed_of(seed), order)

        self.listen(reset, begin, [self.seed], sliders)
        guarded = in_one_line(move, [None] * len(outputs.shown))
        for slider in sliders:
            slider.release(guarded, [self.seed, *sliders], [*outputs.shown.values(), self.line], api_name=False)

    def add_paths(self) -> None:
        """Adds paths between samples."""
        gr = self.gr
        with gr.Accordion("paths between samples", open=False):
            button, picture = gr.Button("draw paths"), gr.Image(label="paths", format="png", interactive=False)

        def draw(seed: float) -> list[Any]:
            x = self.run.interpolate(PATHS, STEPS, seed=seed_of(seed))
            strip = kind_of(self.run.spec).strip
            assert strip is not None  # because `controls.path` asks for it
            return [enlarged(strip(x, self.run.spec))]

        self.listen(button, draw, [self.seed], [picture])

    def add_completion(self) -> None:
        """Adds an image that is erased with the mouse, and its completions."""
        gr = self.gr
        with gr.Accordion("erase a part and complete it", open=False):
            take, editor = (
                gr.Button("take a sample of the seed"),
                gr.ImageEditor(
                    type="pil",
                    label="paint over what is erased",
                    brush=gr.Brush(default_size=24),
                    interactive=True,
                ),
            )
            button, picture = (
                gr.Button("complete"),
                gr.Image(label="erased, and completions", format="png", interactive=False),
            )

        def sample(seed: float) -> list[Any]:
            x = self.run.sample(1, seed=seed_of(seed)).arrays["x"]
            low, high = float(np.min(self.run.spec.low)), float(np.max(self.run.spec.high))
            pixels = np.rint((x[0].astype(np.float64) - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
            image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] < 3 else pixels)
            return [enlarged(image)]

        self.listen(take, sample, [self.seed], [editor])
        labels = [self.form.components[self.form.names.index("label")]] if "label" in self.form.names else []
        complete = lambda seed, drawing, *label: completions(self.run, seed, drawing, *label)
        self.listen(button, complete, [self.seed, editor, *labels], [picture])

    def add_query(self) -> None:
        """Adds questions about a column given others."""
        gr = self.gr
        with gr.Accordion("probabilities of a column", open=False):
            column = gr.Dropdown([*self.controls.queried], value=self.controls.queried[0], label="column")
            given = gr.Textbox(label="given, such as smoke=yes,xray=no; empty: nothing")
            button, answer_rows = gr.Button("ask"), gr.Dataframe(headers=["level", "probability"], interactive=False)
        ask = lambda column, given, seed: answered(self.run, column, given, seed)
        self.listen(button, ask, [column, given, self.seed], [answer_rows])


def heading_of(run: Run) -> str:
    """Returns the heading of a run, with its step.

    Args:
      run: the run.
    """
    name = run.config["model"].get("name") or "model"
    return f"### {Path(run.workdir).name}\n{name} of {run.spec.name}, step {run.step:,} of {run.config['steps']:,}"


def page(folders: Sequence[str]) -> Any:
    """Returns the web page of some runs, side by side.

    Args:
      folders: directories of the runs.

    Raises:
      UserError: without the package Gradio, or for a directory without a run.
    """
    try:
        import gradio as gr  # type: ignore[import-not-found]  # an optional package
    except ImportError:
        raise UserError(
            "the package gradio is missing; expected it. Install it by: pip install 'gen_jax[demo]'"
        ) from None
    shelf = Shelf(folders)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        with gr.Row():
            num = gr.Number(16, label="number of samples", precision=None)
            seed = gr.Number(0, label="seed", precision=None)
            every = gr.Button("draw all", variant="primary", visible=len(folders) > 1)
        with gr.Row():
            sections = []
            for number, folder in enumerate(folders):
                with gr.Column(elem_id=f"run-{number}"):
                    sections.append(Section(gr, shelf, folder, num, seed))
        for section in sections:
            renew = lambda folder=section.folder: [heading_of(shelf.renew(folder))]
            blocks.load(in_one_line(renew, [gr.skip()]), None, [section.heading, section.line], api_name=False)
            every.click(*section.drawing, api_name=False)
    return blocks
