"""The progress bars of long computations, on a terminal alone: a log file gets none."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

DELAY = 1  # seconds after which a bar appears


def progress(items: Iterable, title: str, unit: str) -> tqdm:
    """Returns items behind a bar with their rate and the remaining time, which is removed at the end.

    Args:
      items: the items, which take about equally long. Items of unknown number or of unequal cost come as an iterator:
        they are counted, and no remaining time is shown.
      title: name of the bar.
      unit: noun for one item.
    """
    return tqdm(items, desc=title, unit=unit, delay=DELAY, **layout())


def counter(total: int, title: str, unit: str, visible: bool) -> tqdm:
    """Returns a bar with the rate and the remaining time, which its `update(number)` moves.

    Args:
      total: number of items.
      title: name of the bar.
      unit: noun for one item.
      visible: whether there is a bar at all.
    """
    options = layout() if visible else {"disable": True}
    return tqdm(total=total, desc=title, unit=unit, delay=DELAY, **options)


def stages(items: Sequence, unit: str, name: Callable[[Any], str]) -> Iterator:
    """Yields items; a line shows the name and the number of the item at work.

    It shows no remaining time, because the items differ in cost by factors of a hundred. The bars of the work itself
    appear below.

    Args:
      items: the items.
      unit: noun for one item.
      name: (item) -> its name.
    """
    with tqdm(bar_format="{desc}", **layout()) as line:
        for number, item in enumerate(items, 1):
            line.set_description_str(f"{unit} {number} of {len(items)}: {name(item)}")
            yield item


def layout() -> dict[str, Any]:
    """Returns the options of a bar that is removed at the end and follows the width of the terminal.

    A terminal that knows no size, as `docker run -t` may give one, would hide all bars; it is taken for 80 columns.
    """
    options: dict[str, Any] = {"leave": False, "disable": None}
    try:
        lines = os.get_terminal_size(sys.stderr.fileno()).lines
    except (OSError, ValueError, AttributeError):  # no terminal, or a stream that is no file
        lines = 0
    return options | ({"dynamic_ncols": True} if lines else {"ncols": 80, "nrows": 20})
