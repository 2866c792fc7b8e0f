"""Translation by a lexicon alone: IBM model 1, which is learnt from pairs of sentences in seconds."""

from collections.abc import Sequence

import numpy as np

NULL = "\0"  # source word of target words without a partner
STEPS = 6  # of expectation maximisation


def learnt_lexicon(sources: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]) -> dict[str, str]:
    """Returns the likeliest target word of each source word by IBM model 1 (Brown et al. 1993, section 4.1).

    The sum of the posteriors of a target word over the words of its source and NULL is 1. Equal probabilities are
    decided by the order of the words in the pairs.

    Args:
      sources: words of each source sentence.
      targets: words of each target sentence.
    """
    source_numbers: dict[str, int] = {}
    target_numbers: dict[str, int] = {}
    left, right, place, places = [], [], [], 0  # a row for each pair of words: both words, and the target's occurrence
    for source, target in zip(sources, targets):
        codes = [source_numbers.setdefault(word, len(source_numbers)) for word in (NULL, *source)]
        for word in target:
            left.append(codes)
            right.append([target_numbers.setdefault(word, len(target_numbers))] * len(codes))
            place.append([places] * len(codes))
            places += 1
    flat_left, flat_right, occurrence = (np.concatenate(rows).astype(np.int64) for rows in (left, right, place))
    num = len(target_numbers)
    pairs, pair = np.unique(flat_left * num + flat_right, return_inverse=True)
    of_source = pairs // num
    probability = np.ones(len(pairs))
    for _ in range(STEPS):
        posterior = probability[pair]
        posterior /= np.bincount(occurrence, posterior)[occurrence]
        counts = np.bincount(pair, posterior, len(pairs))
        probability = counts / np.bincount(of_source, counts)[of_source]
    best = np.lexsort((-probability, of_source))
    first = best[np.unique(of_source[best], return_index=True)[1]]
    source_words, target_words = [*source_numbers], [*target_numbers]
    lexicon = {source_words[of_source[each]]: target_words[pairs[each] % num] for each in first}
    return {word: translation for word, translation in lexicon.items() if word != NULL}


def translated(lexicon: dict[str, str], words: Sequence[str]) -> list[str]:
    """Returns each word's likeliest translation in the same order; a word that the lexicon lacks stays.

    Args:
      lexicon: see `learnt_lexicon`.
      words: words of a sentence.
    """
    return [lexicon.get(word, word) for word in words]
