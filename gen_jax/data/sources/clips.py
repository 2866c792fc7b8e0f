"""Cuts videos into clips of one length, whose first frames may be their condition."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.source import Source, say_once
from gen_jax.errors import UserError

SETTINGS = {"frames": 16, "every": 1, "stride": 1, "first": 0}  # settings of clips and their defaults


def clip_settings(options: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Returns the numbers `frames`, `every`, `stride` and `first` of clips.

    Args:
      options: the `data` section of a config.

    Raises:
      UserError: for a number out of its range.
    """
    frames, every, stride, first = (
        default if options.get(name) is None else options[name] for name, default in SETTINGS.items()
    )
    for name, value, least in (("frames", frames, 1), ("every", every, 1), ("stride", stride, 1), ("first", first, 0)):
        if value < least:
            raise UserError(f"data.{name} is {value}; expected at least {least}")
    if first >= frames:
        raise UserError(f"data.first is {first}; expected fewer than the {frames} frames of a clip, see data.frames")
    return frames, every, stride, first


def refuse_condition_of_videos(source: Source) -> None:
    """Refuses videos that have a condition, because a clip would need a part of it.

    Args:
      source: the videos.

    Raises:
      UserError: for such videos.
    """
    if source.condition is not None:
        raise UserError(
            f"the videos of {source.name} have a condition of kind {source.condition.kind}; expected videos without one, "
            "whose first frames are a condition by data.first"
        )


def refuse_short(name: str, split: str, counts: np.ndarray, longest: int, span: int, frames: int) -> None:
    """Says how many videos of a split are too short for a clip, and refuses a split without a clip.

    Args:
      name: name of the data.
      split: name of the split.
      counts: number of clips of each video.
      longest: number of frames of the longest video.
      span: number of frames of a video that a clip needs.
      frames: number of frames of a clip.

    Raises:
      UserError: for a split without a clip.
    """
    short = int((counts == 0).sum())
    if short:
        say_once(f"{name}: {short} of {len(counts)} videos of {split} have fewer than {span} frames")
    if not counts.sum():
        raise UserError(
            f"the videos of {split} of {name} have at most {longest} frames; expected {span} or more for {frames} frames "
            "a clip. Set a smaller --config.data.frames"
        )


def clips(source: Source, options: Mapping[str, Any]) -> Source:
    """Returns the clips of videos: `data.frames` frames, each `data.every`-th, from each `data.stride`-th frame on.

    The first `data.first` frames of a clip are its condition, and the rows are the frames after them. A video that is
    shorter than a clip is left out, and a line says how many are. The clips of a video are consecutive rows; the entry
    `clips` of the facts holds their number by split.

    Args:
      source: videos [F, H, W, C], with lengths if these differ.
      options: the `data` section of a config.

    Raises:
      UserError: for a setting out of its range, or videos that are all too short.
    """
    frames, every, stride, first = clip_settings(options)
    refuse_condition_of_videos(source)
    span = (frames - 1) * every + 1  # frames of the video from the first to the last frame of a clip

    def lengths(split: str) -> np.ndarray:
        return source.lengths(split) if source.lengths else np.full(source.sizes[split], source.shape[0])

    def longest(split: str) -> int:
        return int(lengths(split).max(initial=0))

    @cache
    def counts(split: str) -> np.ndarray:
        return np.maximum(0, (lengths(split) - span) // stride + 1)

    for split in source.sizes:
        refuse_short(source.name, split, counts(split), longest(split), span, frames)

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        ends = np.cumsum(counts(split))
        video = np.searchsorted(ends, indices, "right")
        start = stride * (indices - (ends - counts(split))[video])
        needed, where = np.unique(video, return_inverse=True)
        whole = source.rows(split, needed)
        places = start[:, None] + every * np.arange(frames)
        x = whole["x"][where[:, None], places]
        batch = {"x": x[:, first:]} | ({"y": whole["y"][where]} if "y" in whole else {})
        return {**batch, "c": x[:, :first]} if first else batch

    def first_frames(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": rows(split, indices)["c"]}

    cut = source._replace(
        shape=(frames - first, *source.shape[1:]),
        sizes={split: int(counts(split).sum()) for split in source.sizes},
        rows=rows,
        content=content_hash(source.content, "clips", frames, every, stride, first),
        info={
            **{name: fact for name, fact in source.info.items() if name != "ragged"},
            "clips": {split: counts(split).tolist() for split in source.sizes},
        },
        lengths=None,
    )
    if not first:
        return cut
    condition = cut._replace(shape=(first, *source.shape[1:]), rows=first_frames, classes=(), info={})
    return cut._replace(condition=condition)
