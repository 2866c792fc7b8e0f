"""Measures of texts against the true texts of the same conditions, beside what no network reaches."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.text import BEFORE_MARK, WORD, has_words
from gen_jax.data.spec import Spec, levels, sequences
from gen_jax.metrics.features import Real, Rows, true_rows
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.sequences.lexicon import learnt_lexicon, translated


def reads_texts(spec: Spec) -> bool:
    """Returns whether rows are tokens that can be read as a text.

    Args:
      spec: facts of the rows.
    """
    return kind_of(spec).read_tokens is not None and levels(spec) > 0


def texts_of(spec: Spec, rows: Rows, name: str = "x") -> list[str]:
    """Returns rows of tokens as texts.

    Args:
      spec: facts of the tokens.
      rows: arrays by name, with the lengths of the texts if these differ.
      name: name of the tokens [N, T]; by default x.
    """
    read = kind_of(spec).read_tokens
    assert read is not None  # because `translation` asks for texts
    return [read(spec, tokens) for tokens in sequences(rows, name)]


def texts_of_pairs(real: Real, condition: Spec, num: int) -> tuple[list[str], list[str], list[str], list[str]]:
    """Returns the conditions and the texts of the training split, and those of the first test rows.

    Args:
      real: the real data.
      condition: facts of the conditions, which are texts.
      num: number of test rows, at most.
    """
    train, test = real.rows(real.train), real.held_out(num)
    return (
        texts_of(condition, train, "c"),
        texts_of(real.spec, train),
        texts_of(condition, test, "c"),
        texts_of(real.spec, test),
    )


def nearest_translations(sources: Sequence[str], targets: Sequence[str], queries: Sequence[str]) -> list[str]:
    """Returns the target of the training source that is nearest to each text, by the cosine of tf-idf vectors.

    Args:
      sources: source texts of the training split.
      targets: target texts of the training split.
      queries: source texts.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # slow to import

    vectors = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]")
    known = vectors.fit_transform(sources)
    near = [(known @ row.T).toarray().argmax() for row in vectors.transform(queries)]
    return [targets[place] for place in near]


def lexicon_translations(sources: Sequence[str], targets: Sequence[str], queries: Sequence[str]) -> list[str]:
    """Returns texts whose words are each replaced by their likeliest translation.

    Args:
      sources: source texts of the training split.
      targets: target texts of the training split.
      queries: source texts.
    """
    lexicon = learnt_lexicon([*map(WORD.findall, sources)], [*map(WORD.findall, targets)])
    return [BEFORE_MARK.sub("", " ".join(translated(lexicon, WORD.findall(text)))) for text in queries]


FLOORS: dict[str, Callable[[Sequence[str], Sequence[str], Sequence[str]], list[str]]] = {
    "bleu_copy": lambda sources, targets, queries: [*queries],
    "bleu_nearest": nearest_translations,
    "bleu_lexicon": lexicon_translations,
}


def translation(real: Real) -> Computation | None:
    """Prepares BLEU and chrF of texts against the true texts, and the BLEU of texts that no network wrote."""
    spec, condition = real.spec, real.spec.condition
    if condition is None or not reads_texts(spec) or real.test is None:
        return None
    with_sources = reads_texts(condition)
    from sacrebleu.metrics import BLEU, CHRF  # slow to import

    bleu, chrf = BLEU(), CHRF()

    @cache
    def floors(num: int) -> dict[str, float]:
        if not with_sources:
            return {}
        *pairs, truth = texts_of_pairs(real, condition, num)
        return {name: bleu.corpus_score(floor(*pairs), [truth]).score for name, floor in FLOORS.items()}

    def values(samples: Rows) -> Mapping[str, Any]:
        texts, truth = texts_of(spec, samples), texts_of(spec, samples, "truth")
        scores = {
            "bleu": bleu.corpus_score(texts, [truth]).score,
            "chrf": chrf.corpus_score(texts, [truth]).score,
        }
        return {**scores, **floors(len(texts))}

    def protocol() -> dict[str, str]:
        tokens = "words in lower case" if has_words(spec) else "as in the data"
        return {"bleu": str(bleu.get_signature()), "chrf": str(chrf.get_signature()), "texts": tokens}

    return Computation(values, protocol, partial(true_rows, real, real.test))


TRANSLATION = Measure(
    (
        Metric("bleu", "BLEU of the corpus against the true texts, cased, tokeniser 13a, in percent", "100", better=1),
        Metric("chrf", "chrF2 against the true texts, in percent", "100", better=1),
        Metric("bleu_copy", "BLEU of copies of the condition: a floor", better=0),
        Metric("bleu_nearest", "BLEU of the true text of the nearest train condition: a floor", better=0),
        Metric(
            "bleu_lexicon", "BLEU of the likeliest translation of each word, in order (IBM model 1): a floor", better=0
        ),
    ),
    translation,
    data="texts with a condition, and a test split",
    fields=("x", "truth"),
    oracle="the true texts",
    reference="Papineni et al. 2002; Post 2018 (arXiv 1804.08771); Popović 2015",
)
