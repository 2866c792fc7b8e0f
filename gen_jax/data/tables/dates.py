"""Converts dates and times of tables to whole numbers of days or seconds since 1970, and back to their format."""

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
    """Returns the formats in which all texts are dates. More than one format means that the dates are ambiguous.

    Eight digits alone are a number, unless a schema declares a date.

    Args:
      texts: the texts.
    """
    if not texts or is_number(texts[0]):
        return []
    return [form for form in FORMATS if all(is_date(text, form) for text in texts)]


def nearly(texts: Sequence[str], share: float) -> str | None:
    """Returns a format in which most texts are dates, by a test of about 50 texts; None if there is no such format.

    Args:
      texts: the texts.
      share: smallest share of dates.
    """
    tried = texts[:: max(1, len(texts) // 50)]
    for form in FORMATS:
        if sum(is_date(text, form) for text in tried) >= share * len(tried):
            return form
    return None


def to_number(text: str, form: str) -> float:
    """Returns a date as days since 1970, or a date with a time as seconds since 1970.

    Args:
      text: the text.
      form: format of the dates.

    Raises:
      ValueError: for a text that is not a date of that format.
    """
    since = datetime.strptime(text, form) - EPOCH
    return float(round(since.total_seconds())) if "%H" in form else float(since.days)


def to_text(number: float, form: str) -> str:
    """Returns the text of a date: the inverse of `to_number`.

    Args:
      number: the number.
      form: format of the dates.

    Raises:
      UserError: for a number outside the years 1 to 9999.
    """
    try:
        moment = EPOCH + (timedelta(seconds=number) if "%H" in form else timedelta(days=number))
    except OverflowError:
        raise UserError(f"date is {number:g}; expected a date of the years 1 to 9999") from None
    # Because %Y reads four digits, but writes the year 999 without a zero on Linux, the year is written here.
    return moment.strftime(form.replace("%Y", f"{moment.year:04}"))


def is_date(text: str, form: str) -> bool:
    """Returns whether a text is a date of a format.

    Args:
      text: the text.
      form: format of the dates.
    """
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True
