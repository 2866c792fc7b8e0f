"""How long work shows that it is under way."""

from collections.abc import Iterable

from tqdm import tqdm


def progress(items: Iterable, what: str, unit: str) -> tqdm:
    """`items` behind a bar on the terminal that appears after three seconds and leaves nothing; none in a log file."""
    return tqdm(items, desc=what, unit=unit, delay=3, leave=False, dynamic_ncols=True, disable=None)
