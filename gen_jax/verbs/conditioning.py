"""Conditions of samples, such as images and texts: read from files, from the command line, or from rows of the data."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.feed.order import Rows
from gen_jax.data.feed.rows import read_rows
from gen_jax.data.kinds import kind_of
from gen_jax.data.source import size_of
from gen_jax.data.sources.class_list import class_list_of
from gen_jax.data.sources.image_folder import SUFFIXES, read_image, visible_files
from gen_jax.data.sources.photo_patches import read_photo
from gen_jax.data.sources.picture_files import read_class_map
from gen_jax.data.sources.video_folder import film_of, films_of, frames_of
from gen_jax.data.spec import Spec, to_model
from gen_jax.errors import UserError
from gen_jax.model import Model
from gen_jax.verbs.given import Request, parse_given, refuse_no_text

SPLIT = "split"  # name in `--given` of the rows of a split
Read = Callable[[Spec, Mapping[str, Any], str], Rows]  # (condition, config of the run, VALUE) -> raw c [n, ...]


class Form(NamedTuple):
    """Describes how `--given` names a condition."""

    name: str  # name before the equals sign
    usage: str  # possible texts, for messages
    read: Read


def needs_condition(model: Model) -> bool:
    """Returns whether a model draws samples for a condition `c` only, which has no prior.

    Args:
      model: the model.
    """
    return "c" in model.given


def conditions_of_rows(model: Model, spec: Spec, rows: Rows) -> Request:
    """Returns the conditions of raw rows, as a model reads them, with the true rows.

    Args:
      model: the model.
      spec: facts of the data.
      rows: raw rows with `c`, and with `x`, `y` and `c_length` if they are known.
    """
    given: dict[str, np.ndarray] = {}
    for name in ("y", "c", "c_length"):
        if name in rows and name in model.given:
            given[name] = np.asarray(rows[name])
    if spec.condition is not None and "c" in given:
        given["c"] = np.asarray(to_model(spec.condition, given["c"]))
    truth, length = (np.asarray(rows[name]) if name in rows else None for name in ("x", "length"))
    return Request(given, len(rows["c"]), truth=truth, truth_length=length)


def request_of(
    model: Model,
    spec: Spec,
    config: Mapping[str, Any],
    texts: Sequence[str],
    num: int,
    length: int | None = None,
    counted: bool = False,
) -> Request:
    """Returns the conditions that values of `--given` ask for.

    Args:
      model: the model.
      spec: facts of the data.
      config: config of the run, whose `data` section opens the rows of `split=NAME`.
      texts: values of `--given`: one as `parse_given` takes it, or for a model that needs a condition, NAME=VALUE with
        a name of `form_of`, and labels.
      num: number of samples.
      length: length of sequences, in tokens or frames; by default the length of the data.
      counted: whether the user set this number; by default False. Otherwise a folder, a file of texts or a split may
        have fewer rows.

    Raises:
      UserError: for a missing or an unknown condition, a file that does not fit, or another number of rows than `num`.
        For several values, if the model needs no condition, and in the cases of `parse_given`.
    """
    if not needs_condition(model):
        if len(texts) > 1:
            raise UserError(f"--given has {len(texts)} values; expected one, with several conditions between commas")
        return parse_given(texts[0] if texts else None, num, spec, length)
    for text in texts:
        refuse_no_text(text)
    condition = spec.condition
    assert condition is not None
    form = form_of(condition)
    chosen_texts = [text for text in texts if text.partition("=")[0] in (SPLIT, form.name)]
    if len(chosen_texts) != 1:
        found = ", ".join(texts) or "nothing"
        raise UserError(
            f"--given is {found}; expected one condition of kind {condition.kind}: {form.usage} or {SPLIT}=NAME"
        )
    name, _, value = chosen_texts[0].partition("=")
    if not value:
        raise UserError(f"--given {chosen_texts[0]} has no value; expected {form.usage} or {SPLIT}=NAME")
    if name == SPLIT:
        rows = rows_of_split(spec, config, value, num, counted)
    else:
        rows = form.read(condition, config, value)
        if counted or not of_photos(config):  # because one enlargement of a photo is enough
            rows = repeated(rows, num, counted, chosen_texts[0])
    request = conditions_of_rows(model, spec, rows)
    given = dict(request.given or {})
    labels = [text for text in texts if text not in chosen_texts]
    for condition_text in (None, *labels):  # None for the length alone
        given |= parse_given(condition_text, request.num, spec, length).given or {}
    return request._replace(given=given)


def repeated(rows: Rows, num: int, counted: bool, text: str) -> Rows:
    """Returns conditions of a number of rows: one condition is repeated.

    Args:
      rows: raw conditions.
      num: number of samples.
      counted: whether the user set this number.
      text: the value of `--given`, for the error.

    Raises:
      UserError: for several conditions of another number than the user set.
    """
    num_conditions = len(rows["c"])
    if num_conditions == 1:
        return {name: np.repeat(array, num, 0) for name, array in rows.items()}
    if counted and num_conditions != num:
        raise UserError(f"--given {text} holds {num_conditions} conditions; expected {num}, as --num says")
    return rows


def form_of(condition: Spec) -> Form:
    """Returns how `--given` names a condition, and its reader.

    Args:
      condition: facts of the condition.
    """
    kind = kind_of(condition)
    if kind.still:
        return Form("image", "image=FILE, image=FOLDER", read_pictures)
    if kind.film:
        return Form("video", "video=FILE, video=FOLDER", read_first_frames)
    if kind.tokens:
        return Form("text", "text=WORDS, text=@FILE", read_texts)
    return Form("numbers", "numbers=A,B,...", read_numbers)


def rows_of_split(spec: Spec, config: Mapping[str, Any], split: str, num: int, counted: bool) -> Rows:
    """Returns the first raw rows of a split, at most `num`.

    Args:
      spec: facts of the data.
      config: config of the run.
      split: name of the split.
      num: number of rows.
      counted: whether fewer rows are refused.

    Raises:
      UserError: for an unknown split, fewer rows, or data that have changed.
    """
    size = spec.sizes.get(split, num)
    return read_rows(spec, config["data"], split, num=num if counted else min(num, size))[1]


def read_pictures(condition: Spec, config: Mapping[str, Any], value: str) -> Rows:
    """Returns picture files as conditions `c` [n, ...], in the sides of the run; photos to enlarge keep their sides.

    Args:
      condition: facts of the condition.
      config: config of the run, whose `data.resize` says whether pictures are resized.
      value: a picture, or a folder of pictures.

    Raises:
      UserError: for a file that cannot be read, or a picture that does not fit.
    """
    path = Path(value).expanduser()
    files = visible_files(path)[0] if path.is_dir() else [path]
    if not path.exists() or not files:
        raise UserError(f"--given image={value} is no picture; expected a file or a folder of {', '.join(SUFFIXES)}")
    refuse_other_conditions(condition, config["data"])
    if of_photos(config):
        channels = "luminance" if condition.shape[-1] == 1 else "rgb"
        photos = [read_photo(file, channels) for file in files]
        if len({photo.shape for photo in photos}) > 1:
            raise UserError(f"--given image={value} holds photos of several sizes; expected photos of one size")
        return {"c": np.stack(photos)}
    size = None if config["data"].get("resize") is None else (condition.shape[0], condition.shape[1])
    if kind_of(condition).class_map:
        facts = condition.info.get("class_list") or {"classes": list(condition.vocabulary)}
        classes = class_list_of(facts, condition.name)
        maps = [read_class_map(file, classes, size) for file in files]
        for file, x in zip(files, maps):
            if x.shape != condition.shape:
                raise UserError(f"{file} has {x.shape[1]}x{x.shape[0]} pixels; expected {sides_in_words(condition)}")
        return {"c": np.stack(maps)}
    return {"c": np.stack([read_image(file, None, condition.shape, size) for file in files])}


def of_photos(config: Mapping[str, Any]) -> bool:
    """Returns whether the rows of a run are patches of photos, whose net then takes photos of any sides.

    Args:
      config: config of the run.
    """
    return config["data"].get("patch") is not None


def refuse_other_conditions(condition: Spec, options: Mapping[str, Any]) -> None:
    """Refuses picture files as conditions of a run whose conditions were no picture files.

    Args:
      condition: facts of the condition.
      options: the `data` section of the run's config, of which `hole` is read.

    Raises:
      UserError: for conditions with a hole, or of other numbers than 0 to 255.
    """
    if options.get("hole") is not None:
        raise UserError(f"--given names a picture and data.hole is {options['hole']}; expected {SPLIT}=NAME")
    if condition.dtype != "uint8":
        raise UserError(
            f"--given names a picture and the conditions of this run are numbers of {condition.dtype}; expected {SPLIT}=NAME"
        )


def read_first_frames(condition: Spec, config: Mapping[str, Any], value: str) -> Rows:
    """Returns the first frames of a video as a condition `c` [1, frames, H, W, C], in the sides of the run.

    Args:
      condition: facts of the condition.
      config: config of the run, whose `data.every` is the step from frame to frame.
      value: a strip of frames, a GIF, or a folder of frames.

    Raises:
      UserError: for a file that cannot be read, several videos, too few frames, or frames that do not fit.
    """
    path = Path(value).expanduser()
    if not path.exists():
        raise UserError(f"--given video={value} does not exist; expected a strip, a .gif file or a folder of frames")
    films = films_of(path) if path.is_dir() else [film_of(path)]
    every = config["data"].get("every") or 1
    span = (condition.shape[0] - 1) * every + 1
    if len(films) != 1 or films[0].frames < span:
        counts = ", ".join(str(film.frames) for film in films)
        raise UserError(
            f"--given video={value} holds videos of {counts} frames; expected one video of {span} frames or more"
        )
    return {"c": frames_of(films[0], condition.shape[1:], size_of(config["data"]))[None, :span:every]}


def sides_in_words(spec: Spec) -> str:
    """Returns the sides of images as `WIDTHxHEIGHT`.

    Args:
      spec: facts of the images.
    """
    return f"{spec.shape[1]}x{spec.shape[0]}"


def read_texts(condition: Spec, config: Mapping[str, Any], value: str) -> Rows:
    """Returns texts as conditions `c` [n, L] with `c_length` [n].

    Args:
      condition: facts of the condition.
      config: not used.
      value: a text, or `@` and a file with a text in each line.

    Raises:
      UserError: for a word or a character that the vocabulary lacks, a text that is too long, or an unreadable file.
    """
    texts = [value]
    if value.startswith("@"):
        try:
            texts = [line for line in Path(value[1:]).read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--given text={value} cannot be read ({error}); expected a file of UTF-8 text") from None
        if not texts:
            raise UserError(f"--given text={value} holds no text; expected a text in each line")
    tokens_of = kind_of(condition).tokens
    assert tokens_of is not None
    rows = [tokens_of(condition, text) for text in texts]
    longest = condition.shape[0]
    c = np.zeros((len(rows), longest), condition.dtype)
    for number, tokens in enumerate(rows):
        if len(tokens) > longest:
            raise UserError(f"text {texts[number]!r} has {len(tokens)} tokens; expected at most {longest}")
        c[number, : len(tokens)] = tokens
    return {"c": c, "c_length": np.array([len(tokens) for tokens in rows], np.int32)}


def read_numbers(condition: Spec, config: Mapping[str, Any], value: str) -> Rows:
    """Returns numbers as a condition `c` [1, *shape].

    Args:
      condition: facts of the condition.
      config: not used.
      value: numbers between commas.

    Raises:
      UserError: for anything but as many numbers as the condition has.
    """
    size = int(np.prod(condition.shape))
    try:
        numbers = np.array([float(number) for number in value.split(",")])
    except ValueError:
        numbers = np.empty(0)
    if numbers.size != size:
        raise UserError(f"--given numbers={value} does not fit; expected {size} numbers between commas")
    return {"c": numbers.reshape(1, *condition.shape).astype(condition.dtype)}
