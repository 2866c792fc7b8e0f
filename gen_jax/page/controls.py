"""The controls of a run, by its model and the kind of its data: what it can be asked for, and what it answers."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import columns, levels
from gen_jax.data.tables.evidence import column_names
from gen_jax.errors import UserError
from gen_jax.model import Model
from gen_jax.run import Run, Samples
from gen_jax.verbs import conditioning, draw, paths
from gen_jax.verbs.complete import completing

ANY = "any"  # label that asks for none
SLIDERS = 8  # latents with a slider, at most
LARGEST_NUM = 256  # samples of a request, at most
LARGEST_SEED = 2**31 - 2
LARGEST_LENGTH = 100_000  # tokens or frames of a sample, at most
COLOURS = (1, 3, 4)  # channels of images that a browser shows


class Controls(NamedTuple):
    """Says what a run can be asked for.

    Attributes:
      labels: names of the labels; none if samples take no label.
      condition: name of the condition in `--given`: image, video, text or numbers; empty without a condition.
      file: whether the condition is a file.
      prefix: whether a text can go on from its beginning.
      cells: names of the columns whose cells can be given; none for other data.
      queried: columns whose distribution given others is exact; none without an exact likelihood.
      length: whether sequences have a length.
      options: options of the sampler with their defaults.
      latents: whether there are latents to move.
      path: whether paths between two samples can be drawn.
      completed: whether images can be completed.
    """

    labels: tuple[str, ...]
    condition: str
    file: bool
    prefix: bool
    cells: tuple[str, ...]
    queried: tuple[str, ...]
    length: bool
    options: Mapping[str, Any]
    latents: bool
    path: bool
    completed: bool


class Question(NamedTuple):
    """Holds what a user asks of a run.

    Attributes:
      num: number of samples.
      seed: seed of the draws.
      label: name of a label, or `ANY`.
      condition: the condition as `--given` takes it after its name: a text, numbers or a path; empty for none.
      prefix: beginning of a text; empty for none.
      cells: given cells by the name of their column.
      length: length of sequences; None for that of the data.
      options: options of the sampler that differ from their defaults.
    """

    num: int = 16
    seed: int = 0
    label: str = ANY
    condition: str = ""
    prefix: str = ""
    cells: Mapping[str, str] = {}
    length: int | None = None
    options: Mapping[str, Any] = {}


def controls_of(run: Run) -> Controls:
    """Returns what a run can be asked for.

    Args:
      run: the run.
    """
    spec, model, kind = run.spec, run.model, kind_of(run.spec)
    needs = conditioning.needs_condition(model) and spec.condition is not None
    tabular = spec.tabular and {"x", "mask"} <= {*model.given}
    names = tuple(column_names(spec)) if tabular else ()
    exact = model.log_prob is not None and "mask" in model.given
    form = conditioning.form_of(spec.condition) if needs and spec.condition is not None else None
    moves = not needs and has_latents(run)
    return Controls(
        labels=tuple(spec.classes) if "y" in model.given and not spec.tabular else (),
        condition="" if form is None else form.name,
        file=form is not None and "=FILE" in form.usage,
        prefix=bool(kind.tokens and levels(spec) and {"x", "mask"} <= {*model.given} and not needs),
        cells=names,
        queried=tuple(name for name, facts in zip(names, columns(spec)) if "levels" in facts)
        if exact and names
        else (),
        length=kind.time and "length" in model.given,
        options={name: value for name, value in model.options.items() if name != "stream"},
        latents=moves,
        path=moves and kind.strip is not None,
        completed=kind.pixels and run.spec.shape[2] in COLOURS and not needs and can_complete(model, run),
    )


def has_latents(run: Run) -> bool:
    """Returns whether a run has a continuous latent that can be decoded.

    Args:
      run: the run.
    """
    try:
        paths.draws(run.model, run.state, 0, 1)
    except UserError:
        return False
    return True


def can_complete(model: Model, run: Run) -> bool:
    """Returns whether a model can complete the rows of a run.

    Args:
      model: the model.
      run: the run.
    """
    try:
        completing(model, run.spec)
    except UserError:
        return False
    return True


def given_texts(controls: Controls, question: Question) -> list[str]:
    """Returns the values of `--given` that ask a question.

    Args:
      controls: what the run can be asked for.
      question: the question.

    Raises:
      UserError: for a text that names a file, or a label beside a beginning, of which a text takes one.
    """
    texts = []
    if controls.condition and not controls.file and question.condition.startswith("@"):
        raise UserError("the text begins with '@', which names a file on the command line; expected the text itself")
    if controls.condition:
        texts.append(f"{controls.condition}={question.condition}" if question.condition else "split=test")
    if controls.labels and question.label != ANY:
        texts.append(f"y={question.label}")
    if controls.prefix and question.prefix:
        if texts:
            raise UserError("a label and the beginning of a text are both given; expected one of them")
        texts.append(f"prefix={question.prefix}")
    cells = {name: value.strip() for name, value in question.cells.items() if value and value.strip()}
    if controls.cells and cells:
        texts.append(",".join(quoted(f"{name}={value}") for name, value in cells.items()))
    return texts


def quoted(text: str) -> str:
    """Returns a part of a condition in quotes if it has a comma, as `--given` reads it.

    Args:
      text: the part.
    """
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text


def command(run: Run, controls: Controls, question: Question) -> str:
    """Returns the command that draws the same samples.

    Args:
      run: the run.
      controls: what the run can be asked for.
      question: the question.
    """
    words = ["python", "-m", "gen_jax.sample", "--workdir", str(run.workdir), "--step", str(run.step)]
    words += ["--num", str(question.num), "--seed", str(question.seed)]
    for text in given_texts(controls, question):
        words += ["--given", text]
    if question.length is not None:
        words += ["--length", str(question.length)]
    for name, value in question.options.items():
        words += ["--how", f"{name}={value}"]
    return shlex.join([*words, "--out", "samples.npz"])


def check(name: str, value: int, low: int, high: int) -> int:
    """Returns a number that is not out of its range.

    Args:
      name: name of the number, for the error.
      value: the number.
      low: smallest number.
      high: largest number.

    Raises:
      UserError: for another number.
    """
    if not low <= value <= high:
        raise UserError(f"{name} is {value}; expected {low} to {high}")
    return value


def answer(run: Run, controls: Controls, question: Question) -> Samples:
    """Returns the samples that a question asks for: the bytes of the command.

    Args:
      run: the run.
      controls: what the run can be asked for.
      question: the question.

    Raises:
      UserError: for a number out of its range, or a condition or an option that the model does not take.
    """
    check("number of samples", question.num, 1, LARGEST_NUM)
    check("seed", question.seed, 0, LARGEST_SEED)
    if question.length is not None:
        check("length", question.length, 1, LARGEST_LENGTH)
    settings = run.config["sample"]
    texts, length = given_texts(controls, question), question.length or settings.get("length")
    request = conditioning.request_of(run.model, run.spec, run.config, texts, question.num, length)
    options = draw.chosen_options(settings, question.options)
    return Samples(draw.draw_request(run.model, run.state, run.spec, question.seed, request, options), run.spec)


def prior_of(run: Run, order: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and the standard deviation of some latents under the prior.

    Args:
      run: the run.
      order: numbers of the latents.
    """
    z = paths.draws(run.model, run.state, 0, paths.PRIOR_ROWS)["z"].reshape(paths.PRIOR_ROWS, -1)[:, [*order]]
    return z.mean(0), np.maximum(z.std(0), 1e-9)


def moved(run: Run, seed: int, order: Sequence[int], places: Sequence[float]) -> Samples:
    """Returns the sample of a latent some of whose numbers are moved.

    Args:
      run: the run.
      seed: seed of the latent.
      order: numbers of the latents that are moved.
      places: their places, in standard deviations of the prior from its mean.
    """
    latent, (mean, deviation) = paths.draws(run.model, run.state, seed, 1), prior_of(run, order)
    z = latent["z"].reshape(-1).copy()
    z[[*order]] = mean + deviation * np.asarray(places)
    return run.decode({**latent, "z": z.reshape(latent["z"].shape)})


def drawn_places(run: Run, seed: int, order: Sequence[int]) -> list[float]:
    """Returns the places of the latents of a draw, in standard deviations of the prior from its mean.

    Args:
      run: the run.
      seed: seed of the draw.
      order: numbers of the latents.
    """
    mean, deviation = prior_of(run, order)
    z = paths.draws(run.model, run.state, seed, 1)["z"].reshape(-1)[[*order]]
    return np.clip((z - mean) / deviation, -paths.REACH, paths.REACH).tolist()
