"""The record of a kind of data: what a row is, and how rows are opened, drawn and written."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gen_jax.data.source import Source
from gen_jax.data.spec import Spec

Read = Callable[[Path, Mapping[str, Any], str], Source]  # (file, `data` section of a config, hash of the content)
Write = Callable[[dict[str, np.ndarray], Spec], bytes]  # (samples in the data's own domain, spec) -> content of a file
Draw = Callable[[np.ndarray, Spec], Image.Image]  # (x in the data's own domain, spec) -> picture


class Kind(NamedTuple):
    """A kind of data. The attributes are what other modules ask for; they never ask for a kind's name."""

    name: str  # in `spec.kind`, and in `data.kind` if "kind" is one of the options
    plural: str  # as error messages name such data: "images"
    axes: str  # a letter for each axis of a row: T time, H height, W width, C channels, D numbers or keys
    columns: bool = False  # each entry of the last axis is a column with a range and a unit of its own
    binary: bool = False  # the numbers of a row are 0 or 1, and a likelihood is a probability
    sound: bool = False  # a row is a recording, which can be heard
    default_transform: str = "signed"  # `data.transform` if unset; tokens are never transformed
    scored_with_test: tuple[str, ...] = ()  # splits whose rows belong to the held-out rows of a likelihood
    options: tuple[str, ...] = ()  # settings of the `data` section that not all kinds have, and this kind has
    read: Mapping[str, Read] = {}  # suffix of a user's file -> reader
    write: Mapping[str, Write] = {}  # suffix of a file of samples -> writer; a picture stands beside the file
    picture: Draw | None = None  # draws x [N, *shape]; NaN beyond the end of a sequence
    strip: Draw | None = None  # draws N paths x [N, T, *shape], each in T steps
    tokens: Callable[[Spec, str], np.ndarray] | None = None  # (spec, what a user writes) -> tokens [T] int32
    stream: Callable[[Spec], Callable[[int], str]] | None = None  # spec -> (next token -> the text that it completes)

    @property
    def rank(self) -> int:
        """Returns the number of axes of a row."""
        return len(self.axes)

    @property
    def time(self) -> bool:
        """Returns whether rows lead with time: they are sequences, whose lengths may differ."""
        return self.axes.startswith("T")

    @property
    def pixels(self) -> bool:
        """Returns whether a row is the pixels of one image."""
        return self.axes == "HWC"

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Returns the suffixes of files of samples, without the arrays of .npz; training writes the first."""
        return (*self.write, *((".png",) if self.picture else ()))
