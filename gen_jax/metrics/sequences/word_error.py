"""Measures of spoken texts: whether a recogniser reads the text, and whether the recording is nearest to the real one."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from gen_jax.data.kinds import kind_of
from gen_jax.data.source import say_once
from gen_jax.data.spec import Spec, sequences
from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.sequences.paired_texts import reads_texts
from gen_jax.metrics.sequences.recogniser import Recogniser, heard, stretched, trained

WORST_JUDGE = 0.3  # share of wrong words of real recordings, above which a recogniser is no judge
CEPSTRA = 13  # numbers of a frame that are compared, without the loudness
SPEED = 1.1  # ratio of the lengths of real recordings and those that stand in the place of samples
HEARD = "heard"  # rows that need no way through the sound, because they are recordings


def edit_counts(first: Sequence[Any], others: Sequence[Sequence[Any]]) -> np.ndarray:
    """Returns the least numbers of insertions, deletions and replacements from a sequence to others [N] (Levenshtein 1966).

    Args:
      first: the sequence.
      others: the other sequences.
    """
    codes = {entry: code for code, entry in enumerate(dict.fromkeys(first))}
    lengths = np.array([len(other) for other in others], int)
    table = np.full((len(others), lengths.max(initial=0)), -1)
    for row, other in enumerate(others):
        table[row, : len(other)] = [codes.get(entry, -1) for entry in other]
    places = np.arange(table.shape[1] + 1)
    counts = np.broadcast_to(places, (len(others), len(places)))
    for number, entry in enumerate(first):
        replaced = counts[:, :-1] + (table != codes[entry])
        least = np.concatenate([np.full((len(others), 1), number + 1), np.minimum(counts[:, 1:] + 1, replaced)], 1)
        counts = np.minimum.accumulate(least - places, 1) + places
    return counts[np.arange(len(others)), lengths]


def edits(first: Sequence[Any], truth: Sequence[Any]) -> int:
    """Returns the least number of insertions, deletions and replacements from one sequence to another.

    Args:
      first: the first sequence.
      truth: the second sequence.
    """
    return int(edit_counts(first, [truth])[0])


def nearest_word(word: str, lexicon: Sequence[str]) -> str:
    """Returns the word of a lexicon that is nearest by its letters; of several the first one.

    Args:
      word: a word.
      lexicon: the words.
    """
    return lexicon[int(edit_counts(word, lexicon).argmin())]


def error_rate(first: Sequence[Sequence[Any]], truth: Sequence[Sequence[Any]]) -> float:
    """Returns the number of edits from sequences to the true ones, for each entry of the true ones.

    Args:
      first: the sequences.
      truth: the true sequences.
    """
    return sum(map(edits, first, truth)) / max(1, sum(map(len, truth)))


def speaks(spec: Spec) -> bool:
    """Returns whether rows are log-mel series with their texts.

    Args:
      spec: facts of the rows.
    """
    kind, condition = kind_of(spec), spec.condition
    return condition is not None and kind.sound and kind.time and kind.columns and reads_texts(condition)


def words_of(condition: Spec, tokens: Sequence[Any]) -> list[list[str]]:
    """Returns the words of texts.

    Args:
      condition: facts of the texts.
      tokens: tokens of each text.
    """
    read = kind_of(condition).read_tokens
    assert read is not None  # because `speaks` asks for it
    return [read(condition, np.asarray(each, int)).split() for each in tokens]


def reader_of(real: Real, condition: Spec, splits: tuple[str, str]) -> Callable[[Sequence[Any]], list[list[str]]]:
    """Returns the function from tokens that a recogniser writes to words of the data.

    A word becomes the nearest word of the texts of both splits, because the spelling of unknown words is no fault of a
    voice.

    Args:
      real: the real data.
      condition: facts of the texts.
      splits: names of the training and of the test split.
    """

    @cache
    def lexicon() -> list[str]:
        texts = [text for split in splits for text in words_of(condition, sequences(real.rows(split), "c"))]
        return sorted({word for text in texts for word in text})

    @cache
    def spelling(word: str) -> str:
        return nearest_word(word, lexicon())

    return lambda tokens: [[spelling(word) for word in words] for words in words_of(condition, tokens)]


def word_error(real: Real) -> Computation | None:
    """Prepares the share of words that a recogniser reads wrongly, beside copies of real recordings and the nearest text."""
    spec, condition, test = real.spec, real.spec.condition, real.test
    if condition is None or test is None or not speaks(spec):
        return None
    words_in = reader_of(real, condition, (real.train, test))

    def wrong(tokens: list[list[int]], rows: Rows) -> float:
        return error_rate(words_in(tokens), words_of(condition, sequences(rows, "c")))

    @cache
    def recogniser() -> Recogniser:
        return trained(spec, real.rows, (real.train, test), wrong)

    @cache
    def copies(num: int) -> float:
        rows = real.held_out(num)
        return wrong(recogniser().read(heard(spec, sequences(rows))), rows)

    @cache
    def floor(num: int) -> dict[str, float]:
        texts = words_of(condition, sequences(real.held_out(num), "c"))
        train_texts = words_of(condition, sequences(real.rows(real.train), "c"))
        nearest = [train_texts[int(edit_counts(text, train_texts).argmin())] for text in texts]
        return {"word_error_nearest": error_rate(nearest, texts)}

    def values(samples: Rows) -> Mapping[str, Any]:
        share = recogniser().protocol["recogniser_error"]
        if share > WORST_JUDGE:
            say_once(
                f"word_error has no score: the recogniser of {spec.name} reads {share:.0%} of the words of real recordings "
                f"wrongly, more than {WORST_JUDGE:.0%}"
            )
            return floor(len(samples["x"]))
        series = sequences(samples)
        tokens = recogniser().read(series if HEARD in samples else heard(spec, series))
        rolled = {name: np.roll(value, 1, 0) for name, value in samples.items()}
        scores = {"word_error": wrong(tokens, samples), "word_error_rolled": wrong(tokens, rolled)}
        letters = error_rate(tokens, [each.tolist() for each in sequences(samples, "c")])
        return {**scores, "word_error_copy": copies(len(tokens)), **floor(len(tokens)), "token_error": letters}

    def oracle(num: int) -> tuple[str, Rows]:
        rows = real.held_out(num)
        return test, {**rows, HEARD: np.ones(len(rows["x"]), bool)}

    facts = {"worst_judge": WORST_JUDGE, "lexicon": "words of the texts of both splits"}
    return Computation(values, lambda: {**facts, **recogniser().protocol}, oracle)


def cepstra(x: np.ndarray) -> np.ndarray:
    """Returns the cepstra of a log-mel series [T, CEPSTRA]: its cosine transform along the filters, without the mean.

    Args:
      x: series [T, mels].
    """
    from scipy.fft import dct  # slow to import

    return dct(x.astype(np.float64), norm="ortho", axis=1)[:, 1 : CEPSTRA + 1]


def warped_distances(query: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the mean distance of frames along the best path of dynamic time warping to each of some series [N].

    A step moves on in one series or in both (Sakoe & Chiba 1978, symmetric, without a limit of the slope). The sum is
    divided by the sum of both lengths.

    Args:
      query: series [T, D].
      others: series [T', D] each.
    """
    lengths, rows = np.array([len(other) for other in others]), len(query)
    longest, num = int(lengths.max()), len(others)
    padded = np.zeros((longest, num, query.shape[1]), np.float32)
    for number, other in enumerate(others):
        padded[: len(other), number] = other
    products = (query.astype(np.float32) @ padded.reshape(-1, query.shape[1]).T).reshape(rows, longest, num)
    squares = np.square(query).sum(1)[:, None, None] + np.square(padded).sum(2)[None]
    cost = np.sqrt(np.maximum(0, squares - 2 * products)).astype(np.float32)  # [T, T', N]
    diagonals = np.full((rows + longest - 1, rows, num), np.inf, np.float32)  # cell (i, j) is in diagonal i + j
    for row in range(rows):
        diagonals[row : row + longest, row] = cost[row]
    older = old = np.full((rows + 1, num), np.inf, np.float32)  # entry i + 1 is the cell of row i
    distances = np.empty(num)
    for diagonal, costs in enumerate(diagonals):
        new = np.full_like(old, np.inf)
        new[1:] = np.minimum(np.minimum(old[1:], old[:-1]) + costs, older[:-1] + 2 * costs)
        if diagonal == 0:
            new[1] = 2 * costs[0]
        ends = diagonal == rows + lengths - 2
        distances[ends] = new[-1, ends] / (rows + lengths[ends])
        older, old = old, new
    return distances


def retrieval(real: Real) -> Computation | None:
    """Prepares the share of recordings that are nearest to the real recording of their own text among the test rows."""
    spec, test = real.spec, real.test
    if test is None or not speaks(spec):
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        series = sequences(samples)
        frames = [cepstra(x) for x in (series if HEARD in samples else heard(spec, series))]
        truth = [cepstra(x) for x in sequences(samples, "truth")]
        with threadpool_limits(1, "blas"):
            nearest = [int(warped_distances(query, truth).argmin()) for query in frames]
        return {"dtw_retrieval": float(np.mean(np.array(nearest) == np.arange(len(nearest))))}

    def oracle(num: int) -> tuple[str, Rows]:
        rows = real.held_out(num)
        changed = [stretched(x, SPEED) for x in sequences(rows)]
        x = np.zeros((len(changed), max(map(len, changed)), spec.shape[1]), np.float32)
        for row, each in enumerate(changed):
            x[row, : len(each)] = each
        lengths = np.array([len(each) for each in changed])
        parts = {"x": x, "length": lengths, "truth": rows["x"], "truth_length": rows["length"]}
        return test, {**parts, HEARD: np.ones(len(x), bool)}

    return Computation(values, lambda: {"cepstra": CEPSTRA, "speed_of_real_data": SPEED}, oracle)


WORD_ERROR = Measure(
    (
        Metric("word_error", "edits for each word of the text, by a recogniser of the sound", "0", better=-1),
        Metric("word_error_rolled", "the same against the text of the row before: near 1", "1", better=0),
        Metric("word_error_copy", "the same of real recordings after their spectrogram and back: a ceiling", better=0),
        Metric("word_error_nearest", "edits to the nearest train text: what a stored recording reaches", better=0),
    ),
    word_error,
    data="recordings with their texts by data.encoding=log_mel, and a test split",
    fields=("x", "c"),
    oracle="the real test recordings",
    reference="Graves et al. 2006 (connectionist temporal classification)",
)
RETRIEVAL = Measure(
    (
        Metric(
            "dtw_retrieval",
            "share of recordings nearest to the real one of their text, by time-warped cepstra",
            "1",
            better=1,
        ),
    ),
    retrieval,
    data="recordings with their texts by data.encoding=log_mel, and a test split",
    fields=("x", "truth"),
    oracle="the real test recordings at another speed",
    reference="Sakoe & Chiba 1978",
)
