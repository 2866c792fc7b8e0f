"""The progress bar of long computations."""

from collections.abc import Iterable

from tqdm import tqdm


def progress(items: Iterable, what: str, unit: str) -> tqdm:
    """Returns items behind a progress bar on the terminal.

    The bar appears after three seconds and is removed at the end. A log file gets none.

    Args:
      items: the items.
      what: name of the bar.
      unit: noun for one item.
    """
    return tqdm(items, desc=what, unit=unit, delay=3, leave=False, dynamic_ncols=True, disable=None)
