"""Texts whose letters are pairs of tones: recordings with their texts that need no file, generated from a fixed seed.

As on the keys of a telephone, a letter is a low and a high tone. Vowels are longer than consonants, as in speech.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds.audio import Recordings, source_of_recordings
from gen_jax.data.source import Source
from gen_jax.data.sources.recordings_file import encoding_of, with_texts
from gen_jax.errors import choose

TONES = "tones"  # value of `data.name`
LETTERS, VOWELS = "abcdefghijklmnopqrstuvwxyz", "aeiou"
LOW, HIGH = (300.0, 400.0, 520.0, 670.0, 850.0, 1050.0), (1400.0, 1800.0, 2300.0, 2900.0, 3500.0)  # Hz
SIZES = {"train": 400, "validation": 50, "test": 50}
RATE = 8000  # samples a second
LONG, SHORT = 1024, 512  # samples of a vowel or a space, and of a consonant
WORD = (2, 6)  # letters of a word, at least and below
SEED = 0


def spell(text: str) -> np.ndarray:
    """Returns the recording of a text as amplitudes [T]. The tones glide from letter to letter; a space is silent.

    Args:
      text: letters a to z, and spaces.
    """
    sizes = [LONG if letter in VOWELS or letter == " " else SHORT for letter in text]
    numbers = [max(0, LETTERS.find(letter)) for letter in text]
    glide = np.hanning(256) / np.hanning(256).sum()

    def smooth(values: list[float], mode: Literal["edge", "constant"] = "edge") -> np.ndarray:
        padded = np.pad(np.repeat(np.array(values, float), sizes), 128, mode=mode)
        return np.convolve(padded, glide, mode="same")[128:-128]

    loudness = smooth([0.0 if letter == " " else 1.0 for letter in text], "constant") ** 2  # without clicks
    low = np.cumsum(smooth([LOW[number // len(HIGH)] for number in numbers])) / RATE
    high = np.cumsum(smooth([HIGH[number % len(HIGH)] for number in numbers])) / RATE
    return loudness * (0.4 * np.sin(2 * np.pi * low) + 0.2 * np.sin(2 * np.pi * high))


@cache
def texts() -> tuple[str, ...]:
    """Returns the texts of all splits: one or two words of random letters, each text once."""
    random = np.random.default_rng(SEED)
    drawn_texts: dict[str, None] = {}
    while len(drawn_texts) < sum(SIZES.values()):
        words = ("".join(random.choice([*LETTERS], random.integers(*WORD))) for _ in range(random.integers(1, 3)))
        drawn_texts[" ".join(words)] = None
    return tuple(drawn_texts)


@cache
def sounds() -> tuple[np.ndarray, ...]:
    """Returns the recordings of all texts, which a process generates once, because it opens its data several times."""
    return tuple(map(spell, texts()))


def tone_letters(options: Mapping[str, Any]) -> Source:
    """Returns recordings of texts in tones, with the texts as their condition if `data.condition` is `text`.

    Args:
      options: the `data` section of a config.

    Raises:
      UserError: for another condition.
    """
    ends = np.cumsum([0, *SIZES.values()])
    places = {split: np.arange(ends[number], ends[number + 1]) for number, split in enumerate(SIZES)}
    content = content_hash(TONES, [*texts()], [RATE, LONG, SHORT, *LOW, *HIGH], encoding_of(options))
    source = source_of_recordings(Recordings(TONES, sounds(), RATE, places), options, content)
    if options.get("condition") is None:
        return source
    choose(f"data.condition of {TONES}:", options["condition"], ("text",))
    return with_texts(source, TONES, texts(), places, options)
