"""Kinds of data. Each kind has one file, and one line in `KINDS`."""

from gen_jax.data.kinds.audio import AUDIO
from gen_jax.data.kinds.class_map import CLASS_MAP
from gen_jax.data.kinds.image import IMAGE
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.kinds.mel_series import MEL_SERIES
from gen_jax.data.kinds.phase_spectrogram import PHASE_SPECTROGRAM
from gen_jax.data.kinds.roll import ROLL
from gen_jax.data.kinds.series import SERIES
from gen_jax.data.kinds.spectrogram import SPECTROGRAM
from gen_jax.data.kinds.table import TABLE
from gen_jax.data.kinds.text import TEXT
from gen_jax.data.kinds.tokens import TOKENS
from gen_jax.data.kinds.vector import VECTOR
from gen_jax.data.kinds.video import VIDEO
from gen_jax.data.kinds.voices import VOICES
from gen_jax.data.kinds.wave import WAVE
from gen_jax.data.source import Source
from gen_jax.data.spec import Spec
from gen_jax.errors import choose

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        IMAGE,
        CLASS_MAP,
        VIDEO,
        VECTOR,
        TEXT,
        TOKENS,
        AUDIO,
        SPECTROGRAM,
        PHASE_SPECTROGRAM,
        WAVE,
        MEL_SERIES,
        ROLL,
        VOICES,
        SERIES,
        TABLE,
    )
}


def kind_of(data: Spec | Source) -> Kind:
    """Returns the kind of data.

    Args:
      data: facts or source of the data.

    Raises:
      UserError: for an unknown kind.
    """
    return KINDS[choose("kind of data", data.kind, KINDS)]
