"""Columns of ids: they are not modelled, and rows that are drawn get new ones like those of the data."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")


def facts_of_ids(texts: Sequence[str]) -> dict[str, Any]:
    """Returns how the ids of a column are written: the same text around a number, or letters by their place.

    Returns:
      `before`, `after`, `last`, the greatest number, and `width`, its digits with leading zeros, 0 without; or `letters`, the
      characters of each place, if all ids are of one length, as UUIDs are. Other ids are replaced by numbers from 1 on.
    """
    found = [NUMBERED.fullmatch(text) for text in texts]
    around = {(match[1], match[3]) if match else None for match in found}
    if len(around) == 1 and None not in around:
        (before, after), digits = around.pop(), [match[2] for match in found]
        padded = len({*map(len, digits)}) == 1 and any(each.startswith("0") for each in digits)
        last = max(map(int, digits))
        return {"before": before, "after": after, "last": last, "width": len(digits[0]) if padded else 0}
    if len({*map(len, texts)}) == 1:
        return {"letters": ["".join(sorted({*place})) for place in zip(*texts)]}
    return {"before": "", "after": "", "last": 0, "width": 0}


def new_ids(facts: Mapping[str, Any], x: np.ndarray) -> list[str]:
    """Returns an id for each of some rows x [N, D], of which they are a function: numbers go on after those of the data."""
    if "letters" not in facts:
        numbers = range(facts["last"] + 1, facts["last"] + 1 + len(x))
        return [f"{facts['before']}{str(number).zfill(facts['width'])}{facts['after']}" for number in numbers]
    digest = hashlib.blake2b(np.ascontiguousarray(x).tobytes(), digest_size=16).digest()
    random = np.random.default_rng(np.frombuffer(digest, np.uint32))
    places = [np.array([*letters])[random.integers(len(letters), size=len(x))] for letters in facts["letters"]]
    return ["".join(row) for row in zip(*places)]
