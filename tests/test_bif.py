"""BIF files: reading back what was written, refusing what is wrong, exact rows."""

from pathlib import Path

import numpy as np
import pytest

from gen_jax.data.tables import networks
from gen_jax.data.tables.bif import read_bif, write_bif
from gen_jax.data.tables.networks import Network
from gen_jax.errors import UserError

NETWORK = Network(
    ("rain", "sprinkler", "wet"),
    (("no", "light", "hard"), ("off", "on"), ("dry", "wet")),
    ((), (0,), (1, 0)),
    (
        np.array([0.6, 0.3, 0.1]),
        np.array([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0]]),
        np.array([[[0.99, 0.01], [0.3, 0.7], [0.0, 1.0]], [[0.2, 0.8], [0.1, 0.9], [0.05, 0.95]]]),
    ),
)


def file_of(folder: Path, text: str) -> Path:
    path = folder / "net.bif"
    path.write_text(text)
    return path


def test_what_is_written_is_read_again(tmp_path):
    spaced = NETWORK._replace(
        names=("rain", "a sprinkler (cm)", "wet"), levels=(NETWORK.levels[0], ("off", ""), ("{", "wet"))
    )
    again = read_bif(file_of(tmp_path, write_bif(spaced)))
    assert again[:3] == spaced[:3]
    with pytest.raises(UserError, match="quotation marks"):
        write_bif(NETWORK._replace(names=('the "rain"', "b", "c")))
    for mine, theirs in zip(again.tables, NETWORK.tables):
        np.testing.assert_allclose(mine, theirs, atol=1e-15)


def test_forms_of_a_distribution(tmp_path):
    text = """network n { property author x; } // a comment
    variable a { type discrete [ 2 ] { "y", n }; property position = (1, 2); }
    variable b { type discrete [ 2 ] { y, n }; }
    variable c { type discrete [ 2 ] { y, n }; }
    probability ( a ) { table 0.2, 0.8; }
    probability ( b | a ) { table 0.1, 0.3, 0.9, 0.7; } /* the level of b runs slowest */
    probability ( c | a, b ) { default 0.5, 0.5; (n, y) 0.25, 0.75; }"""
    tables = read_bif(file_of(tmp_path, text)).tables
    np.testing.assert_allclose(tables[1], [[0.1, 0.9], [0.3, 0.7]])
    np.testing.assert_allclose(tables[2], [[[0.5, 0.5], [0.5, 0.5]], [[0.25, 0.75], [0.5, 0.5]]])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("probability ( rain )", "probability ( rain | wet )", "3 numbers; expected 6"),
        ("(no) 0.5, 0.5", "(no) 0.5, 0.4", r"P\(sprinkler\) given \(no\) has the numbers \[0.5, 0.4\]; .*sum to 1"),
        ("(no) 0.5, 0.5", "(none) 0.5, 0.5", "unknown level .*'none'; expected .*Did you mean 'no'"),
        ("(no) 0.5, 0.5", "(no) 0.5, 0.2, 0.3", "3 numbers; expected 2"),
        ("(no) 0.5, 0.5;", "", r"given \(no\).*nan"),
        ("(no) 0.5, 0.5", "(no) 0.5, half", "'half'; expected numbers"),
        ("[ 3 ]", "[ 2 ]", "expected 2 different levels"),
        ("[ 3 ]", "", "expected a number of different levels"),
        ("[ 3 ] {", "{ ;", "expected a number of different levels"),
        ("sprinkler | rain", "sprinkler | reign", "unknown variable .*Did you mean 'rain'"),
        ("network unknown", "notwork unknown", "'notwork' begins a block; expected network, variable or probability"),
        ("probability ( wet", "probability ( rain", "declared twice|given twice|a parent twice"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, old, new, message):
    text = write_bif(NETWORK)
    assert old in text
    with pytest.raises(UserError, match=message):
        read_bif(file_of(tmp_path, text.replace(old, new, 1)))


def test_a_cycle_and_a_torn_file_are_refused(tmp_path):
    cyclic = NETWORK._replace(
        parents=((2,), (0,), (1,)), tables=(*[np.full((2, 3), 1 / 3)], *[np.full((3, 2), 0.5)], np.full((2, 2), 0.5))
    )
    with pytest.raises(UserError, match="the cycle .*rain.* -> "):
        read_bif(file_of(tmp_path, write_bif(cyclic)))
    with pytest.raises(UserError, match="ends in the middle"):
        read_bif(file_of(tmp_path, write_bif(NETWORK)[:-3]))


def test_rows_have_the_frequencies_of_the_network():
    x = networks.draw(NETWORK, np.random.default_rng(0), 40_000)
    states = np.indices((3, 2, 2)).reshape(3, -1)
    exact = (
        NETWORK.tables[0][states[0]]
        * NETWORK.tables[1][states[0], states[1]]
        * NETWORK.tables[2][states[1], states[0], states[2]]
    )
    seen = np.bincount(np.ravel_multi_index(tuple(x.T), (3, 2, 2)), minlength=12) / len(x)
    assert (np.abs(seen - exact) < 5 * np.sqrt(exact / len(x)) + 1e-12).all()
