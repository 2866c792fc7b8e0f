"""Tables: the schema of their columns, inferred or said, text cells to numbers and back. Where they are from: `table_sets`."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash, files_hash
from gen_jax.data.source import Source, say_once
from gen_jax.data.spec import FULL, Spec, columns, schema_setting
from gen_jax.data.tables.cells import Cells, is_number, read_cells, without
from gen_jax.data.tables.dates import formats_of, is_date, nearly, to_number, to_text
from gen_jax.data.tables.ids import facts_of_ids, new_ids
from gen_jax.errors import UserError, choose

LEVELLED = ("categorical", "ordered")  # kinds of columns whose cells are one of some levels
NOT_MODELLED = ("drop", "id")  # rows that are drawn get new ids
KINDS = ("continuous", "integer", "date", *LEVELLED, *NOT_MODELLED)
TYPES = {  # what a user's schema may say of a column
    "kind": (str, "a kind"),
    "levels": (list, "a list of levels"),
    "decimals": (int, "a whole number"),
    "format": (str, "a format of dates"),
    "missing": (bool, "true or false"),
    "empty": (list, "a list of texts"),
    "symbols": (list, "a list of texts"),
    "bounded": (bool, "true or false"),
    "common": (int, "a whole number"),
    "other": (str, "a level"),
}
WHOLE = re.compile(r"-?\d+(\.0*)?")
SYMBOLS = ("$", "€", "£", "¥", "%", ",", "'")  # that people write in numbers
EXACT = 2**53  # whole numbers up to it are float64 to the last digit
STRAY = 0.9  # share of numbers from which a column is one of numbers, whatever texts are among them
FAR = 1e-4  # of the deviation of a column: less between its percentiles 1 and 99 is what float32 cannot resolve
MOST_LEVELS = 1000
COMMON = 100  # levels that are advised to be kept of too many
OTHER = "(other)"  # the level that the rarer ones become
FEWEST_HELD_OUT = 100  # rows of a table of which some are held out
HOLDOUT = 4  # begins the seed, so that no two uses share their noise
BINS = 20  # of the marginal of a number

Columns = list[dict[str, Any]]


class Unfit(UserError):
    """A column cannot be modelled as it is; `facts` in the schema make it fit, or leave it out."""

    def __init__(self, why: str, facts: Mapping[str, Any] = MappingProxyType({"kind": "drop"})) -> None:
        super().__init__(why)
        self.facts = dict(facts)


def table_source(
    name: str, parts: Mapping[str, Mapping[str, Cells]], options: Mapping[str, Any], known: str, said: Mapping = {}
) -> Source:
    """A table as a source of rows: `x` [n, D] float64, levels as their number, NaN where a cell is empty.

    The kinds, the levels and whether cells may be empty are inferred from all splits, the rest from the one learnt from.

    Args:
      parts: the columns of each split.
      options: the `data` section of a config; `columns` in it are a schema that is known already.
      known: a hash of the cells.
      said: the schema of a set of ours; `options["schema"]` overrides it.

    Raises:
      UserError: for splits with other columns, a schema that does not fit, or a column that cannot be modelled.
    """
    learnt = options["split"] if options["split"] in parts else next(iter(parts))
    fixed = options.get("columns")
    for split, part in parts.items():
        same_columns(f"{name}, {split}", part, [column["name"] for column in fixed or ()] or list(parts[learnt]))
    users = read_schema(options.get("schema"), list(parts[learnt]))
    said = {**said, **users}
    if not fixed and len(next(iter(parts[learnt].values())).codes) < 2:
        raise UserError(f"{name} has one row to learn from, expected more")
    dropped = [column for column, facts in said.items() if facts.get("kind") in NOT_MODELLED]
    kept = [column for column in parts[learnt] if column not in dropped]
    schema = fixed or all_fit(
        name, users, kept, lambda column: infer(column, [part[column] for part in parts.values()], said.get(column, {}))
    )
    if not schema:
        raise UserError(f"{name}: its schema drops every column: nothing is left to learn")
    x = {split: numbers(f"{name}, {split}", schema, part) for split, part in parts.items()}
    if not fixed:
        at = {column["name"]: place for place, column in enumerate(schema)}
        facts = {column["name"]: column for column in schema}
        schema = all_fit(
            name,
            users,
            [*at],
            lambda column: with_range(facts[column], x[learnt][:, at[column]], parts[learnt][column]),
        )
    info = {"columns": schema, "dropped": dropped, "marginals": marginals(schema, x[learnt])}
    ids = [column for column in parts[learnt] if said.get(column, {}).get("kind") == "id"]
    if ids:
        written = [column for column in parts[learnt] if column not in dropped or column in ids]
        info["ids"] = [
            {"name": column, "at": written.index(column), **facts_of_ids(parts[learnt][column].texts)} for column in ids
        ]
    sizes = {split: len(rows) for split, rows in x.items()}
    content, shape = content_hash(known, schema, sizes), (len(schema),)
    rows = lambda split, indices: {"x": x[split][indices]}
    return Source(name, "table", shape, np.dtype(np.float64), sizes, rows, content, info=info)


def open_table(path: Path, options: Mapping[str, Any], known: str) -> Source:
    """Opens a user's CSV or Parquet file as the training split, and `data.test_path` as the test split.

    Without such a file a share `data.holdout` of the rows is the test split, if there are at least `FEWEST_HELD_OUT`.
    """
    known_facts = facts_of_text(options)
    reading = {option: options[option] for option in ("separator", "decimal") if options.get(option)}
    known = content_hash(known, reading) if reading else known
    parts, test = {options["split"]: read_cells(path, None, options, *known_facts)}, options.get("test_path")
    if test is not None:
        test = Path(test).expanduser()
        parts[options["test_split"]] = read_cells(test, None, options, *known_facts)
        known = content_hash(known, files_hash([test]))
    elif not options.get("columns"):
        parts = with_holdout(path, parts, options)
    return table_source(path.name.split(".")[0], parts, options, known)


def with_holdout(
    path: Path, parts: dict[str, dict[str, Cells]], options: Mapping[str, Any]
) -> dict[str, dict[str, Cells]]:
    """Returns the rows of a table in two splits: which rows are held out depends on their number alone.

    Raises:
      UserError: for a share that is none.
    """
    share, (split, test) = options.get("holdout") or 0, (options["split"], options["test_split"])
    if not 0 <= share < 1:
        raise UserError(f"data.holdout {share}: expected a share from 0 to below 1")
    rows = len(next(iter(parts[split].values())).codes)
    num = round(share * rows)
    if not num or rows < FEWEST_HELD_OUT or split == test:
        return parts
    held = np.zeros(rows, bool)
    held[np.random.default_rng([HOLDOUT, rows]).permutation(rows)[:num]] = True
    say_once(
        f"{path}: {num:,} of its {rows:,} rows are the test split; --config.data.holdout=0 learns from all of them"
    )
    return {
        name: {column: Cells(cells.texts, cells.codes[chosen], chosen) for column, cells in parts[split].items()}
        for name, chosen in ((split, np.flatnonzero(~held)), (test, np.flatnonzero(held)))
    }


def facts_of_text(options: Mapping[str, Any]) -> tuple[dict[str, list[str]], ...]:
    """Returns by column the texts that are levels whatever they look like, those that are empty cells, and symbols in numbers."""
    columns = options.get("columns")
    facts = {each["name"]: each for each in columns} if columns else schema_json(options.get("schema"))
    return tuple(
        {name: [*map(str, each[fact])] for name, each in facts.items() if isinstance(each.get(fact), list)}
        for fact in ("levels", "empty", "symbols")
    )


def all_fit(
    table: str, said: Mapping[str, dict], names: Sequence[str], facts_of: Callable[[str], dict[str, Any]]
) -> Columns:
    """Returns the facts of all columns.

    Raises:
      UserError: naming every column that cannot be modelled, with one schema that mends all of them.
    """
    found, unfit = [], {}
    for name in names:
        try:
            found.append(facts_of(name))
        except Unfit as error:
            unfit[name] = error
    if not unfit:
        return found
    mended = {**said, **{name: error.facts for name, error in unfit.items()}}
    reasons = "; ".join(f"column {name!r} {error}" for name, error in unfit.items())
    what = "leaves it out" if all(error.facts == {"kind": "drop"} for error in unfit.values()) else "mends it"
    what = what.replace("it", "them") if len(unfit) > 1 else what
    raise UserError(f"{table}: {reasons}. This {what}: {schema_setting(mended)}")


def same_columns(where: str, part: Mapping[str, Cells], expected: Sequence[str]) -> None:
    """Raises UserError where rows have other columns than those that are expected."""
    for column in expected:
        if column not in part:
            raise UserError(f"{where} lacks the column {column!r}; its columns are {', '.join(part)}")
    known = {*expected}
    for column in part:
        if column not in known:
            choose(f"column of {where}", column, expected)


def read_schema(said: str | None, names: Sequence[str]) -> dict[str, dict]:
    """What a user says of columns, in a JSON file or as JSON itself: `{"size": {"kind": "ordered", "levels": ["S", "M"]}}`.

    Raises:
      UserError: for what is no such JSON, a column that there is not, or an unknown fact or kind.
    """
    schema = schema_json(said)
    for column, facts in schema.items():
        choose("column in data.schema", column, names)
        for fact in facts:
            choose(f"fact of column {column!r} in data.schema", fact, TYPES)
        choose(f"kind of column {column!r} in data.schema", str(facts.get("kind", KINDS[0])), KINDS)
        for fact, value in facts.items():
            kind, expected = TYPES[fact]
            if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
                raise UserError(f"column {column!r} in data.schema: {fact} is {str(value)[:80]!r}; expected {expected}")
        if not 0 <= facts.get("decimals", 0) <= FULL or facts.get("common", 2) < 2:
            raise UserError(
                f"column {column!r} in data.schema: expected 0 to {FULL} decimals, at least 2 common levels"
            )
        if "levels" in facts:
            facts["levels"] = [str(level) for level in facts["levels"]]
    return schema


def schema_json(said: str | None) -> dict[str, dict]:
    """Reads the schema that a user gives as JSON or as the path of a JSON file.

    Raises:
      UserError: for what is no JSON, or no facts by column.
    """
    if said is None:
        return {}
    try:
        schema = json.loads(said if said.lstrip().startswith("{") else Path(said).expanduser().read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"data.schema {said[:200]}: not a readable JSON file ({error})") from None
    if not isinstance(schema, dict) or not all(isinstance(facts, dict) for facts in schema.values()):
        raise UserError(
            f'data.schema {said[:200]}: expected columns with their facts, such as {{"age": {{"kind": "integer"}}}}'
        )
    return schema


def infer(name: str, parts: Sequence[Cells], said: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a column holds, without the range of its values; see `data.spec.columns`.

    Whole numbers are an `integer` (if there are at most two of them, levels), other numbers `continuous` with as many
    decimals as the longest has, everything else `categorical`. A user's schema beats that, level for level.

    Raises:
      Unfit: for a column that is empty, has one value only, too many levels, or texts among its numbers.
    """
    texts = sorted({text for cells in parts for text in cells.texts})
    told = {fact for fact in said if fact not in ("empty", "symbols", "bounded")}
    if not texts and "levels" not in said:
        raise Unfit("is empty in every row")
    if len(texts) == 1 and not told:
        raise Unfit(f"holds {texts[0]!r} and no other value, there is nothing to learn")
    gaps = [np.flatnonzero(cells.codes < 0) for cells in parts]
    missing = bool(said.get("missing", any(map(len, gaps))))
    if not missing and any(map(len, gaps)):
        row = next(cells.row(gap[0]) for cells, gap in zip(parts, gaps) if len(gap))
        raise Unfit(f"is empty in row {row}, and data.schema says that no cell is missing", {**said, "missing": True})
    kind = said.get("kind") or ("categorical" if "levels" in said else "date" if "format" in said else guess(texts))
    facts = {"name": name, "kind": kind, "missing": missing}
    if said.get("bounded") is False:
        facts["bounded"] = False
    facts |= {fact: said[fact] for fact in ("empty", "symbols") if said.get(fact)}
    if kind == "integer":
        large = next((text for text in texts if is_number(text) and abs(float(text)) > EXACT), None)
        if large:
            raise Unfit(
                f"holds {large}, a whole number of more than 15 digits, which no float64 keeps: an id, whose "
                + "column drawn rows have new ones in",
                {"kind": "id"},
            )
        return facts
    if kind == "date":
        return {**facts, "format": said.get("format") or date_format(texts), "decimals": 0}
    if kind == "continuous":
        return {**facts, "decimals": int(said.get("decimals", decimals(texts)))}
    if not told:
        refuse_symbols(texts)
        refuse_stray(parts)
    levels = levels_of(kind, texts, parts, said)
    other = said.get("other", OTHER)
    if "other" in said and "levels" in said and other not in levels:
        raise Unfit(f"has no level {other!r}, which is to take other texts", {**said, "levels": [*levels, other]})
    other = other if other in levels and {"other", "common"} & said.keys() else None
    return {**facts, "levels": levels, **({"other": other} if other else {})}


def levels_of(kind: str, texts: Sequence[str], parts: Sequence[Cells], said: Mapping[str, Any]) -> list[str]:
    """Returns the levels of a column that holds these texts: those of the schema, or all texts in their order.

    Raises:
      Unfit: for an ordered column of texts without levels in the schema, too many levels, or a level twice.
    """
    if kind == "ordered" and "levels" not in said and not all(map(is_number, texts)):
        raise Unfit("is ordered: expected its levels in data.schema, from the least to the greatest")
    in_order = sorted(texts, key=float if all(map(is_number, texts)) else str)
    levels = said.get("levels") or in_order
    if "common" in said and len(in_order) > said["common"]:
        counts = counted(parts)
        common = sorted(in_order, key=lambda text: -counts[text])[: said["common"]]
        other = said.get("other", OTHER)
        return [*(level for level in in_order if level in common and level != other), other]
    if len(levels) > MOST_LEVELS:
        odd = next((text for text in levels if not is_number(text)), levels[0])
        rows = max(len(cells.codes) for cells in parts)
        many = f"has {len(levels):,} levels, such as {odd!r}; expected at most {MOST_LEVELS}"
        if len(levels) > 0.9 * rows:
            raise Unfit(f"{many} (with a value of its own in nearly every row it is an id)", {"kind": "id"})
        raise Unfit(f"{many} (the {COMMON} commonest stay, as here, and the rest are one level)", {"common": COMMON})
    if len({*levels}) < len(levels):
        raise Unfit(f"has a level that stands twice among {', '.join(levels)}")
    return levels


def refuse_symbols(texts: Sequence[str]) -> None:
    """Refuses a column of numbers with signs of currency, percent signs or thousands commas: each would be a level.

    Raises:
      Unfit: naming one of them; its facts make them numbers.
    """
    found = {symbol for symbol in SYMBOLS if any(symbol in text for text in texts)}
    if not found or len(texts) <= 2:
        return
    plain = [without(text, found) for text in texts]
    if sum(map(is_number, plain)) < STRAY * len(texts) or sum(map(is_number, texts)) >= STRAY * len(texts):
        return
    odd = next(text for text in texts if not is_number(text))
    raise Unfit(
        f"holds {odd!r}, a number with {' and '.join(map(repr, sorted(found)))}: as it is, each such text would be a level",
        {"symbols": sorted(found)},
    )


def counted(parts: Sequence[Cells]) -> Counter[str]:
    """Returns how often each text stands in a column."""
    counts: Counter[str] = Counter()
    for cells in parts:
        counts.update(dict(zip(cells.texts, np.bincount(cells.codes[cells.codes >= 0], minlength=len(cells.texts)))))
    return counts


def refuse_stray(parts: Sequence[Cells]) -> None:
    """Refuses a column of numbers, or dates, with a few texts among them: levels would be all its numbers.

    Raises:
      Unfit: naming the first such text and its row; its facts make such cells empty.
    """
    counts = counted(parts)
    form = nearly(sorted(counts), STRAY)
    what = "numbers" if form is None else "dates"
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
                f"holds {text!r} in row {cells.row(place)}, and {what} in {share:.1%} of its cells (texts may be made empty cells, "
                f'as here, or all cells levels, by {{"kind": "categorical"}})',
                {"empty": sorted(stray)},
            )


def guess(texts: Sequence[str]) -> str:
    """The kind of a column that holds these texts."""
    if len(texts) > 2 and formats_of(texts):
        return "date"
    if not all(map(is_number, texts)):
        return "categorical"
    if not all(WHOLE.fullmatch(text) for text in texts):
        return "continuous"
    coded = any(len(text) > 1 and text.startswith("0") and "." not in text for text in texts)  # a postal code
    return "categorical" if coded or len(texts) <= 2 else "integer"


def date_format(texts: Sequence[str]) -> str:
    """Returns the format of the dates of a column.

    Raises:
      Unfit: if no format fits, or if a day and a month cannot be told apart.
    """
    formats = formats_of(texts)
    if not formats:
        raise Unfit(f"holds {texts[0]!r}; expected dates of one format, such as 2024-12-31 or 31.12.2024 23:59")
    if len(formats) > 1:
        listed = " or ".join(formats)
        raise Unfit(f"holds dates such as {texts[0]!r}, of the format {listed}", {"kind": "date", "format": formats[0]})
    return formats[0]


def decimals(texts: Sequence[str]) -> int:
    """The decimals of the longest of some numbers; `FULL` where one is written with an exponent or has as many."""
    if any("e" in text.lower() for text in texts):
        return FULL
    return min(FULL, max((len(text.partition(".")[2]) for text in texts), default=FULL))


def numbers(where: str, schema: Columns, part: Mapping[str, Cells]) -> np.ndarray:
    """The cells of columns as numbers [N, D]: values, or of levels their place; NaN where a cell is empty or not there.

    Raises:
      UserError: naming the row and the column of a text that is no number, or no level, and the nearest level.
    """
    rows = max(len(cells.codes) for cells in part.values())
    x = np.full((rows, len(schema)), np.nan)
    for at, column in enumerate(schema):
        cells = part.get(column["name"], Cells([], np.full(rows, -1)))
        values = [_number(where, column, text, cells) for text in cells.texts]
        x[:, at] = np.array([*values, np.nan])[cells.codes]
    return x


def _number(where: str, column: Mapping[str, Any], text: str, cells: Cells) -> float:
    def place() -> str:
        row = cells.row(np.flatnonzero(cells.codes == cells.texts.index(text))[0])
        return f"{where}, row {row}, column {column['name']!r}"

    if column["kind"] in LEVELLED:
        known = column["levels"]
        text = text if text in known else column.get("other", text)
        return float(known.index(text if text in known else choose(f"level in {place()}:", text, known)))
    if column["kind"] == "date":
        try:
            return to_number(text, column["format"])
        except ValueError:
            raise UserError(f"{place()} holds {text!r}; expected a date of the format {column['format']}") from None
    if not is_number(text) or (column["kind"] == "integer" and float(text) != round(float(text))):
        raise UserError(f"{place()} holds {text!r}; expected a{' whole' * (column['kind'] == 'integer')} number")
    return float(text)


def with_range(column: Mapping[str, Any], x: np.ndarray, cells: Cells) -> dict[str, Any]:
    """Returns a column with the smallest and the largest of its values [N] that are learnt from.

    Raises:
      Unfit: for a column without any, or with a value so far from the others that float32 cannot tell these apart.
    """
    seen = x[~np.isnan(x)]
    if not len(seen):
        raise Unfit("is empty in every row that is learnt from")
    if "levels" not in column:
        if not np.isfinite(seen.max() - seen.min()):
            raise Unfit(f"reaches from {seen.min():g} to {seen.max():g}, farther than a float64")
        low, high = np.percentile(seen, (1, 99))
        if 0 < high - low < FAR * mean_and_deviation(seen)[1]:
            place = int(np.nanargmax(abs(x - np.nanmedian(x))))
            text = cells.texts[cells.codes[place]]
            raise Unfit(
                f"holds {text} in row {cells.row(place)}, so far from its other values, {low:g} to {high:g}, that float32 cannot tell "
                f"those apart (the far value may be made an empty cell, as here)",
                {"empty": [text]},
            )
    if column["kind"] == "integer" and len(cells.texts) == len(x) >= FEWEST_HELD_OUT:
        name = column["name"]
        say_once(f"column {name!r} differs in every row; if it is an id: {schema_setting({name: {'kind': 'id'}})}")
    last = float(len(column.get("levels", ())) - 1)
    low, high = (0.0, last) if "levels" in column else (float(seen.min()), float(seen.max()))
    return {**column, "low": low, "high": high}


def marginals(schema: Columns, x: np.ndarray) -> list[list[float]]:
    """Of each column the shares of its levels, or of the parts of its range, for the picture of samples."""
    return [shares(column, x[:, at]).tolist() for at, column in enumerate(schema)]


def shares(column: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    """As `marginals`, of one column [N]; values beyond the range count to its ends."""
    edges = parts(column)
    counts = np.histogram(np.clip(x[~np.isnan(x)], column["low"], column["high"]), edges)[0]
    return np.round(counts / max(counts.sum(), 1), 6)


def parts(column: Mapping[str, Any]) -> np.ndarray:
    """The edges of a column's levels, or of at most `BINS` equal parts of its range.

    As many of the numbers that can be written with the column's decimals fall into each part.
    """
    low, high = column["low"], column["high"]
    digits = 0 if "levels" in column or column["kind"] == "integer" else column["decimals"]
    gap, most = 10.0**-digits, BINS if "levels" not in column else len(column["levels"])
    if digits >= FULL or (high - low) / gap + 1 > gap * 1e9:
        return np.linspace(low, max(high, low + 1e-9), BINS + 1)
    values = round((high - low) / gap) + 1
    width = -(-values // most)
    return low + gap * (width * np.arange(-(-values // width) + 1) - 0.5)


def standard(source: Source, split: str) -> tuple[list[float], ...]:
    """Shift, scale, low and high of the columns: numbers get mean 0 and deviation 1, levels stay as they are."""
    schema, x = source.info["columns"], source.rows(split, np.arange(source.sizes[split]))["x"]
    real = np.array(["levels" not in column for column in schema])
    with np.errstate(over="ignore", under="ignore"):
        mean, spread = np.nanmean(x, 0), np.nanstd(x, 0)
    for at in np.flatnonzero(~np.isfinite(mean + spread) | ((spread == 0) & (np.nanmin(x, 0) < np.nanmax(x, 0)))):
        mean[at], spread[at] = mean_and_deviation(x[~np.isnan(x[:, at]), at])
    scale = np.where(real & (spread > 0), spread, 1.0)
    limits = ([column[end] for column in schema] for end in ("low", "high"))
    return np.where(real, mean, 0.0).tolist(), scale.tolist(), *limits


def mean_and_deviation(x: np.ndarray) -> tuple[float, float]:
    """Returns the mean and the standard deviation of values [N] whose sum or squares float64 may not hold."""
    largest = float(abs(x).max()) or 1.0
    return largest * float((x / largest).mean()), largest * float((x / largest).std())


def texts_of(column: Mapping[str, Any], x: np.ndarray) -> list[str]:
    """The cells of a column as text; empty where NaN."""
    if "levels" in column:
        known = [*column["levels"], ""]
        return [known[int(code)] for code in np.where(np.isnan(x), len(known) - 1, x)]
    if column["kind"] == "date":
        return ["" if np.isnan(value) else to_text(value, column["format"]) for value in x.tolist()]
    digits = {"integer": 0}.get(column["kind"], column.get("decimals", FULL))
    fits = np.round(x, digits) == x if digits < FULL else np.zeros(len(x), bool)  # not a user's own longer number
    return [
        "" if np.isnan(value) else f"{value + 0.0:.{digits}f}" if fit else repr(value)
        for value, fit in zip(x.tolist(), fits)
    ]


def to_csv(samples: Mapping[str, np.ndarray], spec: Spec) -> bytes:
    """Rows `x` [N, D] of a table's own domain as a CSV file with the names, levels and decimals of its columns, and new ids."""
    texts = {column["name"]: texts_of(column, samples["x"][:, at]) for at, column in enumerate(columns(spec))}
    order = [*texts]
    for facts in spec.ids:
        order.insert(facts["at"], facts["name"])
        texts[facts["name"]] = new_ids(facts, samples["x"])
    return csv_of({name: texts[name] for name in order})


def csv_of(texts: Mapping[str, Sequence[str]]) -> bytes:
    """Returns columns of texts as a CSV file with their names in the first row."""
    return csv_rows([[*texts], *zip(*texts.values())])


def csv_rows(rows: Iterable[Iterable[str]]) -> bytes:
    """Returns rows of texts as a CSV file."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()


def for_spreadsheets(content: bytes) -> bytes:
    """Returns a CSV file whose cells a spreadsheet takes for texts: an apostrophe stands before those that it would run.

    A cell that begins with `=`, `+`, `-` or `@` and is no number is a formula there, which may call programs or the network.
    """
    rows = csv.reader(io.StringIO(content.decode(), newline=""))
    return csv_rows([f"'{cell}" if is_formula(cell) else cell for cell in row] for row in rows)


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet would run a cell."""
    return cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r")) and not is_number(cell)


def formulas(spec: Spec) -> list[str]:
    """Returns the names and levels of a table that a spreadsheet would run."""
    return [
        text for column in columns(spec) for text in (column["name"], *column.get("levels", ())) if is_formula(text)
    ]
