"""Conditions on the columns of a table: what they mean, which are refused, and that rows drawn under them are the model's."""

from pathlib import Path

import numpy as np
import pytest
from conftest import table_spec

from gen_jax import query, sample, train
from gen_jax.data.tables import evidence
from gen_jax.data.tables.dates import to_number
from gen_jax.errors import UserError
from gen_jax.verbs import draw

CONFIG = Path(__file__).parents[1] / "configs" / "mixture.py"
DATE = "%Y-%m-%d"
RANGE = {"missing": False, "low": 0.0, "high": 90.0}
COLUMNS = [
    {"name": "age", "kind": "integer", **RANGE},
    {"name": "tax in EUR", "kind": "continuous", "decimals": 2, **RANGE},
    {"name": "city", "kind": "categorical", "levels": ["Graz", "Linz", "St. Pölten, Nord", "Wien"], **RANGE},
    {"name": "size", "kind": "ordered", "levels": ["S", "M", "L"], **RANGE},
    {"name": "grade", "kind": "categorical", "levels": ["1", "2", "10"], **RANGE},
    {"name": "day", "kind": "date", "format": DATE, "decimals": 0, **RANGE},
]
ROWS = np.stack([np.arange(40), np.arange(40) / 4, *(np.arange(40) % size for size in (4, 3, 3)), np.arange(40)], 1)


def spec(**facts):
    made = table_spec(*[None] * len(COLUMNS))
    start = to_number("2024-01-01", DATE)
    columns = [
        {**column, "low": start, "high": start + 90} if column["name"] == "day" else column for column in COLUMNS
    ]
    return made._replace(info={**made.info, "columns": [{**column, **facts} for column in columns]})


def row_filter(spec, text):
    return evidence.row_filter(evidence.condition_of(spec, text))


def fitting(text):
    rows = ROWS + to_number("2024-01-01", DATE) * (np.arange(len(COLUMNS)) == 5)
    return np.flatnonzero(row_filter(spec(), text)(rows))


@pytest.mark.parametrize(
    ("text", "same"),
    {
        "age>20": lambda row: row > 20,
        "age >= 20, age<=25.5": lambda row: 20 <= row <= 25,
        "age in 20..25": lambda row: 20 <= row <= 25,
        "age in 3,5, 8": lambda row: row in (3, 5, 8),
        "age!=7": lambda row: row != 7,
        "tax in EUR<2": lambda row: row < 8,
        "tax in EUR in 1 .. 2": lambda row: 4 <= row <= 8,
        "city in Wien,Graz": lambda row: row % 4 in (0, 3),
        'city in "St. Pölten, Nord",Linz,age>4': lambda row: row % 4 in (1, 2) and row > 4,
        "city!=Wien,city!=Graz": lambda row: row % 4 in (1, 2),
        '"city in Graz,Wien",age<5': lambda row: row % 4 in (0, 3) and row < 5,
        "size>S": lambda row: row % 3 > 0,
        "size in S..M": lambda row: row % 3 < 2,
        "grade>1.5": lambda row: row % 3 > 0,
        "grade in 1,10": lambda row: row % 3 != 1,
        "day<2024-01-05": lambda row: row < 4,
        "day in 2024-01-02..2024-01-05": lambda row: 1 <= row <= 4,
    }.items(),
)
def test_ranges_and_lists_mean_what_they_say(text, same):
    assert fitting(text).tolist() == [row for row in range(40) if same(row)]


@pytest.mark.parametrize(
    ("text", "words"),
    {
        "age>90": "no row fits; .*'age', which holds 0 to 90",
        "age in 30..20": "no row fits; .*'age', which holds 0 to 90",
        "day>2025-01-01": "column 'day', which holds 2024-01-01 to 2024-03-31",
        "day>1.2.2024": "expected a date of the format",
        "age>old": "holds 'old'; expected a number",
        "agee>3": "unknown column of made-up in --given 'agee'; expected .*Did you mean 'age'",
        "city>Wien": "the levels of column 'city' have no order; expected city=LEVEL or city in LEVEL,LEVEL",
        "city in Wien,Grz": "'Grz'; expected .*Did you mean 'Graz'",
        "size>L": "no row fits; .*'size', which are S, M, L",
        "do(age)>3": "expected do.age.=VALUE",
        "age": "expected NAME=VALUE",
        "age>": "expected NAME=VALUE",
        "age=3,,city=Wien": "expected NAME=VALUE",
        "age=3,age=4": "column 'age' is given twice",
    }.items(),
)
def test_conditions_that_mean_nothing_are_refused_in_one_line(text, words):
    with pytest.raises(UserError, match=words) as error:
        evidence.condition_of(spec(), text)
    assert "\n" not in str(error.value)


def test_names_and_levels_may_hold_new_lines():
    named = [{"name": "height\n(cm)", "kind": "categorical", "levels": ["a\nb", "c"], **RANGE}]
    made = table_spec(2)._replace(info={"columns": named, "dropped": []})
    assert evidence.condition_of(made, "height\n(cm)=a\nb").observed["height\n(cm)"].texts == ["a\nb"]
    assert row_filter(made, "height\n(cm) in a\nb,c")(np.array([[0.0], [1.0]])).tolist() == [True, True]


def test_a_column_without_bounds_may_be_asked_beyond_its_range():
    assert row_filter(spec(bounded=False), "age>90")(ROWS + 80).sum() == 29


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("conditions")
    random = np.random.default_rng(0)
    age, city = random.integers(18, 90, 300), random.integers(0, 3, 300)
    lines = [f"{a},{'abc'[c]},{'yes' if a + 20 * c > 70 else 'no'}\n" for a, c in zip(age, city)]
    (home / "t.csv").write_text("age,city,claim\n" + "".join(lines))
    steps = ["--config.steps=20", "--config.save_every=20", "--config.sample_every=0", "--config.eval_every=20"]
    where = ["--workdir", str(home / "run"), f"--config.data.path={home / 't.csv'}"]
    train.main(["train", "--config", str(CONFIG), "--quiet", *where, *steps, "--config.replicas=1"])
    return home


def drawn(folder, given, num=40):
    flags = ["--workdir", str(folder / "run"), "--num", str(num), "--out", str(folder / "o.npz")]
    sample.main(["sample", *flags, *([f"--given={given}"] if given else [])])
    return np.load(folder / "o.npz")["x"]


@pytest.mark.study
def test_rows_under_a_condition_are_those_of_the_model_that_fit(folder, capsys):
    free = drawn(folder, None, 512)
    x = drawn(folder, "age>60,city in a,b")
    fit = (free[:, 0] > 60) & (free[:, 1] < 2)
    np.testing.assert_array_equal(x[: fit.sum()], free[fit][: len(x)])
    assert len(x) == 40 and (x[:, 0] > 60).all() and (x[:, 1] < 2).all()
    known = drawn(folder, "age>60,city=c")
    assert (known[:, 0] > 60).all() and (known[:, 1] == 2).all()
    assert "% of the drawn rows fit" in capsys.readouterr().out


def test_a_condition_that_next_to_no_row_fits_is_an_error_and_not_an_endless_loop(folder, monkeypatch):
    monkeypatch.setattr(draw, "MOST_DRAWN", 512)
    monkeypatch.setattr(draw, "RAREST", 0.9)
    with pytest.raises(UserError, match="of 512 drawn rows fit; expected a condition that more rows fit"):
        drawn(folder, "age>80", 400)


def test_a_query_under_a_range_agrees_with_the_exact_sum_over_its_levels(folder, capsys):
    flags = ["query", "--workdir", str(folder / "run"), "--of=claim"]
    query.main([*flags, "--given=city in a,b"])
    said = capsys.readouterr().out.splitlines()
    share, error = next(
        map(float, line.split(" = ")[1].split(" +- ")) for line in said if line.startswith("P(claim=yes")
    )
    exact = {}
    for asked, given in (("claim", "city=a"), ("claim", "city=b"), ("city", None)):
        query.main(
            ["query", "--workdir", str(folder / "run"), f"--of={asked}", *([f"--given={given}"] if given else [])]
        )
        exact[given] = dict(line.split(" = ") for line in capsys.readouterr().out.splitlines())
    p = {city: float(exact[None][f"P(city={city})"]) for city in "ab"}
    claims = {city: float(exact[f"city={city}"][f"P(claim=yes | city={city})"]) for city in "ab"}
    both = sum(p[city] * claims[city] for city in "ab") / sum(p.values())
    assert 0 < error < 0.01 and abs(share - both) < 4 * error


def test_a_range_in_a_config_is_refused_before_training(folder):
    flags = ["--config", str(CONFIG), "--workdir", str(folder / "new"), f"--config.data.path={folder / 't.csv'}"]
    with pytest.raises(UserError, match="sample.given is age>60; expected NAME=VALUE while a run trains"):
        train.main(["train", *flags, "--config.sample.given=age>60"])
    assert not (folder / "new").exists()
