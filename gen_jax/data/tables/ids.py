"""Columns of ids: they are not modelled, and rows that are drawn get new ones like those of the data."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NUMBERED = re.compile(r"(.*?)(\d{1,300})(\D*)", re.DOTALL)  # Python reads no number of thousands of digits
NUMBER = re.compile(r"\d{1,300}")
ROOM = 10**6  # ids that can be drawn for each id of the data, so that drawn ids differ


def facts_of_ids(texts: Sequence[str]) -> dict[str, Any]:
    """Returns how the ids of a column are written: the same text around a number, or letters by their place.

    Returns:
      `before`, `after`, `last`, the greatest number, and `width`, its digits with leading zeros, 0 without; or `letters`, the
      characters of each place, if all ids are of one length and many more can be drawn, as UUIDs. Other ids are replaced by
      numbers that no id of the data is.
    """
    found = [NUMBERED.fullmatch(text) for text in texts]
    around = {(match[1], match[3]) if match else None for match in found}
    if len(around) == 1 and None not in around:
        (before, after), digits = around.pop(), [match[2] for match in found]
        padded = len({*map(len, digits)}) == 1 and any(each.startswith("0") for each in digits)
        last = max(map(int, digits))
        return {"before": before, "after": after, "last": last, "width": len(digits[0]) if padded else 0}
    letters = ["".join(sorted({*place})) for place in zip(*texts)]
    if len({*map(len, texts)}) == 1 and math.prod(map(len, letters)) >= ROOM * len(texts):
        return {"letters": letters}
    last = max((int(text) for text in texts if NUMBER.fullmatch(text)), default=0)
    return {"before": "", "after": "", "last": last, "width": 0}


def new_ids(facts: Mapping[str, Any], x: np.ndarray) -> list[str]:
    """Returns an id for each of some rows x [N, D], of which they are a function: numbers go on after those of the data."""
    if "letters" not in facts:
        numbers = range(facts["last"] + 1, facts["last"] + 1 + len(x))
        return [f"{facts['before']}{str(number).zfill(facts['width'])}{facts['after']}" for number in numbers]
    digest = hashlib.blake2b(np.ascontiguousarray(x).tobytes(), digest_size=16).digest()
    random = np.random.default_rng(np.frombuffer(digest, np.uint32))
    places = [np.array([*letters])[random.integers(len(letters), size=len(x))] for letters in facts["letters"]]
    return ["".join(row) for row in zip(*places)]
