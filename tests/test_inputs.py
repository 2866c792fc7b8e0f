"""Inputs as people have them: what a file holds is what is read, or one line says why not and what to do."""

import bz2
import csv
import gzip
import hashlib
import io
import json
import os
import re
import shlex
import string
from datetime import datetime
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import gen_jax
from gen_jax import config, data, evaluate, query, sample, train
from gen_jax.data import spec as spec_module
from gen_jax.data.feed.rows import read_rows
from gen_jax.data.kinds.sample_files import arrays
from gen_jax.data.source import say_once
from gen_jax.data.sources.user_files import open_files
from gen_jax.data.spec import columns, to_data
from gen_jax.data.tables import evidence
from gen_jax.data.tables.bif import read_bif, write_bif
from gen_jax.data.tables.csv_files import to_csv
from gen_jax.data.tables.networks import Network
from gen_jax.data.tables.text_columns import read_cells
from gen_jax.devices import startup
from gen_jax.errors import UserError
from gen_jax.verbs.given import parse_given
from gen_jax.verbs.queries import level_probabilities
from gen_jax.verbs.score import scorer_of

CONFIGS = Path(__file__).parents[1] / "configs"
FEW = ["--quiet", "--config.steps=1", "--config.log_every=1", "--config.save_every=1", "--config.sample_every=0"]
FEW += ["--config.eval_every=0", "--config.replicas=1"]
pytestmark = pytest.mark.usefixtures("one_device")


def opened(path, **options):
    """The source of a file, with the options of a config."""
    say_once.cache_clear()
    defaults = config.plain(config.base_config())["data"]
    return open_files(Path(path), {**defaults, **options})


def loaded(path, **options):
    defaults = config.plain(config.base_config())["data"]
    options = {**defaults, "path": str(path), "order": "all", **options}
    return data.load(options, batch_size=8, seed=0, steps=1, quiet=True)


def table(tmp_path, text, name="t.csv", **options):
    """The schema and the rows of a file of that text, or those bytes."""
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    source = opened(path, **options)
    return {column["name"]: column for column in source.info["columns"]}, source.rows(
        "train", np.arange(source.sizes["train"])
    )["x"]


ROWS = "".join(f"{number},{'xy'[number % 2]}\n" for number in range(20))


WRITTEN = {
    "plain.csv": f"a,b\n{ROWS}",
    "CAPITALS.CSV": f"a,b\n{ROWS}",
    "blank.csv": f"\n  \n\na,b\n{ROWS}",
    "semicolons.csv": f"a,b\n{ROWS}".replace(",", ";"),
    "tabs.csv": f"a,b\n{ROWS}".replace(",", "\t"),
    "pipes.csv": f"a,b\n{ROWS}".replace(",", "|"),
    "excel.csv": f"sep=;\r\na,b\r\n{ROWS}".replace(",", ";"),
    "windows.csv": f"a,b\n{ROWS}".replace("\n", "\r\n"),
    "bom.csv": b"\xef\xbb\xbf" + f"a,b\n{ROWS}".encode(),
    "utf16.csv": f"a,b\n{ROWS}".encode("utf-16"),
    "utf16_tabs.csv": f"a,b\n{ROWS}".replace(",", "\t").encode("utf-16"),
    "quoted.csv": '"a","b"\n' + "".join(f'"{line}"\n'.replace(",", '","') for line in ROWS.split()),
    "tabs.tsv": f"a,b\n{ROWS}".replace(",", "\t"),
    "packed.csv.gz": gzip.compress(f"a,b\n{ROWS}".encode()),
    "PACKED.CSV.GZ": gzip.compress(f"a,b\n{ROWS}".encode()),
    "packed.csv.bz2": bz2.compress(f"a,b\n{ROWS}".encode()),
    "packed_semicolons.csv.gz": gzip.compress(f"a,b\n{ROWS}".replace(",", ";").encode()),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_table_is_the_same_however_it_is_written(name, tmp_path):
    schema, x = table(tmp_path, WRITTEN[name], name)
    assert [*schema] == ["a", "b"] and schema["a"]["kind"] == "integer" and schema["b"]["levels"] == ["x", "y"]
    np.testing.assert_array_equal(x, np.stack([np.arange(20), np.arange(20) % 2], 1))


def test_a_name_may_hold_a_new_line_and_a_separator(tmp_path):
    schema, x = table(tmp_path, f'"height\n(cm)","g, or h"\n{ROWS}')
    assert [*schema] == ["height\n(cm)", "g, or h"] and len(x) == 20 and schema["height\n(cm)"]["kind"] == "integer"


def test_what_is_guessed_is_said_and_a_setting_overrides_it(tmp_path, capsys):
    content = "a;b\n" + "".join(f"{number},5;{number}\n" for number in range(20))
    schema, x = table(tmp_path, content)
    said = capsys.readouterr().out
    assert "separated by ';'" in said and "column 'a' have decimal commas" in said
    np.testing.assert_array_equal(x[:, 0], np.arange(20) + 0.5)
    schema, x = table(tmp_path, content, decimal=".", schema='{"a": {"kind": "categorical"}}')
    assert schema["a"]["levels"][0] == "0,5"
    with pytest.raises(UserError, match="row 2 has 2 cells; expected 1"):
        table(tmp_path, content, separator=",")
    thousands = "a\tb\n" + "".join(f"{number}.000,5\t{number}\n" for number in range(1, 20))
    np.testing.assert_array_equal(table(tmp_path, thousands)[1][:, 0], 1000 * np.arange(1, 20) + 0.5)
    latin = b"name,n\n" + b"M\xfcller,1\nM\xf6ller,2\nMaier,3\n"
    assert table(tmp_path, latin)[0]["name"]["levels"] == ["Maier", "Möller", "Müller"]
    assert "read as Windows-1252" in capsys.readouterr().out


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "t.csv").write_text(f"a,b\n{ROWS}")
    assert opened("~/t.csv", test_path="~/t.csv").sizes == {"train": 20, "test": 20}


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
cell = texts.map(str.strip).filter(lambda text: text and text not in ("?", "NA", "N/A", "NaN", "nan", "NULL", "null"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(cell, min_size=2, max_size=4, unique=True),
    rows=st.lists(st.lists(cell, min_size=4, max_size=4), min_size=1, max_size=6),
    separator=st.sampled_from(",;\t|"),
)
def test_every_text_that_a_csv_writer_writes_is_read(names, rows, separator, tmp_path):
    rows = [row[: len(names)] for row in rows]
    names = [f"n{name}" for name in names]  # no row of numbers alone
    if any(
        separator != other and other in text
        for other in ",;\t|"
        for text in [*names, *(text for row in rows for text in row)]
    ):
        return  # more than one reading: a setting tells
    file = io.StringIO()
    csv.writer(file, delimiter=separator).writerows([names, *rows])
    path = tmp_path / "t.csv"
    path.write_bytes(file.getvalue().encode())
    cells = read_cells(path, None, {"separator": separator, "decimal": "."})
    assert [*cells] == names
    read = [[cells[name].texts[cells[name].codes[row]] for name in names] for row in range(len(rows))]
    assert read == rows


levels_of_bif = (
    st.text(string.ascii_letters + string.digits + " /*:;,|(){}[].-_'", min_size=1, max_size=8)
    .map(str.strip)
    .filter(bool)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(levels_of_bif, min_size=2, max_size=2, unique=True),
    levels=st.lists(levels_of_bif, min_size=2, max_size=3, unique=True),
)
def test_every_network_that_is_written_is_read(names, levels, tmp_path):
    shares = np.random.default_rng(0).dirichlet(np.ones(len(levels)), 1 + len(levels))
    network = Network(tuple(names), (tuple(levels),) * 2, ((), (0,)), (shares[0], shares[1:]))
    (tmp_path / "n.bif").write_text(write_bif(network))
    read = read_bif(tmp_path / "n.bif")
    assert read[:3] == network[:3]
    for one, other in zip(read.tables, network.tables):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_bif_file_may_begin_with_a_mark_and_hold_comments(tmp_path):
    text = write_bif(Network(("a",), (("http://x", "//y"),), ((),), (np.array([0.25, 0.75]),)))
    (tmp_path / "n.bif").write_text("\ufeff// said before\n/* and\nthis */" + text, encoding="utf-8")
    assert read_bif(tmp_path / "n.bif").levels == (("http://x", "//y"),)


def refusal(tmp_path, text, **options):
    with pytest.raises(UserError) as caught:
        table(tmp_path, text, **options)
    return str(caught.value)


def hint(message: str) -> str:
    """The schema that a message proposes, as a shell would pass it."""
    (setting,) = re.findall(r"--config\.data\.schema=.*$", message)
    return shlex.split(setting)[0].partition("=")[2]


def test_a_table_without_a_test_file_has_a_test_split_that_its_rows_decide(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("v,g\n" + "".join(f"{number},{'xy'[number % 2]}\n" for number in range(300)))
    source = opened(tmp_path / "t.csv", holdout=0.1)
    assert "30 of its 300 rows are the test split" in capsys.readouterr().out
    train_rows, test_rows = (
        source.rows(split, np.arange(source.sizes[split]))["x"][:, 0] for split in ("train", "test")
    )
    assert (
        len(test_rows) == 30 and sorted([*train_rows, *test_rows]) == [*range(300)] and (np.diff(train_rows) > 0).all()
    )
    again = opened(tmp_path / "t.csv", holdout=0.1)
    assert again.content == source.content and (again.rows("test", np.arange(30))["x"][:, 0] == test_rows).all()
    assert opened(tmp_path / "t.csv", holdout=0).sizes == {"train": 300}
    assert opened(tmp_path / "t.csv", test_path=str(tmp_path / "t.csv")).sizes == {"train": 300, "test": 300}
    with pytest.raises(UserError, match="data.holdout is 1.5; expected a share"):
        opened(tmp_path / "t.csv", holdout=1.5)
    for row in (3, 150, 299):  # is named as it stands in the file, whichever split it is in
        lines = [f"{'inf' if number == row else number / 4},{'xy'[number % 2]}\n" for number in range(300)]
        assert f"holds 'inf' in row {row + 1}," in refusal(tmp_path, "v,g\n" + "".join(lines))


def test_whole_numbers_with_gaps_stay_whole(tmp_path):
    schema, _ = table(
        tmp_path,
        "kids,g\n" + "".join(f"{'' if number % 5 == 0 else f'{number % 7}.0'},x{number % 2}\n" for number in range(40)),
    )
    assert schema["kids"]["kind"] == "integer" and schema["kids"]["missing"]
    spec = loaded(tmp_path / "t.csv").spec
    drawn = to_data(spec, np.random.default_rng(0).normal(0, 1, (50, 2)))
    assert (drawn[:, 0] == np.rint(drawn[:, 0])).all() and b".0" not in to_csv({"x": drawn}, spec)


def test_a_level_that_the_schema_names_is_a_level(tmp_path):
    content = "country,v\n" + "".join(f"{('NA', 'DE', 'FR')[number % 3]},{number}\n" for number in range(30))
    said = '{"country": {"levels": ["NA", "DE", "FR"], "missing": false}}'
    schema, x = table(tmp_path, content, schema=said)
    assert not schema["country"]["missing"] and (x[:, 0] == np.arange(30) % 3).all()
    assert "is empty in row 1, and data.schema says" in refusal(
        tmp_path, content, schema='{"country": {"levels": ["DE", "FR"], "missing": false}}'
    )


@pytest.mark.parametrize("stray", ["inf", "-", "None", "1,5 EUR", "#DIV/0!"])
def test_a_text_among_numbers_is_named_with_its_row_and_the_hint_mends_it(stray, tmp_path):
    lines = [f'"{stray}",a\n' if number == 7 else f"{number / 4},b\n" for number in range(60)]
    message = refusal(tmp_path, "v,g\n" + "".join(lines))
    assert f"column 'v' holds {stray!r} in row 8" in message
    schema, x = table(tmp_path, "v,g\n" + "".join(lines), schema=hint(message))
    assert schema["v"]["kind"] == "continuous" and np.isnan(x[7, 0]) and np.isnan(x[:, 0]).sum() == 1


def test_all_unfit_columns_are_named_at_once_and_one_schema_mends_them(tmp_path):
    names = 'id,"say ""hi""",none,note,v'
    lines = [f"c{number:05d},same,,{'x' * (number % 3)}{number},{number}\n" for number in range(1500)]
    message = refusal(tmp_path, f"{names}\n{''.join(lines)}", schema='{"v": {"kind": "integer"}}')
    assert all(f"column {name!r}" in message for name in ("id", 'say "hi"', "none", "note")) and "an id" in message
    assert "\n" not in message and json.loads(hint(message))["v"] == {"kind": "integer"}
    schema, _ = table(tmp_path, f"{names}\n{''.join(lines)}", schema=hint(message))
    assert [*schema] == ["v"]


@pytest.mark.parametrize("size", [1e200, 1e-200, 1e38, 3e-39])
def test_numbers_beyond_float32_come_back_in_their_size(size, tmp_path):
    numbers = size * (5 + np.random.default_rng(0).normal(size=90))
    (tmp_path / "t.csv").write_text(
        "v,g\n" + "".join(f"{value!r},{'xy'[at % 2]}\n" for at, value in enumerate(numbers.tolist()))
    )
    loaded_data = loaded(tmp_path / "t.csv")
    x = loaded_data.batch(loaded_data.arrays, loaded_data.at(0))["x"]
    assert np.isfinite(x).all() and np.asarray(x)[:, 0].std() == pytest.approx(1, rel=0.01)
    np.testing.assert_allclose(to_data(loaded_data.spec, x)[:, 0], numbers, rtol=1e-5)


def test_one_far_value_is_refused_with_its_row_and_the_hint_mends_it(tmp_path):
    ages = np.random.default_rng(0).integers(18, 90, 200).astype(str).tolist()
    ages[3] = "999999999999"
    content = "age,g\n" + "".join(f"{age},{'xy'[at % 2]}\n" for at, age in enumerate(ages))
    message = refusal(tmp_path, content)
    assert "column 'age' holds 999999999999 in row 4" in message
    schema, x = table(tmp_path, content, schema=hint(message))
    assert schema["age"]["high"] <= 89 and np.isnan(x[3, 0])
    heavy = np.exp(np.random.default_rng(0).normal(0, 3, 2000))  # incomes, say: far values that belong there
    assert table(tmp_path, "income,g\n" + "".join(f"{value:.2f},{'xy'[at % 2]}\n" for at, value in enumerate(heavy)))


def test_columns_without_a_name_are_named_by_their_place_and_left_out_if_empty(tmp_path, capsys):
    schema, x = table(
        tmp_path, ",a,b,\n" + "".join(f"{9 - number % 7},{line},\n" for number, line in enumerate(ROWS.split()))
    )
    assert [*schema] == ["column 1", "a", "b"] and x.shape == (20, 3)
    assert "column 1, column 4 has no name" in capsys.readouterr().out
    named = "a,column 2\n" + "".join(
        f"{number},\n" for number in range(20)
    )  # by its first row: that it is empty is said
    assert "column 'column 2' is empty in every row" in refusal(tmp_path, named)


@pytest.mark.parametrize(
    "write, symbols",
    [("${:.2f}", ["$"]), ("{:.0f} %", ["%"]), ("{:,.1f}", [","]), ("€ {:,.2f}", [",", "€"]), ("{:.0f}'000", ["'"])],
)
def test_signs_in_numbers_are_named_and_the_hint_reads_them(write, symbols, tmp_path):
    numbers = 1000 + 37.0 * np.arange(40)
    content = "p,g\n" + "".join(f'"{write.format(number)}",{"xy"[at % 2]}\n' for at, number in enumerate(numbers))
    message = refusal(tmp_path, content)
    assert f"column 'p' holds {write.format(1000)!r}" in message
    assert json.loads(hint(message)) == {"p": {"symbols": symbols}}
    x = table(tmp_path, content, schema=hint(message))[1]
    np.testing.assert_allclose(x[:, 0], numbers * (1000 if "000" in write else 1))


DATES = np.datetime64("2020-01-01") + np.timedelta64(11, "D") * np.arange(60)


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y/%m/%d", "%d %b %Y", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M"]
)
def test_dates_are_numbers_within_their_bounds_and_are_written_as_they_were(form, tmp_path):
    texts = ["" if at % 9 == 0 else each.astype(datetime).strftime(form) for at, each in enumerate(DATES)]
    (tmp_path / "t.csv").write_text("day,v\n" + "".join(f"{text},{at}\n" for at, text in enumerate(texts)))
    spec = loaded(tmp_path / "t.csv").spec
    assert columns(spec)[0]["kind"] == "date" and columns(spec)[0]["format"] == form
    x = opened(tmp_path / "t.csv").rows("train", np.arange(60))["x"]
    written = [*csv.reader(io.StringIO(to_csv({"x": x}, spec).decode()))][1:]
    assert [row[0] for row in written] == texts
    drawn = to_data(spec, np.random.default_rng(0).normal(0, 3, (100, 2)))
    days = [
        datetime.strptime(row[0], form) for row in [*csv.reader(io.StringIO(to_csv({"x": drawn}, spec).decode()))][1:]
    ]
    seen = [datetime.strptime(text, form) for text in texts if text]
    assert min(days) == min(seen) and max(days) == max(seen) and len(set(days)) > 20
    given = parse_given(f"day={texts[5]}", 2, spec).given
    np.testing.assert_allclose(to_data(spec, given["x"])[:, 0], x[5, 0])


def test_dates_that_could_be_read_two_ways_and_texts_among_dates_are_refused(tmp_path):
    content = "day,v\n" + "".join(
        f"{1 + number % 12:02d}/{1 + number % 11:02d}/2024,{number}\n" for number in range(40)
    )
    message = refusal(tmp_path, content)
    assert "of the format %d/%m/%Y or %m/%d/%Y" in message
    assert table(tmp_path, content, schema=hint(message))[0]["day"]["format"] == "%d/%m/%Y"
    content = "day,v\n" + "".join(f"{'unknown' if at == 7 else each},{at}\n" for at, each in enumerate(DATES))
    message = refusal(tmp_path, content)
    assert "column 'day' holds 'unknown' in row 8, and dates in 98.3%" in message
    schema, x = table(tmp_path, content, schema=hint(message))
    assert schema["day"]["kind"] == "date" and np.isnan(x[7, 0])
    with pytest.raises(UserError, match="row 1, column 'day' holds '7'; expected a date of the format %Y-%m-%d"):
        parse_given("day=7", 1, loaded(tmp_path / "t.csv", schema=hint(message)).spec)


def test_what_float64_or_float32_cannot_hold_is_named(tmp_path):
    lines = "".join(f"{1.7e308 * (-1) ** number},{'xy'[number % 2]}\n" for number in range(30))
    assert "column 'p' reaches from -1.7e+308 to 1.7e+308" in refusal(tmp_path, f"p,g\n{lines}")
    (tmp_path / "t.csv").write_text(f"a,b\n{ROWS}")
    with pytest.raises(
        UserError, match="given: column 'a' is 1e.200 in row 1; expected a number nearer to those of t, 0 to 19"
    ):
        parse_given("a=1e200", 2, loaded(tmp_path / "t.csv", schema='{"a": {"kind": "continuous"}}').spec)


def test_whole_numbers_that_no_float_keeps_are_refused(tmp_path):
    lines = "".join(f"{12345678901234567890 + number},{number}\n" for number in range(30))
    assert "more than 15 digits" in refusal(tmp_path, f"id,v\n{lines}")


def test_samples_stay_in_the_range_of_a_column_unless_it_is_said_otherwise(tmp_path):
    content = "price,g\n" + "".join(f"{0.5 + number / 7:.3f},{'xy'[number % 2]}\n" for number in range(40))
    far = np.array([[-50.0, 0], [50.0, 1]], np.float32)
    (tmp_path / "t.csv").write_text(content)
    spec = loaded(tmp_path / "t.csv").spec
    assert to_data(spec, far)[:, 0].tolist() == [columns(spec)[0]["low"], columns(spec)[0]["high"]]
    free = loaded(tmp_path / "t.csv", schema='{"price": {"bounded": false}}').spec
    assert to_data(free, far)[0, 0] < 0 and to_data(free, far)[1, 0] > 50


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">i4", "i8", "u8", ">f4", ">f8", "f2", "bool", np.longdouble])
def test_arrays_of_any_number_type_are_the_same_numbers(dtype, tmp_path):
    x = np.random.default_rng(0).integers(0, 2, (30, 3)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    found = loaded(tmp_path / "x.npy")
    batch = np.asarray(found.batch(jax.device_put(found.arrays), found.at(0))["x"])
    np.testing.assert_allclose(to_data(found.spec, batch).astype(float), x.astype(float), atol=1e-3)


@pytest.mark.parametrize(
    "y, names, whole",
    [
        ([5, 9, 7, 6], ("5", "6", "7", "9"), [5, 9, 7, 6]),
        ([-1, 1, 1, -1], ("-1", "1"), [-1, 1, 1, -1]),
        (["cat", "dog", "dog", "cat"], ("cat", "dog"), ["cat", "dog", "dog", "cat"]),
        ([True, False, True, True], ("0", "1"), [1, 0, 1, 1]),
        ([0, 1, 2, 1], ("0", "1", "2"), [0, 1, 2, 1]),
        ([2.0, 0.0, 0.0, 2.0], ("0", "2"), [2, 0, 0, 2]),
    ],
)
def test_labels_are_those_of_the_data(y, names, whole, tmp_path):
    np.savez(tmp_path / "l.npz", x=np.random.default_rng(0).normal(size=(4, 3)), y=np.array(y))
    spec = loaded(tmp_path / "l.npz").spec
    assert spec.classes == names
    source = opened(tmp_path / "l.npz")
    rows = source.rows("train", np.arange(4))
    assert np.load(io.BytesIO(arrays(rows, spec)))["y"].tolist() == whole
    assert parse_given(f"y={names[-1]}", 2, spec).given["y"].tolist() == [len(names) - 1] * 2
    if names[0] == "5":
        with pytest.raises(UserError, match="unknown class of l '0'.*expected one of 5, 6, 7, 9"):
            parse_given("y=0", 2, spec)


def test_a_file_of_ones_own_has_the_labels_of_the_run(tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 3))
    np.savez(tmp_path / "l.npz", x=x, y=np.array([5, 9, 7, 6] * 2))
    np.savez(tmp_path / "own.npz", x=x[:2], y=np.array([9, 7]))
    np.savez(tmp_path / "other.npz", x=x[:2], y=np.array([9, 8]))
    found, options = loaded(tmp_path / "l.npz"), config.plain(config.base_config())["data"]
    rows = read_rows(found.spec, options, path=str(tmp_path / "own.npz"))[1]
    assert rows["y"].tolist() == [3, 2]
    with pytest.raises(UserError, match="unknown label in --data .*'8'"):
        read_rows(found.spec, options, path=str(tmp_path / "other.npz"))


def folder(tmp_path, **files):
    """A folder of images by name; the source that is opened on it."""
    for name, image in files.items():
        stem, suffix = name.rsplit("_", 1)
        image.save(tmp_path / f"{stem}.{suffix}")
    return opened(tmp_path)


TOP = Image.fromarray(np.repeat(np.array([255, 255, 255, 255, 0, 0, 0, 0], np.uint8)[:, None], 8, 1))
RED = Image.new("RGB", (8, 8), (200, 30, 30))


def test_pictures_are_read_as_a_viewer_shows_them(tmp_path):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # how the camera held it
        turned = TOP if back is None else TOP.transpose(back)
        turned.save(tmp_path / f"{orientation}.png", exif=exif)
    source = opened(tmp_path)
    x = source.rows("train", np.arange(8))["x"]
    assert x.shape == (8, 8, 8, 1)
    np.testing.assert_array_equal(x, np.repeat(np.asarray(TOP)[None, ..., None], 8, 0))


def test_a_photo_on_its_side_has_the_size_that_is_shown(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert opened(tmp_path).shape == (12, 8, 3)


def test_palettes_and_grey_pictures_among_colours_are_read(tmp_path):
    source = folder(
        tmp_path, a_png=RED, b_png=RED.quantize(4), c_png=RED.convert("L"), d_bmp=RED, e_png=RED.convert("1")
    )
    x = source.rows("train", np.arange(5))["x"]
    assert source.shape == (8, 8, 3)
    np.testing.assert_array_equal(x[1], np.asarray(RED))
    assert (x[2] == np.asarray(RED.convert("L"))[..., None]).all() and (x[3] == np.asarray(RED)).all()


CLEAR = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
DEEP = Image.fromarray(np.full((8, 8), 1000, np.uint16))


@pytest.mark.parametrize(
    "files, words",
    [
        ({"a_png": TOP, "b_png": RED}, "b.png has colours and the first image, a.png, has grey pixels"),
        ({"a_png": TOP, "b_png": RED.convert("P")}, "b.png has colours"),
        ({"a_png": RED, "b_png": CLEAR}, "b.png has transparency and the first image, a.png, has none"),
        ({"a_png": RED, "b_png": CLEAR.convert("LA")}, "b.png has transparency"),
        ({"a_png": DEEP}, "a.png have more than 8 bits"),
        ({"a_png": TOP, "b_tif": DEEP}, "b.tif have more than 8 bits"),
        ({"a_png": RED, "b_png": RED.resize((9, 8))}, "b.png has 9x8 pixels; expected 8x8"),
    ],
)
def test_pictures_that_would_lose_something_are_refused_by_name(files, words, tmp_path):
    with pytest.raises(UserError, match=re.escape(words)):
        source = folder(tmp_path, **files)
        source.rows("train", np.arange(len(files)))


def test_colours_of_16_bits_are_refused(tmp_path):
    import struct
    import zlib

    raw = b"".join(b"\0" + bytes(8 * 6) for _ in range(8))  # as Pillow cannot write them
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(png + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
    with pytest.raises(UserError, match="a.png have more than 8 bits"):
        opened(tmp_path)


def test_files_that_are_left_out_are_counted_aloud(tmp_path, capsys):
    RED.save(tmp_path / "a.PNG")
    RED.save(tmp_path / "b.tif")
    for name in ("c.gif", "d.gif"):
        RED.save(tmp_path / name)
    for name in ("notes.txt", ".hidden"):
        (tmp_path / name).write_text("not an image")
    assert opened(tmp_path).sizes == {"train": 2}
    assert "2 images are read and 3 files left out (2 .gif, 1 .txt)" in capsys.readouterr().out


def train_on(tmp_path, name, config_name, *flags):
    train.main(
        ["train", "--config", str(CONFIGS / f"{config_name}.py"), "--workdir", str(tmp_path / name), *FEW, *flags]
    )
    return gen_jax.load(tmp_path / name)


def gaussian_rows(path, mean):
    rows = mean + np.random.default_rng(0).normal(size=(30, 2))
    path.write_text("a,b\n" + "".join(f"{a:.4f},{b:.4f}\n" for a, b in rows))
    return f"--config.data.test_path={path}"


def test_another_test_file_is_scored_itself_and_a_changed_one_is_other_data(tmp_path):
    gaussian_rows(tmp_path / "train.csv", 0)
    path, near, far = (
        f"--config.data.path={tmp_path / 'train.csv'}",
        *(gaussian_rows(tmp_path / f"{name}.csv", mean) for name, mean in (("near", 0), ("far", 50))),
    )
    score = lambda loaded: scorer_of(loaded, ["nll"], 100).score(loaded.model, loaded.state)["nll"]["value"]
    one, other = (
        score(train_on(tmp_path, name, "gaussian", path, test)) for name, test in (("one", near), ("other", far))
    )
    assert one < 5 and other > 100
    gaussian_rows(tmp_path / "near.csv", 3)
    with pytest.raises(UserError, match="of the data was"):
        train_on(tmp_path, "one", "gaussian", path, near)


@pytest.mark.study
def test_a_column_that_is_empty_in_the_test_file_is_no_traceback(tmp_path, capsys):
    lines = [f"{number % 9},{number / 3:.2f},{'xy'[number % 2]}\n" for number in range(60)]
    (tmp_path / "t.csv").write_text("a,b,c\n" + "".join(lines))
    data_of = [f"--config.data.path={tmp_path / 't.csv'}"]
    for name, rows in {
        "empty_number": [f",{number / 3:.2f},x\n" for number in range(20)],
        "empty_target": [f"1,{number / 3:.2f},\n" for number in range(20)],
        "one_row": ["1,2.50,x\n"],
        "one_class": [f"1,{number / 3:.2f},x\n" for number in range(20)],
    }.items():
        (tmp_path / f"{name}.csv").write_text("a,b,c\n" + "".join(rows))
        train_on(
            tmp_path,
            name,
            "mixture",
            *data_of,
            f"--config.data.test_path={tmp_path / name}.csv",
            "--config.model.components=2",
            "--config.eval_every=1",
        )
        capsys.readouterr()
        evaluate.main(["evaluate", "--workdir", str(tmp_path / name), "--num=60"])
        shown = capsys.readouterr().out
        assert "marginal" in shown and "nan" not in shown, shown


@pytest.mark.study
def test_a_run_needs_no_file_of_its_network(tmp_path):
    network = Network(
        ("a", "b"), (("x", "y"),) * 2, ((), (0,)), (np.array([0.3, 0.7]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    )
    (tmp_path / "n.bif").write_text(write_bif(network))
    (tmp_path / "t.csv").write_text("b,a\n" + "x,y\ny,x\ny,y\nx,x\n" * 5)
    flags = [f"--config.data.path={tmp_path / 't.csv'}", f"--config.model.bif={tmp_path / 'n.bif'}"]
    before = train_on(tmp_path, "run", "bayes_net_bif", *flags)
    (tmp_path / "n.bif").unlink()
    after = gen_jax.load(tmp_path / "run")
    batch = {"x": np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)}
    key = jax.random.key(0)
    np.testing.assert_array_equal(
        before.model.log_prob(key, before.state, batch), after.model.log_prob(key, after.state, batch)
    )
    train_on(tmp_path, "run", "bayes_net_bif", *flags, "--config.steps=2")  # resumed without it


@pytest.mark.study
def test_a_table_says_its_schema_which_can_be_passed_back(tmp_path, capsys):
    lines = [
        f"c{number:05d},{'inf' if number == 3 else number / 4},{'' if number % 9 == 0 else number % 5}.0,{'xy'[number % 2]}\n"
        for number in range(1500)
    ]
    (tmp_path / "t.csv").write_text("id,v,kids,g\n" + "".join(lines).replace(",.0,", ",,"))
    path = f"--config.data.path={tmp_path / 't.csv'}"
    said = {"id": {"kind": "drop"}, "v": {"empty": ["inf"]}, "kids": {"bounded": False}}
    flags = [each for each in FEW if each != "--quiet"]
    command = [
        "train",
        "--config",
        str(CONFIGS / "mixture.py"),
        *flags,
        path,
        "--config.select=bic",
        "--config.eval_every=1",
    ]
    command += ["--config.model.components=2", "--config.evaluate.num=20"]
    train.main([*command, "--workdir", str(tmp_path / "one"), f"--config.data.schema={json.dumps(said)}"])
    shown = capsys.readouterr().out
    assert "column 'v': continuous, 0 to 374.75, cells may be empty" in shown and "column 'id': left out" in shown
    assert "column 'g': categorical, 2 levels: x, y" in shown and "column 'kids': integer, 0 to 4" in shown
    schema = tmp_path / "one" / "schema.json"
    assert str(schema) in shown
    train.main([*command, "--workdir", str(tmp_path / "two"), f"--config.data.schema={schema}"])
    one, two = (json.loads((tmp_path / name / "spec.json").read_text()) for name in ("one", "two"))
    assert one == two


@pytest.mark.study
def test_columns_that_are_left_out_pass_through_completion(tmp_path, capsys):
    lines = [f"id-{number},{number / 4},{'xy'[number % 2]}\n" for number in range(60)]
    (tmp_path / "t.csv").write_text("id,v,g\n" + "".join(lines))
    train_on(
        tmp_path,
        "run",
        "mixture",
        f"--config.data.path={tmp_path / 't.csv'}",
        '--config.data.schema={"id": {"kind": "drop"}}',
        "--config.eval_every=1",
        "--config.model.components=2",
    )
    (tmp_path / "gaps.csv").write_text('g,id,v\nx,"b, 1",\n,a2,7.5\ny,,99.25\n')
    out = tmp_path / "whole.csv"
    capsys.readouterr()
    sample.main(
        [
            "sample",
            "--workdir",
            str(tmp_path / "run"),
            "--given",
            str(tmp_path / "gaps.csv"),
            "--completions=2",
            "--out",
            str(out),
        ]
    )
    names = [tmp_path / "whole-1.csv", tmp_path / "whole-2.csv"]
    assert ", ".join(map(str, names)) in capsys.readouterr().out
    for name in names:
        rows = list(csv.DictReader(name.open()))
        assert [*rows[0]] == ["g", "id", "v"] and [row["id"] for row in rows] == ["b, 1", "a2", ""]
        assert (
            rows[0]["g"] == "x"
            and rows[1]["v"] == "7.5"
            and rows[2]["v"] == "99.25"
            and all(row["v"] and row["g"] for row in rows)
        )
    arrays_of = tmp_path / "whole.npz"
    sample.main(
        ["sample", "--workdir", str(tmp_path / "run"), "--given", str(tmp_path / "gaps.csv"), "--out", str(arrays_of)]
    )
    assert np.load(arrays_of)["x"].shape == (3, 2)  # of numbers, without the ids


@pytest.mark.study
def test_cells_that_are_given_come_back_as_they_are_written(tmp_path):
    lines = [f"{number % 28 + 1}.{number % 12 + 1}.2024,{number / 4},{number:03d}\n" for number in range(60)]
    (tmp_path / "t.csv").write_text("day,v,code\n" + "".join(lines))
    schema = '{"day": {"kind": "date", "format": "%d.%m.%Y"}, "code": {"kind": "integer"}}'
    more = [f"--config.data.path={tmp_path / 't.csv'}", f"--config.data.schema={schema}", "--config.eval_every=1"]
    train_on(tmp_path, "run", "mixture", *more, "--config.model.components=2")
    (tmp_path / "gaps.csv").write_text("day,v,code\n1.2.2024,1.50,\n,7e0,007\n")
    flags = ["--given", str(tmp_path / "gaps.csv"), "--out", str(tmp_path / "whole.csv")]
    sample.main(["sample", "--workdir", str(tmp_path / "run"), *flags])
    one, two = csv.DictReader((tmp_path / "whole.csv").open())
    assert (one["day"], one["v"], two["v"], two["code"]) == ("1.2.2024", "1.50", "7e0", "007")
    assert re.fullmatch(r"\d\d\.\d\d\.2024", two["day"]) and one["code"].isdecimal()


IDS = {
    "numbers": (lambda number: f"{number + 1}", lambda text, row: text == f"{61 + row}"),
    "padded": (lambda number: f"C-{number + 1:05d}/a", lambda text, row: text == f"C-{61 + row:05d}/a"),
    "long": (lambda number: f"{10**19 + number}", lambda text, row: text == f"{10**19 + 60 + row}"),
    "hexadecimal": (
        lambda number: hashlib.md5(str(number).encode()).hexdigest()[:8] + "-4f",
        lambda text, row: re.fullmatch("[0-9a-f]{8}-4f", text),
    ),
    "short codes": (
        lambda number: "abcdefgh"[number // 8] + "stuvwxyz"[number % 8],
        lambda text, row: text == f"{1 + row}",
    ),
    "a number among texts": (
        lambda number: "7" if number == 3 else "y" * (number + 1),
        lambda text, row: text == f"{8 + row}",
    ),
    "of no pattern": (lambda number: "x" * (number + 1), lambda text, row: text == f"{1 + row}"),
}


@pytest.mark.parametrize("name", IDS)
def test_rows_that_are_drawn_get_new_ids_at_their_place(name, tmp_path):
    write, is_new = IDS[name]
    old = [write(number) for number in range(60)]
    (tmp_path / "t.csv").write_text(
        "a,id,b\n" + "".join(f"{at},{text},{'xy'[at % 2]}\n" for at, text in enumerate(old))
    )
    spec = loaded(tmp_path / "t.csv", schema='{"id": {"kind": "id"}}').spec
    assert [column["name"] for column in columns(spec)] == ["a", "b"]
    rows = np.stack([np.arange(30), np.arange(30) % 2], 1).astype(float)
    written = [*csv.DictReader(io.StringIO(to_csv({"x": rows}, spec).decode()))]
    assert [*written[0]] == ["a", "id", "b"] and [row["a"] for row in written] == [*map(str, range(30))]
    new = [row["id"] for row in written]
    assert len({*new}) == 30 and not {*new} & {*old} and all(map(is_new, new, range(30)))
    assert [row["id"] for row in csv.DictReader(io.StringIO(to_csv({"x": rows}, spec).decode()))] == new
    assert spec_module.schema_of(spec)["id"] == {"kind": "id"}
    (tmp_path / "gaps.csv").write_text("id,a\nmine,3\n,4\n")
    filled = evidence.completed(spec, evidence.read_file(spec, str(tmp_path / "gaps.csv")), rows[:2], ".csv")
    one, two = csv.DictReader(io.StringIO(filled.decode()))
    assert one["id"] == "mine" and is_new(two["id"], 1) and [*one] == ["id", "a", "b"]


def test_too_many_levels_keep_the_commonest_and_the_rest_are_one(tmp_path):
    texts = [f"t{min(at % 97, at // 3)}" for at in range(6000)] + [f"rare{at}" for at in range(1500)]
    content = "g,v\n" + "".join(f"{text},{at % 7}\n" for at, text in enumerate(texts))
    message = refusal(tmp_path, content)
    assert "levels, such as" in message and "the 100 commonest stay" in message
    schema, x = table(tmp_path, content, schema=hint(message))
    assert len(schema["g"]["levels"]) == 101 and schema["g"]["levels"][-1] == "(other)"
    assert all(f"t{at}" in schema["g"]["levels"] for at in range(97))
    assert (x[:, 0] == 100).sum() >= 0.9 * 1497 * 0.9
    spec = loaded(tmp_path / "t.csv", schema=hint(message)).spec
    again, _ = table(tmp_path, content, schema=json.dumps(spec_module.schema_of(spec)))
    assert again["g"]["levels"] == schema["g"]["levels"] and again["g"]["other"] == "(other)"


def test_whole_numbers_that_differ_in_every_row_are_asked_about(tmp_path, capsys):
    table(tmp_path, "n,v\n" + "".join(f"{at},{at % 5}\n" for at in range(200)), holdout=0)
    assert """column 'n' differs in every row; if it is an id: --config.data.schema='{"n": {"kind": "id"}}'""" in (
        capsys.readouterr().out
    )


@pytest.mark.study
def test_a_query_is_the_conditional_distribution_by_names(tmp_path, capsys):
    tables = np.array([0.3, 0.7]), np.array([[0.9, 0.1], [0.2, 0.8]])
    network = Network(("claim", "smoker"), (("yes", "no"),) * 2, ((), (0,)), tables)
    (tmp_path / "n.bif").write_text(write_bif(network))
    flags = [f"--config.data.path={tmp_path / 'n.bif'}", f"--config.model.bif={tmp_path / 'n.bif'}", "--config.steps=0"]
    run = train_on(tmp_path, "run", "bayes_net_bif", *flags)
    joint = tables[0][:, None] * tables[1]  # [claim, smoker]
    given_yes = joint[:, 0] / joint[:, 0].sum()
    known = evidence.condition_of(run.spec, "smoker=yes")
    np.testing.assert_allclose([*level_probabilities(run, "claim", known).values()], given_yes, rtol=1e-5)
    np.testing.assert_allclose([*level_probabilities(run, "claim").values()], tables[0], rtol=1e-5)
    capsys.readouterr()
    query.main(["query", "--workdir", str(tmp_path / "run"), "--of=claim", "--given=smoker=yes"])
    assert capsys.readouterr().out.splitlines()[0] == f"P(claim=yes | smoker=yes) = {given_yes[0]:.4f}"
    for flags, words in (
        (["--of=clam"], "unknown column of n in --of 'clam'; expected .*Did you mean 'claim'"),
        (["--of=claim", "--given=claim=yes"], "'claim' stands in --of and in --given"),
        (["--of=claim", "--given=do(smoker)=yes"], "has do..; expected a condition without do"),
    ):
        with pytest.raises(UserError, match=words):
            query.main(["query", "--workdir", str(tmp_path / "run"), *flags])


@pytest.mark.study
def test_a_query_of_a_number_prints_its_quantiles(tmp_path, capsys):
    lines = [f"{5 * (number % 2) + number / 100:.2f},{'xy'[number % 2]}\n" for number in range(80)]
    (tmp_path / "t.csv").write_text("v,g\n" + "".join(lines))
    more = ["--config.eval_every=1", "--config.model.components=2", "--config.steps=20"]
    train_on(tmp_path, "run", "mixture", f"--config.data.path={tmp_path / 't.csv'}", *more)
    medians = []
    for level in "xy":
        capsys.readouterr()
        query.main(["query", "--workdir", str(tmp_path / "run"), "--of=v", f"--given=g={level}"])
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(" 50%")]
        medians.append(float(line.split()[-1]))
    assert medians[0] < 2 and medians[1] > 4


def test_the_users_folder_for_compiled_code_is_respected(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        startup.start()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path)
        jax.config.update("jax_compilation_cache_dir", None)
        startup.start()
        assert Path(jax.config.jax_compilation_cache_dir).is_relative_to(os.environ["GEN_JAX_CACHE"])
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
