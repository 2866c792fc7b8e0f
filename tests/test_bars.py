"""Bars of tunes in ABC notation: durations by hand, and the measure on windows of tunes."""

from fractions import Fraction

import numpy as np
import pytest

import gen_jax as gj
from gen_jax.data.feed.load import load
from gen_jax.metrics.features import real_data
from gen_jax.metrics.sequences.bars import bars_of, duration, valid_bars, validity

TUNE = """T:A tune
M:3/4
L:1/4
K:G
e|"G"e2d|B3/2A/2G|"Am"^A,2B|[EG]3|d z/ z/ (3d/e/f/|e2:|
P:B
"C"A2B|A2|"D"E2F|G3||
"""


@pytest.mark.parametrize(
    ("bar", "length"),
    [
        ("e2d", 3),
        ("B3/2A/2G", 3),
        ("A/B/c//d//", Fraction(3, 2)),
        ("(3DEF", 2),
        ("(3D/E/F/ G", 2),
        ("[CEG]2z", 3),
        ("^f'2_B,,=c", 4),
        ("", 0),
    ],
)
def test_durations_are_those_of_the_notation(bar, length):
    assert duration(bar) == length


def test_bars_are_those_between_plain_lines():
    """Neither the pick-up, nor the bar before a repeat, nor the first bar of a part, nor the last one; one of six is wrong."""
    bars = [*bars_of(TUNE)]
    assert [length for length, _ in bars] == [Fraction(3, 4)] * 5 + [Fraction(1, 2), Fraction(3, 4)]
    assert {metre for _, metre in bars} == {Fraction(3, 4)} and validity([TUNE]) == pytest.approx(6 / 7)
    assert np.isnan(validity(["T:no metre\nabc|abc|abc|"])) and np.isnan(validity(["M:none\nabc|abc|abc|"]))
    assert validity(["M:2/4\nABcdefga|ABcdefga|AB|cdef|"]) == pytest.approx(
        1 / 2
    )  # sixteenths, because the metre is short
    assert validity(["M:C\nABcdefga|ABcdefga|A|"]) == 1  # eighths


def test_tunes_are_measured_and_other_texts_are_not(tmp_path):
    for name, text in {"train": TUNE * 9, "val": TUNE, "test": TUNE + "\n" + TUNE}.items():
        (tmp_path / f"{name}.abc").write_text(text)
    options = {**gj.config.base_config().data.to_dict(), "path": str(tmp_path), "window": 16}
    data = load(options, batch_size=2, seed=0, steps=1, quiet=True)
    computation = valid_bars(real_data(data.spec, data.read, ("train", "test")))
    split, rows = computation.oracle(10)
    assert split == "test" and computation.values(rows)["valid_bars"] == pytest.approx(
        12 / 14, abs=0.08
    )  # its end is cut
    tokens = np.array([[data.spec.vocabulary.index(letter) for letter in TUNE]])
    assert computation.values({"x": tokens})["valid_bars"] == pytest.approx(6 / 7)
    assert computation.values({"x": tokens[:, :9]})["valid_bars"] == 0  # no bar
    plain = load({**options, "path": None, "name": "tiny_shakespeare"}, batch_size=2, seed=0, steps=1, quiet=True)
    assert valid_bars(real_data(plain.spec, plain.read, ("train", "test"))) is None
