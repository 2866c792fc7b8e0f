"""Bars of tunes in ABC notation: whether the durations of their notes sum to the metre."""

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.sequences.paired_texts import reads_texts, texts_of

FIELD = re.compile(r"^([A-Za-z]):\s*(.*)$")  # a line of the header, or between lines of notes
ENDING = re.compile(r"\[\d")  # number of an ending
BAR = re.compile(r"[|:\]]*\|[|:\]]*|::")  # end of a bar, with the marks of a repeat
TUPLET = re.compile(r"\((\d)")
NOTE = re.compile(r"(?:[_^=]*[A-Ga-g][,']*|z)(\d*)(/*)(\d*)")
CHORD = re.compile(r"\[[^\]|]*\]")  # notes at the same time
TUPLETS = {2: Fraction(3, 2), 3: Fraction(2, 3), 4: Fraction(3, 4)}  # notes -> factor of their durations
SEEN = 1000  # rows of the training split in which tunes are looked for
METRES = {"C": Fraction(1), "C|": Fraction(1)}


def fraction(text: str) -> Fraction | None:
    """Returns a fraction such as 6/8; None for any other text.

    Args:
      text: the text, after the colon of a field.
    """
    text = text.strip()
    if text in METRES:
        return METRES[text]
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    return Fraction(int(found[1]), int(found[2])) if found and int(found[1]) and int(found[2]) else None


def duration(bar: str) -> Fraction:
    """Returns the sum of the durations of the notes of a bar, in units of the length of a note.

    Args:
      bar: notes in ABC notation. Names of chords in quotes and decorations do not count.
    """
    text = CHORD.sub(first_note, bar)
    total, factor, num_notes, place = Fraction(0), Fraction(1), 0, 0
    while place < len(text):
        tuplet, note = TUPLET.match(text, place), NOTE.match(text, place)
        if tuplet:
            num_notes, factor, place = int(tuplet[1]), TUPLETS.get(int(tuplet[1]), Fraction(1)), tuplet.end()
        elif note:
            whole, slashes, below = note.groups()
            divisor = int(below) if below and int(below) else 2 ** len(slashes)
            total += Fraction(int(whole or 1), divisor) * (factor if num_notes else 1)
            num_notes, place = max(0, num_notes - 1), note.end()
        else:
            place += 1
    return total


def first_note(chord: re.Match) -> str:
    """Returns the first of the notes at the same time, which all last as long.

    Args:
      chord: the notes, in brackets.
    """
    note = NOTE.search(chord[0])
    return note[0] if note else ""


def bars_of(text: str) -> Iterator[tuple[Fraction, Fraction]]:
    """Yields the duration of each bar of tunes and its metre, as parts of a whole note.

    The first and the last bar of a tune, of a part and before a mark of a repeat may be incomplete, and are left out.

    Args:
      text: tunes in ABC notation, with an empty line between two tunes. A tune without a metre is left out.
    """
    for tune in text.split("\n\n"):
        metre = unit = None
        notes: list[str] = []
        parts = [notes]
        for line in tune.split("\n"):
            field = FIELD.match(line)
            if field is None:
                notes.append(line.rstrip("\\"))
            elif field[1] == "M":
                metre = fraction(field[2])
            elif field[1] == "L":
                unit = fraction(field[2])
            elif field[1] == "P":
                notes = []
                parts.append(notes)
        if metre is None:
            continue
        unit = unit or Fraction(1, 16 if metre < Fraction(3, 4) else 8)
        for part in parts:
            music = ENDING.sub("", re.sub(r'"[^"]*"|![^!]*!', "", "".join(part)))
            yield from inner_bars(music, metre, unit)


def inner_bars(music: str, metre: Fraction, unit: Fraction) -> Iterator[tuple[Fraction, Fraction]]:
    """Yields the duration and the metre of the bars that begin and end at a plain bar line.

    Args:
      music: the notes of a part.
      metre: duration of a bar, as a part of a whole note.
      unit: duration of a note without a number.
    """
    lines = [(mark.start(), mark.end(), mark[0]) for mark in BAR.finditer(music)]
    for (_, start, begin), (stop, _, end) in zip(lines, lines[1:-1]):
        if begin == end == "|" and music[start:stop].strip():
            yield unit * duration(music[start:stop]), metre


def validity(texts: list[str]) -> float:
    """Returns the share of the bars of tunes whose notes last as long as the metre says; nan without bars.

    Args:
      texts: tunes in ABC notation.
    """
    right = [length == metre for text in texts for length, metre in bars_of(text)]
    return float(np.mean(right)) if right else float("nan")


def valid_bars(real: Real) -> Computation | None:
    """Prepares the share of right bars of texts, if the training text holds tunes in ABC notation."""
    spec = real.spec
    if not reads_texts(spec) or spec.condition is not None or real.test is None:
        return None

    def text_of(rows: Rows) -> str:
        return "".join(texts_of(spec, rows)) if spec.pieces else ""

    first = {name: values[:SEEN] for name, values in real.rows(real.train).items()}
    if np.isnan(validity([text_of(first)])):
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        texts = samples.get("texts")
        share = validity(texts_of(spec, samples) if texts is None else [*texts])
        return {"valid_bars": 0.0 if np.isnan(share) else share}

    def oracle(num: int) -> tuple[str | None, Rows]:
        rows = real.rows(str(real.test))
        return real.test, {"x": rows["x"], "texts": np.array([text_of(rows)])}

    return Computation(values, dict, oracle)


VALID_BARS = Measure(
    (Metric("valid_bars", "share of the bars of tunes whose notes last as long as the metre says", "1", better=1),),
    valid_bars,
    data="windows of tunes in ABC notation, with their metres, and a test split",
    oracle="the whole test split",
    reference="the ABC music standard 2.1, sections 4.3 and 4.13",
)
