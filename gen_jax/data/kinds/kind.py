"""The record of a kind of data: the meaning of a row, and the functions that open, draw and write rows."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gen_jax.data.source import Source
from gen_jax.data.spec import Spec

Read = Callable[[Path, Mapping[str, Any], str], Source]  # (file, `data` section of a config, hash of the content)
Hold = Callable[
    [str, Mapping[str, Any], Mapping[str, Any]], Source
]  # (name, values by split, `data` section of a config)
Write = Callable[[dict[str, np.ndarray], Spec], bytes]  # (samples in the domain of the data, spec) -> content of a file
Draw = Callable[[np.ndarray, Spec], Image.Image]  # (x in the domain of the data, spec) -> picture


class Kind(NamedTuple):
    """Describes a kind of data. Other modules read these attributes, and never the name of a kind."""

    name: str  # value of `spec.kind`, and of `data.kind` if "kind" is one of the options
    plural: str  # name of such data in error messages, such as "images"
    axes: str  # a letter for each axis of a row: T time, H height, W width, C channels, D numbers or keys
    columns: bool = False  # whether each entry of the last axis is a column with its own range and unit
    binary: bool = False  # whether the numbers of a row are 0 or 1, so that a likelihood is a probability
    symbols: bool = False  # whether the numbers of an array are symbols 0, 1, ... without an order
    sound: bool = False  # whether a row is a recording, which can be heard
    default_transform: str = "signed"  # `data.transform` if unset; tokens are never transformed
    scored_with_test: tuple[str, ...] = ()  # splits whose rows belong to the held-out rows of a likelihood
    options: tuple[str, ...] = ()  # settings of the `data` section that this kind has, but not all kinds
    read: Mapping[str, Read] = {}  # suffix of a user's file -> reader
    hold: Hold | None = None  # opens values of a program that are no arrays
    recognises: Callable[[Any], bool] | None = None  # whether `hold` opens such values, if the program names no kind
    write: Mapping[str, Write] = {}  # suffix of a file of samples -> writer; a picture is written with the file
    picture: Draw | None = None  # draws x [N, *shape]; NaN beyond the end of a sequence
    strip: Draw | None = None  # draws N paths x [N, T, *shape] of T steps
    tokens: Callable[[Spec, str], np.ndarray] | None = None  # (spec, text of a user) -> tokens [T] int32
    stream: Callable[[Spec], Callable[[int], str]] | None = None  # spec -> (next token -> the text that it completes)

    @property
    def rank(self) -> int:
        """Returns the number of axes of a row."""
        return len(self.axes)

    @property
    def time(self) -> bool:
        """Returns whether the first axis of a row is time. Such rows are sequences, whose lengths may differ."""
        return self.axes.startswith("T")

    @property
    def pixels(self) -> bool:
        """Returns whether a row holds the pixels of one image."""
        return self.axes == "HWC"

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Returns the suffixes of files of samples, without .npz arrays. Training uses the first suffix."""
        return (*self.write, *((".png",) if self.picture else ()))
