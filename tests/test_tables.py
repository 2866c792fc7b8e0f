"""Tables: schemas inferred and said, cells to numbers and back, sets by name, what cannot be read, the commands over a run."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

import gen_jax
from gen_jax import config, data, sample, train
from gen_jax.data.kinds.sample_files import encode
from gen_jax.data.spec import columns, from_json, rows_to_model, to_data, to_json
from gen_jax.data.tables.text_columns import cells_of, read_cells
from gen_jax.errors import UserError

SHARED = Path(__file__).parents[2] / "shared" / "data"
CONFIGS = Path(__file__).parents[1] / "configs"
PEOPLE = """age,height,smoke, town ,visits
40,1.80,yes,"Delft, Old",3
25,1.755,no,Lens,
?,1.6,no,Lens,0
61,NA,yes,Delft,7
33,1.70,no,Lens,2
"""


def write(folder, text, name="people.csv"):
    (folder / name).write_text(text)
    return folder / name


def load(**options):
    defaults = config.plain(config.base_config())["data"]
    return data.load({**defaults, **options}, batch_size=4, seed=0, steps=1, quiet=True)


def facts(loaded) -> dict:
    return {column["name"]: column for column in columns(loaded.spec)}


def test_a_schema_is_inferred_and_goes_with_the_run(tmp_path):
    loaded = load(path=str(write(tmp_path, PEOPLE)))
    known = facts(loaded)
    assert (loaded.spec.kind, loaded.spec.shape, loaded.spec.sizes) == ("table", (5,), {"train": 5})
    assert known["age"] == {"name": "age", "kind": "integer", "missing": True, "low": 25.0, "high": 61.0}
    assert (known["height"]["kind"], known["height"]["decimals"], known["height"]["missing"]) == ("continuous", 3, True)
    assert (known["smoke"]["kind"], known["smoke"]["levels"]) == ("categorical", ["no", "yes"])
    assert (known["town"]["levels"], known["town"]["missing"]) == (["Delft", "Delft, Old", "Lens"], False)
    assert from_json(json.loads(json.dumps(to_json(loaded.spec)))) == loaded.spec


def test_batches_are_standardised_and_say_what_is_observed(tmp_path):
    loaded = load(path=str(write(tmp_path, PEOPLE)), order="all")
    batch = loaded.batch(loaded.arrays, loaded.at(0))
    x, mask = batch["x"], batch["mask"]
    assert x.dtype == np.float32 and mask.dtype == bool and x.shape == mask.shape == (5, 5)
    assert mask.sum(0).tolist() == [4, 4, 5, 5, 4] and (x[~mask] == 0).all()
    for at in (0, 1, 4):  # numbers
        np.testing.assert_allclose([x[mask[:, at], at].mean(), x[mask[:, at], at].std()], [0, 1], atol=1e-6)
    assert x[:, 3].tolist() == [1, 2, 2, 0, 2]  # levels as they are
    whole = load(name="iris", order="all")
    assert set(whole.batch(whole.arrays, whole.at(0))) == {"x", "weight"}


def test_rows_come_back_as_they_were(tmp_path):
    loaded = load(path=str(write(tmp_path, PEOPLE)))
    raw = loaded.read("train", None)["x"]
    there = rows_to_model(loaded.spec, {"x": raw})
    np.testing.assert_array_equal(np.where(there["mask"], to_data(loaded.spec, there["x"]), np.nan), raw)
    files = encode({"x": raw}, loaded.spec, ".csv")
    write(tmp_path, files[".csv"].decode(), "again.csv")
    before, after = (
        list(csv.reader((tmp_path / name).read_text().splitlines())) for name in ("people.csv", "again.csv")
    )
    assert after[0] == [name.strip() for name in before[0]]
    assert after[1:4] == [  # three decimals each, nothing where a cell was empty
        ["40", "1.800", "yes", "Delft, Old", "3"],
        ["25", "1.755", "no", "Lens", ""],
        ["", "1.600", "no", "Lens", "0"],
    ]
    again = load(path=str(tmp_path / "again.csv")).read("train", None)["x"]
    np.testing.assert_array_equal(again, raw)
    assert files[".png"].startswith(b"\x89PNG")


def test_a_first_row_may_be_wider_than_what_is_read_to_guess_the_format(tmp_path):
    names = [f"a column with a long name {at}" for at in range(3000)]
    rows = [";".join(f"{row * at % 7 + 0.5}" for at in range(3000)) for row in range(30)]
    (tmp_path / "wide.csv").write_text("\n".join([";".join(names), *rows]))
    columns = read_cells(tmp_path / "wide.csv")
    assert [*columns] == names and len(columns[names[-1]].codes) == 30


def test_a_user_says_what_columns_are(tmp_path):
    schema = {
        "age": {"kind": "continuous", "decimals": 1},
        "visits": {"kind": "ordered"},
        "smoke": {"levels": ["yes", "no", "never"]},
        "town": {"kind": "drop"},
    }
    path = write(tmp_path, PEOPLE)
    file = write(tmp_path, json.dumps(schema), "schema.json")
    for said in (str(file), json.dumps(schema)):
        loaded = load(path=str(path), schema=said)
        known = facts(loaded)
        assert [*known] == ["age", "height", "smoke", "visits"] and loaded.spec.info["dropped"] == ["town"]
        assert (known["age"]["kind"], known["age"]["decimals"]) == ("continuous", 1)
        assert known["visits"]["levels"] == ["0", "2", "3", "7"] and known["visits"]["kind"] == "ordered"
        assert loaded.read("train", None)["x"][:, 2].tolist() == [0, 1, 1, 0, 1]
    assert load(path=str(path)).spec.content != loaded.spec.content


def test_parquet_and_compressed_files_hold_the_same(tmp_path):
    path = write(tmp_path, PEOPLE)
    cells = {
        name: [column.texts[code] if code >= 0 else None for code in column.codes]
        for name, column in read_cells(path).items()
    }
    cells["age"] = [None if text is None else int(text) for text in cells["age"]]
    cells["height"] = [float("nan") if text is None else float(text) for text in cells["height"]]
    pyarrow.parquet.write_table(pyarrow.table(cells), tmp_path / "people.parquet")
    with gzip.open(tmp_path / "people.csv.gz", "wt") as file:
        file.write(PEOPLE)
    raw = load(path=str(path)).read("train", None)["x"]
    for name in ("people.parquet", "people.csv.gz"):
        np.testing.assert_array_equal(load(path=str(tmp_path / name)).read("train", None)["x"], raw)


def test_a_second_file_has_the_test_rows(tmp_path):
    options = {
        "path": str(write(tmp_path, "a,b\n1,x\n2,y\n3,x\n")),
        "test_path": str(write(tmp_path, "b,a\nz,9\n", "t.csv")),
    }
    loaded = load(**options)
    assert loaded.spec.sizes == {"train": 3, "test": 1}
    assert loaded.read("test", None)["x"].tolist() == [[9, 2]]  # by name; levels of both files, the range of one
    assert facts(loaded)["a"]["high"] == 3
    write(tmp_path, "a,c\n1,x\n", "t.csv")
    with pytest.raises(UserError, match="column 'b' of people, test is missing"):
        load(**options)


def test_sets_by_name(tmp_path):
    from sklearn.datasets import load_breast_cancer, load_iris, load_wine

    for name, read in {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}.items():
        loaded, theirs = load(name=name), read()
        for split, rows in {
            "train": np.arange(len(theirs.data)) % 5 != 4,
            "test": np.arange(len(theirs.data)) % 5 == 4,
        }.items():
            x = loaded.read(split, None)["x"]
            np.testing.assert_array_equal(x[:, :-1], theirs.data[rows])
            names = np.array(columns(loaded.spec)[-1]["levels"])[x[:, -1].astype(int)]
            assert names.tolist() == theirs.target_names[theirs.target[rows]].tolist()
    for part, rows in {"train": "0,1\n1,1\n", "valid": "1,0\n", "test": "0,0\n"}.items():
        write(tmp_path, rows, f"tiny.{part}.data")
    loaded = load(name="binary", data_dir=str(tmp_path), set="tiny")
    assert loaded.spec.sizes == {"train": 2, "validation": 1, "test": 1}
    assert loaded.read("train", None)["x"].tolist() == [[0, 1], [1, 1]]  # a constant column too


def test_adult_is_read_as_it_is():
    if not (SHARED / "tabular").exists():
        pytest.skip(f"needs adult in {SHARED / 'tabular'}")
    loaded = load(name="adult", data_dir=str(SHARED / "tabular"))
    known = facts(loaded)
    assert loaded.spec.sizes == {"train": 32561, "test": 16281}
    assert known["income"]["levels"] == ["<=50K", ">50K"]
    assert [name for name in known if known[name]["missing"]] == ["workclass", "occupation", "native-country"]
    assert np.isnan(loaded.read("train", None)["x"]).sum() == 4262
    assert (known["age"]["low"], known["age"]["high"]) == (17, 90)


MANY = "a,b\n" + "".join(f"{number},name{number}\n" for number in range(1200))
WRONG = {
    "no rows": ("a,b\n", {}, "no rows"),
    "empty": ("", {}, "is empty"),
    "one row": ("a,b\n1,x\n", {}, "has one row to learn from; expected at least two"),
    "ragged": ("a,b\n1,2\n3\n", {}, "row 3 has 1 cells; expected 2"),
    "one name twice": ("a,a\n1,2\n", {}, "two columns are named 'a'"),
    "constant": ("a,b\n1,5\n2,5\n", {}, "column 'b' holds '5' and no other value, there is nothing to learn; expected columns to learn from. This leaves it out: --config.data.schema="),
    "all missing": ("a,b\n1,\n2,?\n", {}, "column 'b' is empty in every row; expected columns to learn from. This leaves it out: --config.data.schema="),
    "many levels": (MANY, {}, "column 'b' has 1,200 levels, such as 'name0', and at most 1000 are possible (with a value of its own in nearly every row it is an id); expected columns to learn from. This mends it"),
    "unknown column": (PEOPLE, {"schema": '{"tall": {"kind": "integer"}}'}, "unknown column in data.schema 'tall'"),
    "unknown kind": (PEOPLE, {"schema": '{"age": {"kind": "categoric"}}'}, "Did you mean 'categorical'"),
    "unknown fact": (PEOPLE, {"schema": '{"age": {"level": []}}'}, "Did you mean 'levels'"),
    "no JSON": (PEOPLE, {"schema": '{"age": '}, "expected JSON"),
    "a list": (PEOPLE, {"schema": '{"age": 3}'}, "expected columns with their facts"),
    "a level too few": (PEOPLE, {"schema": '{"smoke": {"levels": ["yes", "on"]}}'}, "row 2, column 'smoke': 'no'; expected one of yes, on"),
    "no whole number": (PEOPLE, {"schema": '{"height": {"kind": "integer"}}'}, "row 3, column 'height' holds '1.6'; expected a whole"),
    "no number": (PEOPLE, {"schema": '{"town": {"kind": "continuous"}}'}, "column 'town' holds 'Delft'; expected a number"),
    "no order": (PEOPLE, {"schema": '{"town": {"kind": "ordered"}}'}, "lacks its levels in data.schema"),
    "all dropped": ("a\n1\n2\n3\n", {"schema": '{"a": {"kind": "drop"}}'}, "drops every column"),
    "transform": (PEOPLE, {"transform": "signed"}, "unknown data.transform of a table"),
    "no file": (PEOPLE, {"test_path": "nowhere.csv"}, "nowhere.csv does not exist"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_read_is_one_clear_line(case, tmp_path):
    text, options, words = WRONG[case]
    with pytest.raises(UserError) as raised:
        load(path=str(write(tmp_path, text)), **options)
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_other_data_have_no_schema(tmp_path):
    with pytest.raises(UserError, match="data.schema is .* and digits.* expected table"):
        load(schema="{}")
    with pytest.raises(UserError, match="data.set is 'nltcs' with data.name .*; expected data.name 'binary'"):
        load(name="iris", set="nltcs")
    with pytest.raises(UserError, match="variant of iris: 'number'; expected .*Did you mean 'numbers'"):
        load(name="iris", variant="number")
    assert load(name="iris", variant="numbers").spec.shape == (4,)
    with pytest.raises(UserError, match="without data.path; expected both"):
        load(name="iris", test_path="t.csv")
    with pytest.raises(UserError, match=r"data.set is missing .* Give --config.data.set=NAME"):
        load(name="binary", data_dir=str(tmp_path))
    with pytest.raises(UserError, match="holds no adult.train.csv"):
        load(name="adult", data_dir=str(tmp_path))
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="expected a Parquet file"):
        load(path=str(tmp_path / "torn.parquet"))


def test_kinds_of_cells():
    from gen_jax.data.tables.schema_inference import decimals, guess

    assert guess(["1", "2", "30"]) == "integer" and guess(["0", "1"]) == "categorical"
    assert guess(["-1.5", "2e3", "7"]) == "continuous" and guess(["01067", "10115", "20095"]) == "categorical"
    assert guess(["1", "2", "x"]) == guess(["1_000", "2", "3"]) == guess(["inf", "1", "2"]) == "categorical"
    assert decimals(["1.50", "2.5"]) == 2 and decimals(["1e-3"]) == 17
    assert cells_of([" b", "a ", "", "b"]).codes.tolist() == [1, 0, -1, 1]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A mixture of a table in which x follows the level of g: low 0, high 10; a tenth of the cells is empty."""
    folder, random = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    g = random.integers(0, 2, 200)
    x, n = 10 * g + random.normal(0, 0.5, 200), 5 * g + random.integers(0, 3, 200)
    hidden = random.random((200, 3)) < 0.1
    cells = [[f"{a:.2f}", f"{b}", ["low", "high"][c]] for a, b, c in zip(x, n, g)]
    rows = [",".join("" if hide else cell for cell, hide in zip(row, hides)) for row, hides in zip(cells, hidden)]
    write(folder, "\n".join(["x,n,g", *filter(lambda row: row != ",,", rows)]) + "\n", "data.csv")
    flags = ["--config.steps=20", "--config.replicas=1", "--config.model.components=2", "--config.data.name=none"]
    flags += ["--config.eval_every=20", "--config.sample_every=0", f"--config.data.test_path={folder / 'data.csv'}"]
    train.main(["train", "--config", str(CONFIGS / "mixture.py"), "--workdir", str(folder / "run"), "--quiet", *flags,
                f"--config.data.path={folder / 'data.csv'}"])  # fmt: skip
    return folder / "run"


def rows_of(file) -> list[dict]:
    return list(csv.DictReader(file.read_text().splitlines()))


def drawn(workdir, out, *flags) -> list[dict]:
    sample.main(["sample", "--workdir", str(workdir), "--out", str(out), *flags])
    return rows_of(out) if out.exists() else []


@pytest.mark.usefixtures("one_device")
def test_a_runs_samples_are_rows_like_those_it_learnt(workdir, tmp_path):
    rows = drawn(workdir, tmp_path / "s.csv", "--num=300")
    assert [*rows[0]] == ["x", "n", "g"] and len(rows) == 300
    assert {row["g"] for row in rows} == {"low", "high"} and all("" not in row.values() for row in rows)
    assert all(len(row["x"].partition(".")[2]) == 2 and 0 <= int(row["n"]) <= 7 for row in rows)
    assert np.mean([(float(row["x"]) > 5) == (row["g"] == "high") for row in rows]) > 0.98  # levels are smoothed
    scores = json.loads((workdir / "evaluation.json").read_text())["metrics"]
    assert np.isfinite(scores["nll"]["value"]) and scores["bic"]["details"]["parameters"] == 13


@pytest.mark.usefixtures("one_device")
def test_given_cells_stay_and_the_others_follow(workdir, tmp_path):
    rows = drawn(workdir, tmp_path / "s.csv", "--num=20", "--given", "g=high,n=6")
    assert all(row["g"] == "high" and row["n"] == "6" and float(row["x"]) > 5 for row in rows)
    rows = drawn(workdir, tmp_path / "s.csv", "--num=2", "--given", "n=-3,x=0.1234")  # never seen, and never changed
    assert all((row["n"], row["x"]) == ("-3", "0.1234") for row in rows)
    file = write(tmp_path, 'g,x\nhigh,\n,0.1234\n"low",\n', "g=some.csv")
    rows = drawn(workdir, tmp_path / "c.csv", "--given", str(file))
    assert [row["g"] for row in rows] == ["high", "low", "low"] and rows[1]["x"] == "0.1234"
    assert [*rows[0]] == ["g", "x", "n"]  # as in the file, and what it lacks
    assert float(rows[0]["x"]) > 5 > float(rows[2]["x"])
    drawn(workdir, tmp_path / "c.csv", "--given", str(file), "--completions=2", "--seed=1")
    first, second = (rows_of(tmp_path / f"c-{each}.csv") for each in (1, 2))
    assert [row["g"] for row in first] == [row["g"] for row in second] == ["high", "low", "low"]
    assert first[0]["x"] != second[0]["x"]


@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--given", "h=low"], "unknown column of data in --given 'h'"),
        (["--given", "g=hihg"], "Did you mean 'high'"),
        (["--given", "x=tall"], "column 'x' holds 'tall'; expected a number"),
        (["--given", "g"], "expected NAME=VALUE"),
        (["--given", "g=low,g=high"], "'g' is given twice"),
        (["--given", "do(g)=low"], "cannot be conditioned on 'do'"),
        (["--given", "nowhere.csv"], "nowhere.csv does not exist"),
        (["--given", "{folder}/wrong.csv"], "Did you mean 'g'|unknown column"),
        (["--given", "{folder}/right.csv", "--num=3"], "expected no --num"),
        (["--completions=2"], "without a file in --given"),
        (["--given", "g=low", "--length=3"], "expected sequences"),
    ],
)
def test_an_unusable_given_is_refused(flags, words, workdir, tmp_path):
    write(tmp_path, "gg\nlow\n", "wrong.csv")
    write(tmp_path, "g\nlow\n", "right.csv")
    flags = [flag.replace("{folder}", str(tmp_path)) for flag in flags]
    with pytest.raises(UserError, match=words):
        drawn(workdir, tmp_path / "s.csv", *flags)


def test_a_table_of_one_users_own_is_scored_under_the_runs_schema(workdir, tmp_path):
    from gen_jax.data.feed.rows import read_rows

    loaded = gen_jax.load(workdir)
    file = write(tmp_path, "g,n,x\nhigh,,3.5\nlow,2,1\n", "mine.csv")
    _, rows = read_rows(loaded.spec, loaded.config["data"], path=str(file))
    np.testing.assert_array_equal(rows["x"], [[3.5, np.nan, 0], [1, 2, 1]])
    write(tmp_path, "g,n,x,z\nlow,2,1,3\n", "mine.csv")
    with pytest.raises(UserError, match="unknown column of mine, train 'z'"):
        read_rows(loaded.spec, loaded.config["data"], path=str(file))
    write(tmp_path, "g,n\nlow,2\n", "mine.csv")
    with pytest.raises(UserError, match="column 'x' of mine, train is missing"):
        read_rows(loaded.spec, loaded.config["data"], path=str(file))
    write(tmp_path, "g,n,x\nmiddle,,3.5\n", "mine.csv")
    with pytest.raises(UserError, match="column 'g': 'middle'"):
        read_rows(loaded.spec, loaded.config["data"], path=str(file))
