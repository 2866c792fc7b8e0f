"""Damaged files of every kind that is read: each is read, or refused in one line; `FUZZ` says how many (make test-all: 10,000)."""

import bz2
import gzip
import hashlib
import io
import json
import os
import random
import resource
import zipfile
from functools import cache
from unittest import mock

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from conftest import make_spec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat, wavfile
from test_compress import described, drawn, whole_file

from gen_jax import config, files
from gen_jax.coding import integer
from gen_jax.data.kinds.roll import FIELDS
from gen_jax.data.source import say_once
from gen_jax.data.sources.user_files import open_files
from gen_jax.data.tables.networks import ASIA
from gen_jax.errors import UserError
from gen_jax.storage import directory
from gen_jax.verbs import reports
from gen_jax.verbs.decompress import decompress

FUZZ = int(os.environ.get("FUZZ", "400"))
MOST = 1 << 30  # bytes that the process may grow by: far below what a reader may ask for
OPTIONS = config.plain(config.base_config())["data"]
TABLE = b"a,b,c\n" + b"".join(b'%d,"x ""%d""",2024-01-%02d\n' % (at, at % 3, at % 28 + 1) for at in range(120))
WORDS = (
    b'"',
    b"{",
    b"}",
    b"(",
    b";",
    b",",
    b"\n",
    b"\0",
    b"\r",
    b"=",
    b"1e308",
    b"-1",
    b"999999999999",
    b"null",
    b"[]",
    b"inf",
)
WORDS += (
    b"variable {",
    b"probability ( ) {",
    b"type discrete ;",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"NaN",
    b'{"a":' * 3000,
)


def saved(write, *args, **options):
    buffer = io.BytesIO()
    write(buffer, *args, **options)
    return buffer.getvalue()


def parquet(buffer):
    pyarrow.parquet.write_table(pyarrow.table({"a": [*range(150)], "b": ["x", "y", "z"] * 50}), buffer)


def picture(kind):
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    return saved(lambda buffer: image.save(buffer, kind))


def file_of(suffix):
    def read(folder, content):
        path = folder / f"f{suffix}"
        path.write_bytes(content)
        source = open_files(path, OPTIONS)
        for split, rows in source.sizes.items():
            source.rows(split, np.arange(min(3, rows)))

    return read


def folder_of(suffix):
    def read(folder, content):
        (folder / "images").mkdir(exist_ok=True)
        (folder / "images" / f"a.{suffix}").write_bytes(content)
        open_files(folder / "images", OPTIONS).rows("train", np.arange(1))

    return read


def run_of(name):
    def read(folder, content):
        if not (folder / "run").exists():
            directory.claim(folder / "run", make_spec("image", (8, 8, 1)))
        directory.settle(folder / "run", config.plain(config.base_config()) | {"model": {"name": "vae"}}, None)
        files.write(folder / "run" / name, content)
        reports.page(reports.read([str(folder / "run")]))

    return read


def compressor(folder, content):
    integer.from_bytes(content)


def pieces():
    """Three splits of two pieces each, as the data sets of polyphonic music hold them."""
    splits = {}
    for name in FIELDS.values():
        splits[name] = np.empty((1, 2), object)
        splits[name][0] = [np.eye(12, 88), np.eye(7, 88)]
    return saved(savemat, splits, do_compression=True)


def recordings():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in (0, 9):
            archive.writestr(f"3_ann_{number}.wav", saved(wavfile.write, 8000, np.arange(40, dtype=np.int16)))
    return buffer.getvalue()


@cache
def network():
    made = integer.make(described("bernoulli"))
    return made, hashlib.sha256(integer.to_bytes(made)).digest()


def unchecked(function, *args, **options):
    """Calls a function for which all checksums agree: what is behind them must hold too."""
    with mock.patch("zlib.crc32", return_value=7):
        return function(*args, **options)


def images_of(folder, content):
    unchecked(lambda: [*decompress(content, *network())[1]])


KINDS = {  # kind -> (a whole file, function (folder, content) that reads it)
    "npy": (saved(np.save, np.arange(80.0).reshape(20, 4)), file_of(".npy")),
    "npz": (saved(np.savez, x=np.arange(80.0).reshape(20, 4), y=np.arange(20) % 3), file_of(".npz")),
    "csv": (TABLE, file_of(".csv")),
    "csv.gz": (gzip.compress(TABLE), file_of(".csv.gz")),
    "csv.bz2": (bz2.compress(TABLE), file_of(".csv.bz2")),
    "parquet": (saved(parquet), file_of(".parquet")),
    "bif": (ASIA.read_bytes(), file_of(".bif")),
    "txt": (b"hello world\n" * 50, file_of(".txt")),
    **{kind: (picture(kind), folder_of(kind)) for kind in ("png", "jpeg", "bmp", "tiff", "webp")},
    "config": (json.dumps(config.plain(config.base_config())).encode(), run_of("config.json")),
    "metrics": (b'{"step": 1, "seconds": 1.0, "elbo": 2}\n' * 3, run_of("metrics.jsonl")),
    "evaluation": (
        b'{"step": 1, "metrics": {"elbo": {"value": 1, "oracle": null, "protocol": {}}}}',
        run_of("evaluation.json"),
    ),
    "compressor": (
        saved(np.savez, format=1, shape=np.array([8, 8, 1]), tables=np.zeros((3, 4)), scales=np.ones(3)),
        compressor,
    ),
    "mat": (pieces(), file_of(".mat")),
    "zip": (recordings(), file_of(".zip")),
    "gjx": (unchecked(whole_file, network()[0], drawn(network()[0], 9), size=4)[0], images_of),
}


def damaged(rng, content):
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        place, what = rng.randrange(len(content) + 1), rng.random()
        if what < 0.4 and place < len(content):
            content[place] ^= 1 << rng.randrange(8)
        elif what < 0.55:
            del content[place:]
        elif what < 0.8:
            content[place:place] = rng.choice(WORDS)
        elif what < 0.9:
            del content[place : place + rng.randrange(20)]
        else:
            content[place:place] = content[place : place + rng.randrange(60)]
    return bytes(content)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused_in_one_line(kind, tmp_path):
    whole, read = KINDS[kind]
    if kind != "compressor":
        read(tmp_path, whole)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng, refused = random.Random(kind), 0
    for number in range(max(1, FUZZ // len(KINDS))):
        content = damaged(rng, whole)
        say_once.cache_clear()
        try:
            read(tmp_path, content)
        except UserError as error:
            refused += 1
            assert str(error), number
        except BaseException:
            (tmp_path / "fault").write_bytes(content)
            raise
    assert refused or kind in ("metrics", "txt")  # otherwise nothing was damaged
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST // 1024


VALUES = st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["integer", "date", "categorical", "ordered", "id", "drop", "continuous"]) | JSON,
        "levels": st.lists(st.sampled_from(["x", "y", "1", "0", ""]), max_size=4) | JSON,
        "decimals": st.integers(-1, 20) | JSON,
        "format": st.sampled_from(["%Y-%m-%d", "%Q", "", "%d"]) | JSON,
        "missing": st.booleans() | JSON,
        "empty": st.lists(VALUES, max_size=2) | JSON,
        "symbols": st.lists(VALUES, max_size=2) | JSON,
        "bounded": st.booleans() | JSON,
        "common": st.integers(0, 5) | JSON,
        "other": st.text(max_size=2) | JSON,
    },
)


@settings(max_examples=max(50, FUZZ // 4), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=st.dictionaries(st.sampled_from("abcd"), FACTS, max_size=4) | JSON)
def test_any_json_as_a_schema_is_taken_or_refused(schema, tmp_path):
    rows = "".join(f"{at},{'xy'[at % 2]},2024-01-{at % 28 + 1:02d},{at / 3}\n" for at in range(60))
    (tmp_path / "t.csv").write_text("a,b,c,d\n" + rows)
    try:
        open_files(tmp_path / "t.csv", {**OPTIONS, "schema": json.dumps(schema)})
    except UserError as error:
        assert str(error)
