"""A trained run, and what is done with it: samples, scores, codes, completions, curves."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gen_jax.data.feed.rows import read_rows
from gen_jax.data.kinds import kind_of, pictures
from gen_jax.data.kinds.sample_files import encode as encode_files
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.files import write
from gen_jax.metrics import catalogue
from gen_jax.metrics.features import Rows
from gen_jax.metrics.scores import Scores, marks_for, table
from gen_jax.model import Model
from gen_jax.storage import loading
from gen_jax.storage.metrics_file import read_metrics
from gen_jax.verbs import complete, draw, encode, score
from gen_jax.verbs.given import parse_given


class Curve(NamedTuple):
    """The values of a metric over a run; `plt.plot(*curve)` draws them."""

    steps: np.ndarray  # [K] int
    values: np.ndarray  # [K] float64


class Samples(Mapping[str, np.ndarray]):
    """Rows in the data's own domain: `x` [N, *shape], and `y` and `length` if the data have them."""

    def __init__(self, arrays: Rows, spec: Spec) -> None:
        self.arrays = arrays
        self.spec = spec

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def picture(self) -> Image.Image:
        """Returns the rows as one picture.

        Raises:
          UserError: for data of a kind that has no pictures.
        """
        return pictures.drawn(self.arrays, self.spec)

    def save(self, path: str | Path) -> None:
        """Writes the rows into a file: arrays as .npz, or what the kind of the data has, such as .png, .txt, .mid or .csv.

        Raises:
          UserError: for a suffix that such data do not have, or a file that cannot be written.
        """
        path = Path(path)
        for suffix, content in encode_files(self.arrays, self.spec, path.suffix).items():
            write(path.with_suffix(suffix), content)

    def show(self) -> None:
        """Shows the rows: a picture in a notebook or a window, or the text of rows without pictures."""
        if kind_of(self.spec).picture is None:
            print(self)
            return
        try:
            from IPython.display import display
        except ImportError:
            self.picture().show()
        else:
            display(self.picture())

    def _repr_png_(self) -> bytes | None:
        """Returns the picture that a notebook shows; None for rows without pictures."""
        if kind_of(self.spec).picture is None:
            return None
        return pictures.picture(self.arrays, self.spec)

    def __repr__(self) -> str:
        writers = kind_of(self.spec).write
        text = next((suffix for suffix in (".txt", ".csv") if suffix in writers), None)
        if text is not None:
            return writers[text](self.arrays, self.spec).decode()
        shapes = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in self.arrays.items())
        return f"Samples({shapes})"


class Scored(dict[str, dict[str, Any]]):
    """Metrics by name: `value`, the `oracle` (what real data score), and the protocol; printed as a table."""

    def __repr__(self) -> str:
        return table(self, marks_for(sys.stdout))


class Run(loading.Loaded):
    """A trained run: the model, its state, the facts of the data, the config, the step and the directory."""

    @property
    def history(self) -> dict[str, Curve]:
        """Returns the logged metrics: name -> steps and values."""
        logged: dict[str, list[tuple[int, float]]] = {}
        for line in read_metrics(self.workdir):
            for name, value in line.items():
                if name != "step" and value is not None:
                    logged.setdefault(name, []).append((line["step"], value))
        return {name: Curve(*map(np.array, zip(*points))) for name, points in logged.items()}

    def sample(
        self,
        num: int = 64,
        *,
        seed: int = 0,
        given: str | Mapping[str, Any] | None = None,
        length: int | None = None,
        **how: Any,
    ) -> Samples:
        """Draws samples.

        Args:
          num: number of samples.
          seed: of the draws.
          given: a condition: text as `gen_jax.sample --given` takes it, such as `y=3`, or arrays [num, ...] by name, as
            `Model.given` lists them.
          length: of sequences, in tokens or frames, if they are to be shorter or longer than those of the data.
          **how: options of the sampler, as `Model.options` lists them, such as `temperature`.

        Raises:
          UserError: for a condition or an option that the model does not take.
        """
        if isinstance(given, Mapping):
            arrays = {name: np.asarray(value) for name, value in given.items()}
            return Samples(draw.draw(self.model, self.state, self.spec, seed, num, arrays, how), self.spec)
        request = parse_given(given, num, self.spec, length or self.config["sample"].get("length"))
        rows = draw.draw(
            self.model,
            self.state,
            self.spec,
            seed,
            num,
            request.given,
            how,
            known=request.cells,
            fits=request.fits,
        )
        return Samples(rows, self.spec)

    def score(self, names: Iterable[str] = (), num: int | None = None) -> Scored:
        """Returns metrics of the run on the rows of its data.

        Args:
          names: of metrics; none for those of its config, or if it names none, for all that apply.
          num: number of samples; by default as in its config.

        Raises:
          UserError: for data that have changed or cannot be read, or metrics that do not apply.
        """
        settings = self.config["evaluate"]
        chosen = [*names] or catalogue.current(settings["metrics"]) or [catalogue.ALL]
        scores: Scores = score.scorer_of(self, chosen, num or settings["num"]).score(self.model, self.state)
        return Scored(scores)

    def encode(self, x: Any = None, y: Any = None) -> Rows:
        """Returns the codes of raw rows, `z` [N, ...] and what else the model has of them.

        Args:
          x: rows [N, *shape] in the data's own domain; the rows of the test split by default.
          y: labels [N], if the model reads them.

        Raises:
          UserError: for a model without codes, or rows that it cannot read.
        """
        return encode.encode(self.model, self.state, self.spec, self._rows(x, y))

    def inpaint(self, x: Any, mask: Any, y: Any = None, *, completions: int = 1, seed: int = 0) -> np.ndarray:
        """Returns completions of raw rows, [N, completions, *shape].

        Args:
          x: rows [N, *shape] in the data's own domain.
          mask: what is hidden, as `gen_jax.inpaint --mask` takes it: `lower`, `random:0.5`, ...; or what is seen, an array
            of 0 and 1, [*shape] or [N, *shape].
          y: labels [N], if the model reads them.
          completions: of each row.
          seed: of the draws, and of random masks.

        Raises:
          UserError: for a model that cannot complete, or rows or a mask that do not fit.
        """
        rows = self._rows(x, y)
        if isinstance(mask, str):
            seen = complete.parse_mask(mask, len(rows["x"]), seed, self.spec)
        else:
            seen = np.broadcast_to(np.asarray(mask) > 0, rows["x"].shape)
        return complete.complete(self.model, self.state, self.spec, rows, seen, completions, seed)

    def _rows(self, x: Any, y: Any) -> Rows:
        """Returns raw rows as verbs take them.

        Raises:
          UserError: for rows of another shape than those of the run.
        """
        if x is None:
            return read_rows(self.spec, self.config["data"])[1]
        x = np.asarray(x)
        free = int(kind_of(self.spec).time)  # the length of sequences
        if x.shape[1 + free :] != tuple(self.spec.shape[free:]) or x.ndim != 1 + len(self.spec.shape):
            raise UserError(f"x of shape {x.shape}: expected rows {list(self.spec.shape)} of {self.spec.name}")
        return {"x": x} if y is None else {"x": x, "y": np.asarray(y, np.int32)}


def load(
    workdir: str | Path, step: int | None = None, replica: int = 0, last: bool = False, model: Model | None = None
) -> Run:
    """Loads a trained run from its directory.

    Args:
      workdir: directory of the run.
      step: of the checkpoint; by default the best one if the config of the run selects, else the newest whole one.
      replica: which replica of the run, from 0.
      last: whether the newest checkpoint is loaded even if the run selects.
      model: the model, if the run was trained with objects that no other process can build, such as an Optax
        transformation; built from the config by default.

    Raises:
      UserError: if there is no run, no whole checkpoint or no such replica, or the model cannot be built.
    """
    return Run(*loading.load(workdir, step, replica, last, model))
