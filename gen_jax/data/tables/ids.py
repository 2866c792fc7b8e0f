"""Describes columns of ids, which are not modelled, and makes new ids for drawn rows."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NUMBERED = re.compile(r"(.*?)(\d{1,300})(\D*)", re.DOTALL)  # at most 300 digits, because Python refuses long numbers
NUMBER = re.compile(r"\d{1,300}")
ROOM = 10**6  # number of possible ids for each id of the data, above which random ids are new


def facts_of_ids(texts: Sequence[str]) -> dict[str, Any]:
    """Returns the form of the ids of a column: the same text around a number, or letters by their place.

    Args:
      texts: the ids.

    Returns:
      `before`, `after`, the greatest number `last`, and `width`: the number of digits with leading zeros, or 0. If all
      ids have one length and many more ids are possible, such as UUIDs, the form is `letters`: the characters of each
      place. Ids of any other form become numbers that are not ids of the data.
    """
    matches = [match for text in texts if (match := NUMBERED.fullmatch(text))]
    around = {(match[1], match[3]) for match in matches}
    if len(matches) == len(texts) and len(around) == 1:
        before, after = around.pop()
        digits = [match[2] for match in matches]
        padded = len({*map(len, digits)}) == 1 and any(number.startswith("0") for number in digits)
        last = max(map(int, digits))
        return {"before": before, "after": after, "last": last, "width": len(digits[0]) if padded else 0}
    letters = ["".join(sorted({*place})) for place in zip(*texts)]
    if len({*map(len, texts)}) == 1 and math.prod(map(len, letters)) >= ROOM * len(texts):
        return {"letters": letters}
    last = max((int(text) for text in texts if NUMBER.fullmatch(text)), default=0)
    return {"before": "", "after": "", "last": last, "width": 0}


def new_ids(facts: Mapping[str, Any], x: np.ndarray) -> list[str]:
    """Returns a new id for each row. The same rows get the same ids.

    Args:
      facts: form of the ids, see `facts_of_ids`. Numbers continue after the last number of the data.
      x: rows [N, D].
    """
    if "letters" not in facts:
        numbers = range(facts["last"] + 1, facts["last"] + 1 + len(x))
        return [f"{facts['before']}{str(number).zfill(facts['width'])}{facts['after']}" for number in numbers]
    digest = hashlib.blake2b(np.ascontiguousarray(x).tobytes(), digest_size=16).digest()
    random = np.random.default_rng(np.frombuffer(digest, np.uint32))
    places = [np.array([*letters])[random.integers(len(letters), size=len(x))] for letters in facts["letters"]]
    return ["".join(row) for row in zip(*places)]
