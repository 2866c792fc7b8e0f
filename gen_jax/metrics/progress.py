"""How long work shows that it is under way."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(items: Iterable, what: str, unit: str) -> tqdm:
    """`items` behind a bar on stderr that appears after three seconds and leaves nothing; rarely drawn in a log file."""
    pace = 0.2 if sys.stderr.isatty() else 5.0  # seconds
    return tqdm(items, desc=what, unit=unit, delay=3, leave=False, dynamic_ncols=True, mininterval=pace)
