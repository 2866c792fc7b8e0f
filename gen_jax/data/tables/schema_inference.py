"""Infers the facts of a column from its cells: kind, levels, decimals, format and range."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gen_jax.data.domain import FULL
from gen_jax.data.source import say_once
from gen_jax.data.spec import schema_setting
from gen_jax.data.tables.dates import formats_of, is_date, nearly
from gen_jax.data.tables.schema import Unfit
from gen_jax.data.tables.statistics import mean_and_deviation
from gen_jax.data.tables.text_columns import Cells, is_number, without

WHOLE = re.compile(r"-?\d+(\.0*)?")
SYMBOLS = ("$", "€", "£", "¥", "%", ",", "'")  # symbols that people write in numbers
EXACT = 2**53  # largest whole number up to which float64 keeps all digits
STRAY = 0.9  # share of numbers above which other texts in a column are faults, not levels
FAR = 1e-4  # share of the standard deviation below which the percentiles 1 and 99 are one number in float32
MOST_LEVELS = 1000
COMMON = 100  # number of levels that the advice for a column with too many levels keeps
OTHER = "(other)"  # level that replaces the rarer levels
UNIQUE_ROWS = 100  # number of rows from which a whole number that differs in all rows may be an id


def infer(name: str, parts: Sequence[Cells], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the facts of a column without the range of its values; see `data.spec.columns`.

    Whole numbers are `integer`, or levels if there are at most two distinct numbers. Other numbers are `continuous`
    with the decimals of the longest number. All other columns are `categorical`.

    Args:
      name: name of the column.
      parts: cells of the column in all splits.
      schema: facts of the column that the user writes, which replace inferred facts.

    Raises:
      Unfit: for a column that has no value, only one value or too many levels, or holds texts among its numbers.
    """
    texts = sorted({text for cells in parts for text in cells.texts})
    decided = {fact for fact in schema if fact not in ("empty", "symbols", "bounded")}
    if not texts and "levels" not in schema:
        raise Unfit("is empty in every row")
    if len(texts) == 1 and not decided:
        raise Unfit(f"holds {texts[0]!r} and no other value, there is nothing to learn")
    missing = may_be_missing(parts, schema)
    kind = kind_of_column(texts, schema)
    facts = {"name": name, "kind": kind, "missing": missing}
    if schema.get("bounded") is False:
        facts["bounded"] = False
    facts |= {fact: schema[fact] for fact in ("empty", "symbols") if schema.get(fact)}
    if kind == "integer":
        refuse_long(texts)
        return facts
    if kind == "date":
        return {**facts, "format": schema.get("format") or date_format(texts), "decimals": 0}
    if kind == "continuous":
        return {**facts, "decimals": int(schema.get("decimals", decimals(texts)))}
    if not decided:
        refuse_symbols(texts)
        refuse_stray(parts)
    return {**facts, **facts_of_levels(kind, texts, parts, schema)}


def may_be_missing(parts: Sequence[Cells], schema: Mapping[str, Any]) -> bool:
    """Returns whether cells of a column may be missing: as in the schema, or else if a cell is missing.

    Args:
      parts: cells of the column in all splits.
      schema: facts of the column that the user writes.

    Raises:
      Unfit: for a missing cell, if the schema excludes missing cells.
    """
    gaps = [np.flatnonzero(cells.codes < 0) for cells in parts]
    missing = bool(schema.get("missing", any(map(len, gaps))))
    if not missing and any(map(len, gaps)):
        row = next(cells.row(gap[0]) for cells, gap in zip(parts, gaps) if len(gap))
        raise Unfit(f"is empty in row {row}, and data.schema says that no cell is missing", {**schema, "missing": True})
    return missing


def kind_of_column(texts: Sequence[str], schema: Mapping[str, Any]) -> str:
    """Returns the kind of a column: as the schema states or implies, or else guessed from its texts.

    Args:
      texts: distinct texts of the column.
      schema: facts of the column that the user writes.
    """
    if schema.get("kind"):
        return schema["kind"]
    if "levels" in schema:
        return "categorical"
    return "date" if "format" in schema else guess(texts)


def guess(texts: Sequence[str]) -> str:
    """Returns the kind of a column from its texts.

    Args:
      texts: distinct texts of the column.
    """
    if len(texts) > 2 and formats_of(texts):
        return "date"
    if not all(map(is_number, texts)):
        return "categorical"
    if not all(WHOLE.fullmatch(text) for text in texts):
        return "continuous"
    coded = any(len(text) > 1 and text.startswith("0") and "." not in text for text in texts)  # a postal code
    return "categorical" if coded or len(texts) <= 2 else "integer"


def refuse_long(texts: Sequence[str]) -> None:
    """Refuses whole numbers that float64 cannot hold exactly.

    Args:
      texts: distinct texts of the column.

    Raises:
      Unfit: for the first such number.
    """
    for text in texts:
        if is_number(text) and abs(float(text)) > EXACT:
            raise Unfit(
                f"holds {text}, a whole number of more than 15 digits, which no float64 keeps: an id, whose "
                + "column drawn rows have new ones in",
                {"kind": "id"},
            )


def facts_of_levels(
    kind: str, texts: Sequence[str], parts: Sequence[Cells], schema: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the `levels` of a column, and `other`: the level that replaces all other texts, if there is such a level.

    Args:
      kind: kind of the column.
      texts: distinct texts of the column.
      parts: cells of the column in all splits.
      schema: facts of the column that the user writes.

    Raises:
      Unfit: if `other` of the schema is not a level, and in the cases of `levels_of`.
    """
    levels = levels_of(kind, texts, parts, schema)
    other_level = schema.get("other", OTHER)
    if "other" in schema and "levels" in schema and other_level not in levels:
        raise Unfit(
            f"has no level {other_level!r}, which is to take other texts", {**schema, "levels": [*levels, other_level]}
        )
    if other_level in levels and {"other", "common"} & schema.keys():
        return {"levels": levels, "other": other_level}
    return {"levels": levels}


def levels_of(kind: str, texts: Sequence[str], parts: Sequence[Cells], schema: Mapping[str, Any]) -> list[str]:
    """Returns the levels of a column: the levels of the schema, or else all texts in their order.

    Args:
      kind: `categorical` or `ordered`.
      texts: distinct texts of the column.
      parts: cells of the column in all splits.
      schema: facts of the column that the user writes.

    Raises:
      Unfit: for an ordered column of texts without levels in the schema, too many levels, or a repeated level.
    """
    numeric = all(map(is_number, texts))
    if kind == "ordered" and "levels" not in schema and not numeric:
        raise Unfit("is ordered and lacks its levels in data.schema, from the least to the greatest")
    in_order = sorted(texts, key=float if numeric else str)
    if "common" in schema and len(in_order) > schema["common"]:
        counts = counted(parts)
        common = sorted(in_order, key=lambda text: -counts[text])[: schema["common"]]
        other = schema.get("other", OTHER)
        return [*(level for level in in_order if level in common and level != other), other]
    levels = schema.get("levels") or in_order
    refuse_too_many(levels, parts)
    if len({*levels}) < len(levels):
        raise Unfit(f"has a level that stands twice among {', '.join(levels)}")
    return levels


def refuse_too_many(levels: Sequence[str], parts: Sequence[Cells]) -> None:
    """Refuses a column with more than `MOST_LEVELS` levels.

    Args:
      levels: the levels.
      parts: cells of the column in all splits.

    Raises:
      Unfit: with facts that make the column an id if nearly all rows differ, and otherwise keep the most common levels.
    """
    if len(levels) <= MOST_LEVELS:
        return
    odd = next((text for text in levels if not is_number(text)), levels[0])
    rows = max(len(cells.codes) for cells in parts)
    many = f"has {len(levels):,} levels, such as {odd!r}, and at most {MOST_LEVELS} are possible"
    if len(levels) > 0.9 * rows:
        raise Unfit(f"{many} (with a value of its own in nearly every row it is an id)", {"kind": "id"})
    raise Unfit(f"{many} (the {COMMON} commonest stay, as here, and the rest are one level)", {"common": COMMON})


def refuse_symbols(texts: Sequence[str]) -> None:
    """Refuses a column of numbers with currency signs, percent signs or thousands separators.

    Such texts would become levels.

    Args:
      texts: distinct texts of the column.

    Raises:
      Unfit: for the first such text, with facts that make the column a column of numbers.
    """
    symbols = {symbol for symbol in SYMBOLS if any(symbol in text for text in texts)}
    if not symbols or len(texts) <= 2:
        return
    plain = [without(text, symbols) for text in texts]
    if sum(map(is_number, plain)) < STRAY * len(texts) or sum(map(is_number, texts)) >= STRAY * len(texts):
        return
    odd = next(text for text in texts if not is_number(text))
    listed = " and ".join(map(repr, sorted(symbols)))
    raise Unfit(
        f"holds {odd!r}, a number with {listed}: as it is, each such text would be a level",
        {"symbols": sorted(symbols)},
    )


def counted(parts: Sequence[Cells]) -> Counter[str]:
    """Returns the number of cells of a column for each text.

    Args:
      parts: cells of the column in all splits.
    """
    counts: Counter[str] = Counter()
    for cells in parts:
        counts.update(dict(zip(cells.texts, np.bincount(cells.codes[cells.codes >= 0], minlength=len(cells.texts)))))
    return counts


def refuse_stray(parts: Sequence[Cells]) -> None:
    """Refuses a column of numbers or dates with a few other texts, because its numbers would become levels.

    Args:
      parts: cells of the column in all splits.

    Raises:
      Unfit: for the first such text and its row, with facts that make such cells missing.
    """
    counts = counted(parts)
    form = nearly(sorted(counts), STRAY)
    cell_kind = "numbers" if form is None else "dates"
    stray = {text for text in counts if not (is_number(text) if form is None else is_date(text, form))}
    share = 1 - sum(counts[text] for text in stray) / max(sum(counts.values()), 1)
    if not stray or share < STRAY or len(counts) - len(stray) < 10:
        return
    for cells in parts:
        odd = np.array([text in stray for text in cells.texts] + [False])[cells.codes]
        if odd.any():
            place = int(np.flatnonzero(odd)[0])
            text = cells.texts[cells.codes[place]]
            raise Unfit(
                f"holds {text!r} in row {cells.row(place)}, and {cell_kind} in {share:.1%} of its cells (texts may be made empty cells, "
                f'as here, or all cells levels, by {{"kind": "categorical"}})',
                {"empty": sorted(stray)},
            )


def date_format(texts: Sequence[str]) -> str:
    """Returns the format of the dates of a column.

    Args:
      texts: distinct texts of the column.

    Raises:
      Unfit: if no format fits, or if a day and a month cannot be told apart.
    """
    formats = formats_of(texts)
    if not formats:
        raise Unfit(f"holds {texts[0]!r}, and its dates have no common format, such as 2024-12-31 or 31.12.2024 23:59")
    if len(formats) > 1:
        listed = " or ".join(formats)
        raise Unfit(f"holds dates such as {texts[0]!r}, of the format {listed}", {"kind": "date", "format": formats[0]})
    return formats[0]


def decimals(texts: Sequence[str]) -> int:
    """Returns the number of decimals of the longest number.

    It is `FULL` for a number with an exponent, or with at least `FULL` decimals.

    Args:
      texts: distinct texts of the column.
    """
    if any("e" in text.lower() for text in texts):
        return FULL
    return min(FULL, max((len(text.partition(".")[2]) for text in texts), default=FULL))


def with_range(column: Mapping[str, Any], x: np.ndarray, cells: Cells) -> dict[str, Any]:
    """Returns the facts of a column with `low` and `high`, its smallest and its largest value.

    Args:
      column: facts of the column without the range.
      x: values [N] of the rows that are trained on; NaN if a cell is missing.
      cells: texts of these values.

    Raises:
      Unfit: for a column without values, or with values so far apart that float32 cannot resolve them.
    """
    observed = x[~np.isnan(x)]
    if not len(observed):
        raise Unfit("is empty in every row that is learnt from")
    if "levels" in column:
        return {**column, "low": 0.0, "high": float(len(column["levels"]) - 1)}
    refuse_far(x, cells)
    if column["kind"] == "integer" and len(cells.texts) == len(x) >= UNIQUE_ROWS:
        name = column["name"]
        say_once(f"column {name!r} differs in every row; if it is an id: {schema_setting({name: {'kind': 'id'}})}")
    return {**column, "low": float(observed.min()), "high": float(observed.max())}


def refuse_far(x: np.ndarray, cells: Cells) -> None:
    """Refuses values that float32 cannot tell apart because one value is far from the others.

    Args:
      x: values [N]; NaN if a cell is missing.
      cells: texts of these values.

    Raises:
      Unfit: for the far value, with facts that make its cell missing.
    """
    observed = x[~np.isnan(x)]
    if not np.isfinite(observed.max() - observed.min()):
        raise Unfit(f"reaches from {observed.min():g} to {observed.max():g}, farther than a float64")
    low, high = np.percentile(observed, (1, 99))
    if not 0 < high - low < FAR * mean_and_deviation(observed)[1]:
        return
    place = int(np.nanargmax(abs(x - np.nanmedian(x))))
    text = cells.texts[cells.codes[place]]
    raise Unfit(
        f"holds {text} in row {cells.row(place)}, so far from its other values, {low:g} to {high:g}, that float32 cannot tell "
        f"those apart (the far value may be made an empty cell, as here)",
        {"empty": [text]},
    )
