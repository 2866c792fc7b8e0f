"""ROUGE of texts against the true texts of the same conditions, beside rules that shorten the condition."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from gen_jax.metrics.features import Real, Rows, true_rows
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.sequences.paired_texts import nearest_translations, reads_texts, texts_of, texts_of_pairs

KINDS = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}  # metric -> its name in the library
SHORT = 8  # number of words of a rule
SENTENCE = re.compile(r"(?<=[.!?])\s")  # space between two sentences
DEFINITION = re.compile(
    r"\b(?:is an?|provides|contains)\s+(?:an?\s+|the\s+)?"
)  # comes before the definition of a thing
Texts = Sequence[str]


def first_words(text: str) -> str:
    """Returns the first eight words of a text."""
    return " ".join(text.split()[:SHORT])


def defined(text: str) -> str:
    """Returns eight words of the first sentence: after "is a", "provides" or "contains" if it has them, else the first."""
    sentence = SENTENCE.split(text)[0]
    found = DEFINITION.search(sentence)
    return first_words(sentence[found.end() :] if found else sentence)


FLOORS: dict[str, Callable[[Texts, Texts, Texts], list[str]]] = {  # (train sources, train targets, sources) -> texts
    "lead": lambda sources, targets, queries: [*map(first_words, queries)],
    "rule": lambda sources, targets, queries: [*map(defined, queries)],
    "nearest": nearest_translations,
}


def rouge(texts: Texts, truth: Texts) -> dict[str, float]:
    """Returns the mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L in percent, with Porter's stemmer.

    Args:
      texts: texts that are scored.
      truth: true texts.
    """
    from rouge_score.rouge_scorer import RougeScorer  # slow to import

    scorer = RougeScorer([*KINDS.values()], use_stemmer=True)
    scores = [scorer.score(true, text) for true, text in zip(truth, texts)]
    return {
        name: 100 * float(np.mean([score[library_name].fmeasure for score in scores]))
        for name, library_name in KINDS.items()
    }


def summary(real: Real) -> Computation | None:
    """Prepares ROUGE of texts against the true texts, and of texts that rules make of the conditions."""
    spec, condition = real.spec, real.spec.condition
    if condition is None or not reads_texts(spec) or not reads_texts(condition) or real.test is None:
        return None

    @cache
    def floors(num: int) -> dict[str, float]:
        *pairs, truth = texts_of_pairs(real, condition, num)
        scores = {name: rouge(floor(*pairs), truth) for name, floor in FLOORS.items()}
        return {f"{metric}_{name}": value for name, values in scores.items() for metric, value in values.items()}

    def values(samples: Rows) -> Mapping[str, Any]:
        texts = texts_of(spec, samples)
        return {**rouge(texts, texts_of(spec, samples, "truth")), **floors(len(texts))}

    protocol = {"rouge": "rouge_score, F1, Porter's stemmer"}
    return Computation(values, lambda: protocol, partial(true_rows, real, real.test))


SUMMARY = Measure(
    (
        *(
            Metric(name, f"F1 of {library_name} against the true texts, in percent", "100", better=1)
            for name, library_name in KINDS.items()
        ),
        *(Metric(f"{name}_lead", f"{name} of the first eight words of the condition: a floor") for name in KINDS),
        *(
            Metric(
                f"{name}_rule",
                f"{name} of eight words of the first sentence, after 'is a', 'provides' or 'contains': a floor",
            )
            for name in KINDS
        ),
        *(
            Metric(f"{name}_nearest", f"{name} of the true text of the nearest train condition: a floor")
            for name in KINDS
        ),
    ),
    summary,
    data="texts with a text as condition, and a test split",
    fields=("x", "truth"),
    oracle="the true texts",
    reference="Lin 2004, ROUGE: a package for automatic evaluation of summaries",
)
