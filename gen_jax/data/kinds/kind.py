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
Hear = Callable[
    [Mapping[str, np.ndarray], Spec], list[np.ndarray]
]  # (samples in the domain of the data, spec) -> amplitudes [T] of each
Draw = Callable[[np.ndarray, Spec], Image.Image]  # (x in the domain of the data, spec) -> picture


class Kind(NamedTuple):
    """Describes a kind of data. Other modules read these attributes, and never the name of a kind.

    Attributes:
      name: value of `spec.kind`, and of `data.kind` if "kind" is one of the options.
      plural: name of such data in error messages, such as "images".
      axes: a letter for each axis of a row: T time, F frames of a clip, S samples of a sound, H height, W width, C channels,
        D numbers or keys.
      columns: whether each entry of the last axis is a column with its own range and unit; by default False.
      binary: whether the numbers of a row are 0 or 1, so that a likelihood is a probability; by default False.
      symbols: whether the numbers of an array are symbols 0, 1, ... without an order; by default False.
      sounds: function (samples, spec) -> amplitudes [T] of the sound of each row; by default None, if rows are no sounds.
      default_transform: `data.transform` if unset; tokens are never transformed; by default 'signed'.
      scored_with_test: splits whose rows belong to the held-out rows of a likelihood; by default none.
      options: settings of the `data` section that this kind has, but not all kinds; by default none.
      read: suffix of a user's file -> reader (file, `data` section of a config, hash of the content) -> source; by
        default none.
      hold: function (name, values by split, `data` section of a config) -> source, for values of a program that are no
        arrays; by default None.
      recognises: function of values -> whether `hold` opens them, if the program names no kind; by default None.
      write: suffix of a file of samples -> writer (samples, spec) -> bytes. A picture is written with the file; by
        default none.
      picture: function (x [N, *shape], spec) -> picture of the rows, with NaN beyond the end of a sequence; by
        default None.
      strip: function (x [N, T, *shape], spec) -> picture of N paths of T steps; by default None.
      transpose: function (x [N, *shape], semitones [N], spec) -> x of music in another key, on the device; by default
        None.
      tokens: function (spec, text of a user) -> tokens [T] int32; by default None.
      read_tokens: function (spec, tokens [T]) -> their text; by default None.
      stream: function spec -> (next token -> the text that it completes); by default None.
    """

    name: str
    plural: str
    axes: str
    columns: bool = False
    binary: bool = False
    symbols: bool = False
    sounds: Hear | None = None
    default_transform: str = "signed"
    scored_with_test: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    read: Mapping[str, Read] = {}
    hold: Hold | None = None
    recognises: Callable[[Any], bool] | None = None
    write: Mapping[str, Write] = {}
    picture: Draw | None = None
    strip: Draw | None = None
    transpose: Callable[[Any, Any, Spec], Any] | None = None
    tokens: Callable[[Spec, str], np.ndarray] | None = None
    read_tokens: Callable[[Spec, np.ndarray], str] | None = None
    stream: Callable[[Spec], Callable[[int], str]] | None = None

    @property
    def rank(self) -> int:
        """Returns the number of axes of a row."""
        return len(self.axes)

    @property
    def time(self) -> bool:
        """Returns whether the first axis of a row is time. Such rows are sequences, whose lengths may differ."""
        return self.axes.startswith("T")

    @property
    def sound(self) -> bool:
        """Returns whether a row is a recording, which can be heard."""
        return self.sounds is not None

    @property
    def pixels(self) -> bool:
        """Returns whether a row holds the pixels of one image."""
        return self.axes == "HWC"

    @property
    def class_map(self) -> bool:
        """Returns whether a row holds the class of each pixel of an image."""
        return self.axes == "HW"

    @property
    def film(self) -> bool:
        """Returns whether a row holds the frames of one clip."""
        return self.axes == "FHWC"

    @property
    def still(self) -> bool:
        """Returns whether a row is one image, or the classes of its pixels."""
        return self.pixels or self.class_map

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Returns the suffixes of files of samples, without .npz arrays. Training uses the first suffix."""
        return (*self.write, *((".png",) if self.picture else ()))
