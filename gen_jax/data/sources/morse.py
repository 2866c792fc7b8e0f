"""Short texts in Morse code: recordings with their texts that need no file. They are generated, from a fixed seed."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds.audio import Recordings, source_of_recordings
from gen_jax.data.source import Source
from gen_jax.data.sources.recordings_file import encoding_of, with_texts
from gen_jax.errors import choose

MORSE = "morse"  # value of `data.name`
CODES = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..".split(),
        strict=True,
    )
)
SIZES = {"train": 400, "validation": 50, "test": 50}
RATE, DOT, PITCH = 8000, 256, 600  # samples a second, samples of a dot, Hz
LETTERS, SEED = (2, 5), 0  # letters of a word, at least and at most


def spell(text: str) -> np.ndarray:
    """Returns the recording of a text as amplitudes [T].

    A dash has the length of three dots. There is a pause of one dot after each of them, of three dots after a letter, and
    of seven between words (ITU-R M.1677-1).

    Args:
      text: letters a to z, and spaces.
    """
    on: list[int] = []
    for letter in text:
        for sign in CODES.get(letter, ""):
            on += [1] * (1 if sign == "." else 3) + [0]
        on += [0] * (2 if letter in CODES else 4)
    loudness = np.convolve(np.repeat(on, DOT), np.hanning(64) / np.hanning(64).sum(), mode="same")  # without clicks
    return 0.5 * loudness * np.sin(2 * np.pi * PITCH / RATE * np.arange(len(loudness)))


@cache
def texts() -> tuple[str, ...]:
    """Returns the texts of all splits: one or two words of random letters, each text once."""
    random = np.random.default_rng(SEED)
    drawn_texts: dict[str, None] = {}
    while len(drawn_texts) < sum(SIZES.values()):
        words = ("".join(random.choice([*CODES], random.integers(*LETTERS))) for _ in range(random.integers(1, 3)))
        drawn_texts[" ".join(words)] = None
    return tuple(drawn_texts)


def morse(options: Mapping[str, Any]) -> Source:
    """Returns recordings of texts in Morse code, with the texts as their condition if `data.condition` is `text`.

    Args:
      options: the `data` section of a config.

    Raises:
      UserError: for another condition.
    """
    ends = np.cumsum([0, *SIZES.values()])
    places = {split: np.arange(ends[number], ends[number + 1]) for number, split in enumerate(SIZES)}
    content = content_hash(MORSE, [*texts()], [RATE, DOT, PITCH], encoding_of(options))
    source = source_of_recordings(Recordings(MORSE, [*map(spell, texts())], RATE, places), options, content)
    if options.get("condition") is None:
        return source
    choose(f"data.condition of {MORSE}:", options["condition"], ("text",))
    return with_texts(source, MORSE, texts(), places, options)
