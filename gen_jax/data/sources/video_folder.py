"""A folder of videos as a source of rows: strips of frames side by side, moving GIFs, or a folder of frames each."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageSequence

from gen_jax.data.cache import content_hash, files_hash
from gen_jax.data.limits import ask
from gen_jax.data.source import Size, Source, fit, image_or_vector, size_of
from gen_jax.data.sources.image_folder import (
    MODES,
    SUFFIXES,
    channels_of,
    classes_of,
    opened_image,
    read_image,
    sides_of,
    split_roots,
    top_folder,
    visible_files,
)
from gen_jax.data.sources.splits import held_out
from gen_jax.errors import UserError, readable

MOVING = ".gif"


class Film(NamedTuple):
    """Names the files of a video: one strip, one GIF, or a file for each frame."""

    name: Path
    files: tuple[Path, ...]
    frames: int
    strip: bool = False


def video_folder(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens a folder of videos and its sub-folders as rows [frames, H, W, C], each with its length.

    A picture whose width is twice its height or more, and a multiple of it, is a strip of square frames from left to
    right. A GIF is a video of its frames, whatever their durations are. Otherwise the pictures of a folder are the frames
    of one video, in the order of their names. Sub-folders give the splits and the labels, as in a folder of images.
    Without splits, the videos with the smallest hashes of their names are held out.

    Args:
      path: the folder.
      options: the `data` section of a config.

    Raises:
      UserError: for a folder without videos, a file that cannot be read, or frames of different sizes.
    """
    films = films_of(path)
    ask(sum(file.stat().st_size for film in films for file in film.files), f"data.path {path}")
    roots = split_roots(path, [film.name for film in films])
    parts = {split: [film for film in films if film.name.is_relative_to(root)] for split, root in roots.items()}
    folders = {split: [top_folder(film.name, roots[split]) for film in each] for split, each in parts.items()}
    classes = classes_of(path, folders, "videos")
    labels = {film.name: name for split, each in parts.items() for film, name in zip(each, folders[split], strict=True)}
    if len(parts) == 1:
        places = held_out(f"data.path {path}", [str(film.name.relative_to(path)) for film in films], options, "videos")
        parts = {split: [films[at] for at in rows] for split, rows in places.items()}
    size = size_of(options)
    sides, channels = frame_facts(films[0])
    shape = image_or_vector(str(path), (*sides, channels), size)[1]
    longest = max(film.frames for film in films)
    lengths = {split: np.array([film.frames for film in each], int) for split, each in parts.items()}
    codes = {name: code for code, name in enumerate(classes)}

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        x = np.zeros((len(indices), longest, *shape), np.uint8)
        for row, index in enumerate(indices):
            film = parts[split][index]
            x[row, : film.frames] = frames_of(film, shape, size)
        batch = {"x": x, "length": lengths[split][indices].astype(np.int32)}
        if not classes:
            return batch
        return {**batch, "y": np.array([codes[labels[parts[split][index].name]] for index in indices], np.int32)}

    return Source(
        name=path.name,
        kind="video",
        shape=(longest, *shape),
        dtype=np.dtype(np.uint8),
        sizes={split: len(each) for split, each in parts.items()},
        rows=rows,
        content=content_hash(
            options.get("content") or files_hash([file for film in films for file in film.files]),
            {
                split: [[str(file.relative_to(path)) for file in film.files] for film in each]
                for split, each in parts.items()
            },
        ),
        classes=classes,
        limits=(0, 255),
        info={"ragged": True} | ({"labels": "U"} if classes else {}),
        lengths=lengths.__getitem__,
    )


def films_of(path: Path) -> list[Film]:
    """Returns the videos of a folder and its sub-folders, in the order of their names.

    Args:
      path: the folder.

    Raises:
      UserError: for a folder without pictures, or a file that cannot be read.
    """
    files = visible_files(path, (*SUFFIXES, MOVING))[0]
    if not files:
        raise UserError(
            f"data.path {path} holds no videos; expected strips of frames, .gif files, or folders of frames"
        )
    films, frames = [], dict[Path, list[Path]]()
    for file in files:
        film = film_of(file)
        if film.strip or moves(file):
            films.append(film)
        else:
            frames.setdefault(file.parent, []).append(file)
    return sorted([*films, *(Film(folder, tuple(each), len(each)) for folder, each in frames.items())])


def moves(file: Path) -> bool:
    """Returns whether a file is a GIF.

    Args:
      file: the file.
    """
    return file.suffix.lower() == MOVING


def film_of(file: Path) -> Film:
    """Returns the video of one file: a strip, a GIF, or one frame.

    Args:
      file: the file.

    Raises:
      UserError: for a file that is no image.
    """
    if moves(file):
        with readable(f"{file}", "a GIF"), Image.open(file, formats=("GIF",)) as image:
            return Film(file, (file,), int(getattr(image, "n_frames", 1)))
    height, width = sides_of(file)
    strip = width >= 2 * height and width % height == 0
    return Film(file, (file,), width // height if strip else 1, strip)


def frame_facts(film: Film) -> tuple[tuple[int, int], int]:
    """Returns the height and the width of a frame, and its channels.

    Args:
      film: the video.

    Raises:
      UserError: for a file that is no image.
    """
    file = film.files[0]
    with readable(f"{file}", "a video"):
        if moves(file):
            with Image.open(file, formats=("GIF",)) as image:
                return (image.height, image.width), 3
        with opened_image(file) as image:
            channels = channels_of(image)
    height, width = sides_of(file)
    return (height, height if film.strip else width), channels


@lru_cache(maxsize=256)
def frames_of(film: Film, shape: tuple[int, ...], size: Size | None) -> np.ndarray:
    """Reads the frames of a video, [frames, *shape].

    Args:
      film: the video.
      shape: height, width and channels of a frame.
      size: height and width after resizing; None keeps the size.

    Raises:
      UserError: for a frame of another size, or a file that cannot be read.
    """
    file = film.files[0]
    if not film.strip and not moves(file):
        return np.stack([read_image(frame, file, shape, size) for frame in film.files])
    with readable(f"{file}", "a video"):
        images = images_of(film)
    most = max(channels_of(image) for image in images)
    if most > shape[2] and not moves(file):
        raise UserError(
            f"{file} has {most} channels and the first video has {shape[2]}; expected one mode for all videos"
        )
    x = np.stack([np.asarray(fit(image.convert(MODES[shape[2]]), size)) for image in images])
    x = x.reshape(*x.shape[:3], -1)
    if x.shape[1:] != shape:
        raise UserError(
            f"frames of {file} have {x.shape[2]}x{x.shape[1]} pixels; expected {shape[1]}x{shape[0]}. Choose one size, for "
            "example --config.data.resize=32"
        )
    return x


def images_of(film: Film) -> Sequence[Image.Image]:
    """Returns the frames of a strip or of a GIF.

    Args:
      film: the video.
    """
    file = film.files[0]
    if moves(file):
        with Image.open(file, formats=("GIF",)) as image:
            return [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]
    with opened_image(file) as strip:
        side = strip.height
        return [strip.crop((side * at, 0, side * (at + 1), side)) for at in range(film.frames)]
