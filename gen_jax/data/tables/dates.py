"""Converts dates and times of tables to whole numbers, days or seconds since 1970, and back to their format."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from gen_jax.data.tables.text_columns import is_number
from gen_jax.errors import UserError

DAYS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d %b %Y",
    "%d %B %Y",
)
TIMES = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H:%M:%SZ")
FORMATS = (*DAYS, *(f"{day}{between}{time}" for day in DAYS[:7] for between in (" ", "T") for time in TIMES))
EPOCH = datetime(1970, 1, 1)


def formats_of(texts: Sequence[str]) -> list[str]:
    """Returns the formats in which all texts are dates; several formats are ambiguous.

    Eight digits alone are a number, unless a schema says that they are a date.
    """
    if not texts or is_number(texts[0]):
        return []
    return [form for form in FORMATS if all(is_date(text, form) for text in texts)]


def nearly(texts: Sequence[str], share: float) -> str | None:
    """Returns a format in which at least a share of about 50 of the texts are dates; None if there is no such format."""
    tried = texts[:: max(1, len(texts) // 50)]
    for form in FORMATS:
        if sum(is_date(text, form) for text in tried) >= share * len(tried):
            return form
    return None


def to_number(text: str, form: str) -> float:
    """Returns a date in days since 1970, or a date with a time in seconds.

    Raises:
      ValueError: for a text that is no date of that format.
    """
    since = datetime.strptime(text, form) - EPOCH
    return float(round(since.total_seconds())) if "%H" in form else float(since.days)


def to_text(number: float, form: str) -> str:
    """Returns the text of a date: the inverse of `to_number`.

    Raises:
      UserError: for a number outside the years 1 to 9999.
    """
    try:
        moment = EPOCH + (timedelta(seconds=number) if "%H" in form else timedelta(days=number))
    except OverflowError:
        raise UserError(f"{number:g} is no date of the years 1 to 9999") from None
    # Because %Y writes the year 999 without a zero on Linux, and reads four digits.
    return moment.strftime(form.replace("%Y", f"{moment.year:04}"))


def is_date(text: str, form: str) -> bool:
    """Returns whether a text is a date of a format."""
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True
