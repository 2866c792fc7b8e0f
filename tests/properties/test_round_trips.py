"""What is written is read: tables, dates, networks, settings, compressed images."""

import math
from datetime import datetime
from functools import partial

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from conftest import make_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from strategies import FINITE, TEXTS, networks

from gen_jax import config
from gen_jax.coding import container
from gen_jax.coding.chunks import METHODS, Chunk
from gen_jax.data.tables import dates
from gen_jax.data.tables.bif import read_bif, write_bif
from gen_jax.data.tables.csv_files import to_csv
from gen_jax.data.tables.schema import facts_of_text
from gen_jax.data.tables.text_columns import EMPTY, is_number, read_cells, trimmed
from gen_jax.data.tables.values import numbers
from gen_jax.errors import UserError

WORDS = TEXTS.map(str.strip).filter(bool)  # a cell is read without the white space around it
NAMES = st.lists(WORDS, min_size=1, max_size=3, unique=True)
MOMENTS = st.datetimes()


def number_of(moment: datetime, form: str) -> float:
    """Returns the number of a moment: days since 1970, or seconds as far as the format tells them."""
    since = moment.replace(second=moment.second if "%S" in form else 0, microsecond=0) - dates.EPOCH
    return since.total_seconds() if "%H" in form else float(since.days)


@st.composite
def written_tables(draw):
    """Draws the facts of columns, and values [N, D] that these columns can hold."""
    names = draw(NAMES.filter(lambda names: not all(map(is_number, names))))  # which would be a row of cells
    num, schema, values = draw(st.integers(1, 4)), [], []
    for name in names:
        kind = draw(st.sampled_from(("categorical", "integer", "continuous", "date")))
        column = {"name": name, "kind": kind}
        if kind == "categorical":
            column["levels"] = draw(st.lists(WORDS | st.sampled_from(sorted(EMPTY - {""})), min_size=1, unique=True))
            cells = st.integers(0, len(column["levels"]) - 1)
        elif kind == "integer":
            cells = FINITE.map(np.rint)
        elif kind == "continuous":
            column["decimals"] = draw(st.integers(0, 17))
            cells = FINITE | st.floats(-1e9, 1e9).map(partial(round, ndigits=column["decimals"]))
        else:
            column["format"] = draw(st.sampled_from(dates.FORMATS))
            cells = MOMENTS.map(partial(number_of, form=column["format"]))
        schema.append(column)
        values.append(draw(st.lists(st.just(math.nan) | cells, min_size=num, max_size=num)))
    return schema, np.array(values, float).T


@pytest.mark.study
@pytest.mark.filterwarnings("ignore:overflow")
@settings(max_examples=500)
@given(table=written_tables())
def test_a_table_that_is_written_is_read(table, tmp_path):
    schema, x = table
    spec = make_spec("table", (len(schema),))._replace(info={"columns": schema, "dropped": []})
    (tmp_path / "t.csv").write_bytes(to_csv({"x": x}, spec))
    cells = read_cells(tmp_path / "t.csv", None, {"separator": ","}, *facts_of_text({"columns": schema}))
    assert [*cells] == [column["name"] for column in schema]
    np.testing.assert_array_equal(numbers("t", schema, cells), x)


@given(columns=st.dictionaries(TEXTS, st.lists(st.none() | TEXTS, min_size=2, max_size=2), min_size=1, max_size=3))
def test_a_parquet_file_is_read_as_it_was_written(columns, tmp_path):
    texts = {name: pyarrow.array(column, pyarrow.string()) for name, column in columns.items()}
    pyarrow.parquet.write_table(pyarrow.table(texts), tmp_path / "t.parquet")
    read = read_cells(tmp_path / "t.parquet")
    assert [*read] == [*columns]
    for name, column in columns.items():
        expected = ["" if text is None or text.strip() in EMPTY else text.strip() for text in column]
        assert [[*read[name].texts, ""][code] for code in read[name].codes] == expected


@given(form=st.sampled_from(dates.FORMATS), moment=MOMENTS)
def test_a_date_that_is_written_is_read(form, moment):
    number = number_of(moment, form)
    text = dates.to_text(number, form)
    assert dates.is_date(text, form) and dates.to_number(text, form) == number


SPACES = st.text(" \t\n\r\x0b\u2003\xa0", max_size=2)
CELLS = st.tuples(SPACES, TEXTS | st.sampled_from(sorted(EMPTY)) | st.sampled_from("ab"), SPACES).map("".join)


@given(texts=st.lists(CELLS, max_size=6), empty=st.frozensets(WORDS | st.just("a")), data=st.data())
def test_trimming_strips_texts_and_takes_out_the_empty_ones(texts, empty, data):
    codes = np.array(data.draw(st.lists(st.integers(-1, len(texts) - 1), max_size=8)), int)
    cells = trimmed(texts, codes, empty)
    expected = [None if code < 0 or texts[code].strip() in empty else texts[code].strip() for code in codes]
    assert [None if code < 0 else cells.texts[code] for code in cells.codes] == expected
    assert cells.texts == sorted({*cells.texts})


@settings(max_examples=200)
@given(network=networks())
def test_a_network_that_is_written_is_read(network, tmp_path):
    (tmp_path / "n.bif").write_bytes(write_bif(network).encode())
    read = read_bif(tmp_path / "n.bif")
    assert read[:3] == network[:3]
    for table, expected in zip(read.tables, network.tables):
        np.testing.assert_allclose(table, expected, rtol=1e-15)


KEYS = st.text("abcdefgh_", min_size=1, max_size=3)
LEAVES = st.none() | st.booleans() | st.integers() | FINITE | TEXTS | st.tuples(st.integers())
SETTINGS = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3), max_leaves=8)


@given(sections=st.dictionaries(KEYS, SETTINGS, max_size=3))
def test_flat_settings_name_each_setting_once_by_its_path(sections):
    flat, whole = config.flat(sections), {}
    for path, value in flat.items():
        *above, name = path.split(".")
        section = whole
        for key in above:
            section = section.setdefault(key, {})
        section[name] = value
    assert whole == sections
    assert config.flat(ConfigDict(sections)) == flat
    with_sections = config.flat(sections, inner=True)
    assert {path: with_sections[path] for path in flat} == flat


@given(inner=st.dictionaries(KEYS, SETTINGS, min_size=1, max_size=3))
def test_unshared_settings_are_equal_and_change_alone(inner):
    section = ConfigDict(inner)
    shared = ConfigDict({"one": section, "two": {"three": section}})
    copy = config.unshared(shared)
    assert copy.to_dict() == shared.to_dict()
    for key in inner:
        del copy.one[key]
    assert copy.two.three.to_dict() == shared.one.to_dict() == inner


@st.composite
def compressed_files(draw):
    """Draws the header and the chunks of a file of compressed images."""
    num, size = draw(st.integers(0, 5)), draw(st.integers(1, 4))
    checks = st.integers(0, 2**32 - 1)
    chunk = st.builds(Chunk, st.sampled_from(METHODS), st.integers(0, 255), st.binary(max_size=9), checks)
    chunks = draw(st.lists(chunk, min_size=-(-num // size), max_size=-(-num // size)))
    names, dims = (), draw(st.sampled_from((0, 3, 4)))
    if dims == 0:
        words = TEXTS.map(lambda text: "n" + text.replace("\0", ""))
        names = tuple(draw(st.lists(words, min_size=num, max_size=num)))
    side = st.integers(1, 2**16 - 1)
    model, shape = draw(st.binary(min_size=32, max_size=32)), draw(st.tuples(side, side, side))
    dtype = draw(st.sampled_from(container.TYPES))
    return container.Header(model, num, size, shape, dims, dtype, names), chunks


@given(written=compressed_files())
def test_a_compressed_file_that_is_written_is_read(written):
    assert container.read(container.write(*written), written[0].model) == written


@settings(max_examples=300)
@given(written=compressed_files(), data=st.data())
def test_a_compressed_file_that_was_changed_is_refused(written, data):
    content = container.write(*written)
    changed = bytearray(content)
    payloads = len(content) - sum(len(chunk.payload) for chunk in written[1])
    place = data.draw(st.integers(0, len(content)) | st.integers(payloads, len(content)))
    if place < len(content) and data.draw(st.booleans()):
        changed[place] ^= data.draw(st.integers(1, 255))
    else:
        changed[place : data.draw(st.integers(place, len(content)))] = data.draw(st.binary(max_size=8))
    if changed != content:
        with pytest.raises(UserError):
            container.read(bytes(changed), written[0].model)
