"""A trained run, and what is done with it: samples, scores, codes, paths, completions, answers, pictures, curves."""

import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gen_jax.data.feed.rows import given_rows, read_rows
from gen_jax.data.kinds import kind_of, pictures
from gen_jax.data.kinds.sample_files import encode as encode_files
from gen_jax.data.spec import Spec, to_model
from gen_jax.data.tables import evidence
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.files import write
from gen_jax.metrics import comparison
from gen_jax.metrics.features import Rows
from gen_jax.metrics.scores import marks_for, table
from gen_jax.model import Model
from gen_jax.storage import loading
from gen_jax.storage.metrics_file import read_metrics
from gen_jax.verbs import best_replica, complete, conditioning, draw, encode, evaluation, graphs, paths, queries, score


class Curve(NamedTuple):
    """The values of a metric over a run; `plt.plot(*curve)` draws them."""

    steps: np.ndarray  # [K] int
    values: np.ndarray  # [K] float64


class Samples(Mapping[str, np.ndarray]):
    """Rows in the data's own domain: `x` [N, *shape], and `y` and `length` if the data have them.

    Attributes:
      arrays: the rows.
      spec: facts of the data.
      table: the file whose missing cells were drawn, if the rows complete a file; its cells are written as they stand.
    """

    def __init__(self, arrays: Rows, spec: Spec, table: evidence.Table | None = None) -> None:
        self.arrays = arrays
        self.spec = spec
        self.table = table

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
        return pictures.picture_of(self.arrays, self.spec)

    def save(self, path: str | Path) -> None:
        """Writes the rows into a file: arrays as .npz, or what the kind of the data has, such as .png, .txt, .mid or .csv.

        Raises:
          UserError: for a suffix that such data do not have, or a file that cannot be written.
        """
        path = Path(path)
        if self.table is not None:
            choose("file type of completed rows", path.suffix, (".csv", ".npz"))
            write(path, evidence.completed(self.spec, self.table, self["x"], path.suffix))
            return
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
        if self.table is not None:
            return evidence.completed(self.spec, self.table, self["x"], ".csv").decode()
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


class Comparison(dict[str, dict[str, Any]]):
    """Metrics of two runs by name: `value`, `other`, `difference`, `standard_error` and `pairs`; printed as a table."""

    def __init__(self, run: comparison.Scored, other_run: comparison.Scored) -> None:
        super().__init__(comparison.differences(run, other_run))
        self.runs = run, other_run

    def __repr__(self) -> str:
        return comparison.comparison_table(*self.runs, marks_for(sys.stdout))


class Run(loading.Loaded):
    """A trained run: the model, its state, the facts of the data, the config, the step and the directory."""

    def __repr__(self) -> str:
        name = self.config["model"].get("name") or "model"
        return f"Run({self.workdir}: {name} of {self.spec.name}, step {self.step})"

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
          given: a condition: text as `gen_jax.sample --given` takes it, such as `y=3` or `split=test`, or arrays
            [num, ...] by name, as `Model.given` lists them. A condition `c` is in its own domain, such as 0 to 255.
          length: of sequences, in tokens or frames, if they are to be shorter or longer than those of the data.
          **how: options of the sampler, as `Model.options` lists them, such as `temperature`; by default as in the
            config.

        Raises:
          UserError: for a condition or an option that the model does not take, or a condition of another number of rows.
        """
        check_whole("number of samples", num)
        options = draw.chosen_options(self.config["sample"], how)
        if isinstance(given, Mapping):
            arrays = {name: np.asarray(value) for name, value in given.items()}
            for name, array in arrays.items():
                if array.dtype.kind in "OSU":
                    raise UserError(
                        f"given {name!r} is {str(given[name])[:60]}; expected an array of numbers, a row a sample"
                    )
            if self.spec.condition is not None and "c" in arrays:
                arrays["c"] = np.asarray(to_model(self.spec.condition, arrays["c"]))
            for name, array in arrays.items():
                if array.shape[:1] != (num,):
                    raise UserError(
                        f"given {name!r} has the shape {[*array.shape]}; expected {num} rows, one for each sample"
                    )
            return Samples(draw.draw(self.model, self.state, self.spec, seed, num, arrays, options), self.spec)
        if isinstance(given, str) and evidence.is_file(given):
            raise UserError(
                f"given {given!r} is a file; expected a condition. run.complete({given!r}) draws its missing cells"
            )
        texts = [] if given is None else [given]
        length = length or self.config["sample"].get("length")
        request = conditioning.request_of(self.model, self.spec, self.config, texts, num, length)
        return Samples(draw.draw_request(self.model, self.state, self.spec, seed, request, options), self.spec)

    def score(self, names: str | Iterable[str] = (), num: int | None = None) -> Scored:
        """Returns metrics of the run on the rows of its data.

        A run of several replicas has the mean as `value`, its `standard_error`, and the `values` of the replicas, unless
        `load` was asked for one replica.

        Args:
          names: of metrics, or the name of one metric; none for those of its config, or if it names none, for all that apply.
          num: number of samples; by default as in its config.

        Raises:
          UserError: for data that have changed or cannot be read, or metrics that do not apply.
        """
        chosen = evaluation.chosen_names(self, names)
        scorer = score.scorer_of(self, chosen, num or self.config["evaluate"]["num"])
        return Scored(evaluation.replica_scores(scorer, self))

    def compare(self, other_run: "Run | str | Path", names: Iterable[str] = (), num: int | None = None) -> Comparison:
        """Scores this run beside another run, and returns the differences with their standard errors.

        Replicas of equal seeds are compared in pairs.

        Args:
          other_run: a run, which is scored now; or the directory of a run, whose scores `gen_jax.evaluate` has stored.
          names: as in `score`.
          num: number of samples of both runs; by default as in the config of this run.

        Raises:
          UserError: as `score`, for a directory without scores, or for scores that were not taken in the same way.
        """
        num = num or self.config["evaluate"]["num"]
        scored = evaluation.scored(self, self.score(names, num))
        if isinstance(other_run, Run):
            return Comparison(scored, evaluation.scored(other_run, other_run.score(names, num)))
        return Comparison(scored, evaluation.stored(str(other_run)))

    def encode(self, x: Any = None, y: Any = None) -> Rows:
        """Returns the codes of raw rows, `z` [N, ...] and what else the model has of them.

        Args:
          x: rows [N, *shape] in the data's own domain; the rows of the test split by default.
          y: labels [N], if the model reads them.

        Raises:
          UserError: for a model without codes, or rows that it cannot read.
        """
        return encode.encode(self.model, self.state, self.spec, self._rows(x, y))

    def decode(self, latent: Any) -> Samples:
        """Decodes latents, such as the codes that `encode` returns.

        Args:
          latent: `z` [N, ...], or a mapping with `z` and what else the model decodes, such as labels `y` [N].

        Raises:
          UserError: for a model that does not decode.
        """
        if not isinstance(latent, Mapping):
            latent = {"z": latent}
        arrays = {name: np.asarray(value) for name, value in latent.items()}
        return Samples({"x": paths.decode(self.model, self.state, self.spec, arrays)}, self.spec)

    def interpolate(
        self, num: int = 8, steps: int = 16, *, x: Any = None, y: Any = None, seed: int = 0, latents: str = "spherical"
    ) -> np.ndarray:
        """Returns decoded paths through the space of latents, [num, steps, *shape]; `strip` draws them.

        Args:
          num: number of paths.
          steps: points of a path, both ends included.
          x: rows [2 * num, *shape] in the data's own domain, whose codes are joined in pairs; by default draws of the prior
            are joined.
          y: labels [2 * num], if the model reads them.
          seed: of the draws.
          latents: `spherical`, along great circles, or `linear`.

        Raises:
          UserError: for a model without a continuous latent, or rows that it cannot encode.
        """
        between = paths.PATHS[choose("latents", latents, paths.PATHS)]
        rows = None if x is None else self._rows(x, y)
        return paths.paths(self, num, steps, seed, between, closed=False, rows=rows)

    def traverse(self, num: int = 8, steps: int = 16, *, seed: int = 0) -> np.ndarray:
        """Returns decoded traversals, [num, steps, *shape]; `strip` draws them.

        Row i moves one latent from -3 to 3 standard deviations of the prior; the others stay those of one draw. The latents
        that vary most over the test rows come first.

        Args:
          num: number of latents, at most all.
          steps: points of a traversal.
          seed: of the draw.

        Raises:
          UserError: for a model without a continuous latent.
        """
        order, _ = paths.by_activity(self)
        return paths.traversals(self, order, num, steps, seed)

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

    def complete(self, path: str | Path, *, seed: int = 0) -> Samples:
        """Draws the missing cells of a table, given the observed cells of their row.

        Args:
          path: a CSV or Parquet file with columns of the run's table.
          seed: of the draws; another seed gives another completion.

        Returns:
          The rows of the file without missing cells. `save` writes observed cells as they stand in the file.

        Raises:
          UserError: for data that are no table, a model that cannot complete, or a file that cannot be read.
        """
        if not self.spec.tabular:
            raise UserError(
                f"{self.spec.name} holds {self.spec.kind} data; expected a table. run.inpaint completes images"
            )
        file = evidence.read_file(self.spec, str(path))
        given = evidence.as_given(self.spec, file.x)
        rows = draw.draw(self.model, self.state, self.spec, seed, len(file.x), given, fixed_cells=file.x)
        return Samples(rows, self.spec, file)

    def query(self, of: str, given: str | None = None, *, seed: int = 0) -> queries.Distribution:
        """Returns the distribution of one column of a table: `levels` with their probabilities, or `quantiles`.

        Args:
          of: name of the column.
          given: a condition on other columns, such as `smoke=yes,age>40`.
          seed: of the draws, for a column of numbers or a range.

        Raises:
          UserError: for an unknown column, an impossible condition, or a model without an exact likelihood.
        """
        return queries.distribution(self, of, given, seed)

    def information(
        self, of: str, about: str | None = None, given: str | None = None, *, num: int = 10_000, seed: int = 0
    ) -> queries.Information:
        """Returns an entropy or a mutual information of columns, in nats: H(of), H(of | given), I(of; about | given).

        A Bayesian network gives it exactly, another model from samples, with a standard error.

        Args:
          of: names of columns, as `NAME,NAME`.
          about: names of columns; by default the entropy of `of` is returned.
          given: names of the columns of the condition.
          num: number of samples of an estimate.
          seed: of the samples.

        Raises:
          UserError: for an unknown column, or a column of numbers in an estimate.
        """
        return queries.information_between(
            self,
            queries.places_of(self.spec, "of", of),
            queries.places_of(self.spec, "about", about),
            queries.places_of(self.spec, "given", given),
            num,
            seed,
        )

    def graph(self) -> Image.Image:
        """Returns the picture of the graph of a Bayesian network.

        An edge is labelled by its share of the bootstrap samples, and the share of both directions, if there are any.

        Raises:
          UserError: for a model without a graph.
        """
        return Image.open(io.BytesIO(graphs.picture(*graphs.network_of(self))))

    def picture(self, x: Any) -> Image.Image:
        """Returns raw rows as one picture, as samples are drawn.

        Args:
          x: rows [N, *shape] in the data's own domain.

        Raises:
          UserError: for data of a kind that has no pictures.
        """
        return pictures.picture_of(self._rows(x, None), self.spec)

    def strip(self, x: Any) -> Image.Image:
        """Returns paths, completions or other series of raw rows as one picture: images in N rows of T, vectors as N lines.

        Args:
          x: [N, T, *shape] in the data's own domain.

        Raises:
          UserError: for data of a kind whose paths have no picture.
        """
        return Image.open(io.BytesIO(pictures.strip(np.asarray(x), self.spec)))

    def _rows(self, x: Any, y: Any) -> Rows:
        """Returns raw rows as verbs take them.

        Raises:
          UserError: for rows of another shape than those of the run.
        """
        if x is None:
            return read_rows(self.spec, self.config["data"])[1]
        return given_rows(self.spec, x, y)


def load(
    workdir: str | Path,
    step: int | None = None,
    replica: int | str | None = None,
    last: bool = False,
    model: Model | None = None,
) -> Run:
    """Loads a trained run from its directory.

    Args:
      workdir: directory of the run.
      step: of the checkpoint; by default the best one if the config of the run selects, else the newest whole one.
      replica: number of a replica, from 0, or `best`, the replica with the best value of the metric that selects; by
        default None: the state of replica 0, and scores of all replicas.
      last: whether the newest checkpoint is loaded even if the run selects.
      model: the model, if the run was trained with objects that no other process can build, such as an Optax
        transformation; built from the config by default.

    Raises:
      UserError: if there is no run, no whole checkpoint or no such replica, or the model cannot be built.
    """
    number = best_replica.replica(Path(workdir), replica) if isinstance(replica, str) else replica
    return Run(*loading.load(workdir, step, number, last, model))
