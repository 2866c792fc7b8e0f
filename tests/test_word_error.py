"""Measures of spoken texts: edits and time warping against brute force, and a recogniser that learns a small world."""

from functools import lru_cache

import numpy as np
import pytest

from gen_jax.config import base_config
from gen_jax.data.feed.load import load
from gen_jax.metrics.features import real_data
from gen_jax.metrics.sequences import recogniser
from gen_jax.metrics.sequences.word_error import (
    HEARD,
    cepstra,
    edit_counts,
    edits,
    error_rate,
    nearest_word,
    retrieval,
    warped_distances,
    word_error,
)


def brute_edits(a: tuple, b: tuple) -> int:
    @lru_cache(None)
    def least(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(least(i - 1, j) + 1, least(i, j - 1) + 1, least(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return least(len(a), len(b))


def test_edits_equal_brute_force():
    random = np.random.default_rng(0)
    for _ in range(60):
        a, b = (tuple(random.integers(0, 3, random.integers(0, 7)).tolist()) for _ in range(2))
        assert edits(a, b) == brute_edits(a, b), (a, b)
    assert error_rate([["a", "b"], []], [["a", "c"], ["d", "e"]]) == 3 / 4
    assert edits("kitten", "sitting") == 3
    assert edit_counts("ab", ["", "b", "ab", "abab", "ba"]).tolist() == [2, 1, 0, 2, 2]
    lexicon = ["soccer", "sock", "a"]
    assert [nearest_word(word, lexicon) for word in ("soccar", "sock", "", "soc")] == ["soccer", "sock", "a", "sock"]


def brute_warped(query: np.ndarray, other: np.ndarray) -> float:
    @lru_cache(None)
    def least(i: int, j: int) -> float:
        cost = float(np.linalg.norm(query[i] - other[j]))
        if i == j == 0:
            return 2 * cost
        ways = []
        if i:
            ways.append(least(i - 1, j) + cost)
        if j:
            ways.append(least(i, j - 1) + cost)
        if i and j:
            ways.append(least(i - 1, j - 1) + 2 * cost)
        return min(ways)

    return least(len(query) - 1, len(other) - 1) / (len(query) + len(other))


def test_warped_distances_equal_brute_force():
    random = np.random.default_rng(0)
    query = random.normal(size=(5, 3))
    others = [random.normal(size=(size, 3)) for size in (1, 3, 5, 8)]
    found = warped_distances(query, others)
    np.testing.assert_allclose(found, [brute_warped(query, other) for other in others], rtol=1e-4)
    slower = np.repeat(query, 2, 0)
    assert warped_distances(query, [*others, slower]).argmin() == 4 and warped_distances(query, [slower])[0] < 1e-3


def test_cepstra_leave_out_the_loudness():
    x = np.random.default_rng(0).normal(size=(4, 64))
    assert cepstra(x).shape == (4, 13)
    np.testing.assert_allclose(cepstra(x), cepstra(x + 3), atol=1e-6)


LETTERS = {"a": 300, "b": 900, "c": 1800}
RATE = 8000


def beeps(text: str) -> np.ndarray:
    """Returns a tone for each letter, and a pause for each space."""
    time = np.arange(1024) / RATE
    parts = [np.sin(2 * np.pi * LETTERS[letter] * time) if letter in LETTERS else 0 * time for letter in text]
    return 0.5 * np.concatenate(parts)


@pytest.fixture
def real(tmp_path):
    random = np.random.default_rng(0)
    texts = [" ".join("".join(random.choice([*"abc"], 2)) for _ in range(random.integers(1, 4))) for _ in range(120)]
    sounds = [beeps(text) for text in texts]
    lengths = [len(sound) for sound in sounds]
    split = ["train"] * 100 + ["test"] * 20
    np.savez(tmp_path / "x.npz", audio=np.concatenate(sounds), length=lengths, text=texts, split=split, rate=RATE)
    options = {"path": str(tmp_path / "x.npz"), "encoding": "log_mel", "condition": "text"}
    data = load({**base_config().data.to_dict(), **options}, batch_size=2, seed=0, steps=1, quiet=True)
    return real_data(data.spec, data.read, ("train", "test"))


@pytest.mark.study
def test_a_recogniser_reads_what_is_said_and_tells_texts_apart(real, monkeypatch):
    monkeypatch.setattr(
        recogniser, "RECIPE", recogniser.RECIPE._replace(steps=300, units=32, layers=2, learning_rate=6e-3, copies=10.0)
    )
    computation = word_error(real)
    split, rows = computation.oracle(20)
    scores = computation.values(rows)
    assert split == "test" and scores["word_error"] < 0.1 and scores["token_error"] < 0.1
    assert scores["word_error_rolled"] > 0.5 and scores["word_error_copy"] < 0.2 and scores["word_error_nearest"] < 0.5
    spoken = {name: value for name, value in rows.items() if name != HEARD}
    assert computation.values(spoken)["word_error"] == scores["word_error_copy"]
    silent = {**spoken, "x": np.full_like(rows["x"], real.spec.low)}
    assert computation.values(silent)["word_error"] > 0.9
    protocol = computation.protocol()
    assert protocol["recogniser_error"] == pytest.approx(scores["word_error"]) and len(protocol["recogniser"]) > 8
    again = word_error(real)  # from the cache
    assert again.protocol() == protocol


@pytest.mark.study
def test_a_bad_recogniser_is_no_judge(real, monkeypatch, capsys):
    monkeypatch.setattr(recogniser, "RECIPE", recogniser.RECIPE._replace(steps=1, units=8, layers=1, copies=1.0))
    computation = word_error(real)
    assert [*computation.values(computation.oracle(20)[1])] == ["word_error_nearest"]  # which needs no judge
    assert "word_error has no score: the recogniser of" in capsys.readouterr().out


def test_retrieval_finds_the_own_recording(real):
    computation = retrieval(real)
    _, slower = computation.oracle(20)
    assert computation.values(slower)["dtw_retrieval"] >= 0.6  # several texts are alike
    rolled = {**slower, **{name: np.roll(slower[name], 1, 0) for name in ("truth", "truth_length")}}
    assert computation.values(rolled)["dtw_retrieval"] <= 0.2


def test_other_data_have_no_such_measures(real):
    plain = real._replace(spec=real.spec._replace(condition=None))
    assert word_error(plain) is None and retrieval(plain) is None
    assert word_error(real._replace(test=None)) is None and retrieval(real._replace(test=None)) is None
