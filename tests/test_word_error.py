"""Measures of spoken texts: edits and time warping against brute force, and a recogniser that learns a small world."""

from functools import lru_cache

import numpy as np

from gen_jax.metrics.sequences.word_error import cepstra, edit_counts, edits, error_rate, nearest_word, warped_distances


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
