"""Kinds of data: each is one file and one line, and no other module asks for a kind by its name."""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_house import MODULES

from gen_jax import report, sample, train
from gen_jax.data.kinds import KINDS, kind_of
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.sources.opening import open_source
from gen_jax.data.spec import sequences
from gen_jax.errors import UserError
from gen_jax.storage import directory

KINDS_OF_TODAY = dict(KINDS)
ALLOWED = {"data.tables.bif": "table is a word of BIF files, not a kind of data"}
pytestmark = pytest.mark.usefixtures("one_device")


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_one_file(name):
    kind = KINDS[name]
    assert f"data.kinds.{name}" in MODULES and kind.name == name
    assert kind.suffixes and set(kind.axes) <= set("THWCDFS")
    assert (kind.rank, kind.time) == (len(kind.axes), kind.axes[0] == "T")


def test_an_unknown_kind_is_named(tmp_path):
    np.savez(tmp_path / "own.npz", x=np.zeros((4, 3)))
    source = open_source({"path": str(tmp_path / "own.npz"), "split": "train"})._replace(kind="vectors")
    with pytest.raises(UserError, match="unknown kind of data 'vectors'; expected .*Did you mean 'vector'"):
        kind_of(source)


def lengths(samples, spec) -> bytes:
    """Writes samples as lines of text: the number of entries of each."""
    return "\n".join(str(x.size) for x in sequences(samples)).encode()


def blocks(x, spec) -> Image.Image:
    """Draws samples as grey blocks of one height."""
    return Image.fromarray(np.full((8, 8 * len(x)), 128, np.uint8))


MADE_UP = {
    "profile": (Kind("profile", "profiles", "D", columns=True), (6,), {"name": "gaussian"}),
    "track": (Kind("track", "tracks", "TD"), (5, 2), {"name": "autoregressive", "net": {"name": "gru", "units": 4}}),
    "cube": (Kind("cube", "cubes", "DHWC"), (3, 4, 4, 2), {"name": "vae", "latent_size": 2}),
}


@pytest.mark.parametrize("name", MADE_UP)
def test_a_kind_that_no_other_file_knows(name, tmp_path, monkeypatch):
    """It is opened from an .npz, trained, drawn while training, shown in a report and sampled to a file of its own."""
    kind, shape, model = MADE_UP[name]
    monkeypatch.setitem(KINDS, name, kind._replace(options=("kind",), write={".own": lengths}, picture=blocks))
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(32, *shape)).astype(np.float32))
    (tmp_path / "config.py").write_text(
        "from gen_jax.config import base_config\n\n"
        "def get_config():\n"
        "    config = base_config()\n"
        "    config.steps, config.batch_size, config.sample_every, config.save_every = 2, 8, 2, 2\n"
        "    config.sample.num = 4\n"
        f"    config.data.path, config.data.kind = {str(tmp_path / 'rows.npz')!r}, {name!r}\n"
        f"    config.model = {model!r}\n"
        "    return config\n"
    )
    run = tmp_path / "run"
    train.main(["train", "--config", str(tmp_path / "config.py"), "--workdir", str(run), "--quiet"])
    assert directory.read_spec(run).kind == name
    assert {path.name for path in (run / "samples").iterdir()} == {"0.own", "0.png", "2.own", "2.png"}
    report.main(["report", str(run), "--out", str(tmp_path / "report.html")])
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 2
    sample.main(["sample", "--workdir", str(run), "--num", "3", "--out", str(tmp_path / "drawn.own")])
    assert (tmp_path / "drawn.own").read_text().split() == [str(np.prod(shape))] * 3
    assert Image.open(tmp_path / "drawn.png").size == (24, 8)


def test_a_made_up_kind_is_refused_by_its_attributes(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "track", MADE_UP["track"][0]._replace(options=("kind",)))
    np.save(tmp_path / "rows.npy", np.zeros((8, 5, 2, 3)))
    options = {"path": str(tmp_path / "rows.npy"), "split": "train"}
    with pytest.raises(UserError, match=r"expected track \[N, T, D\]"):
        open_source({**options, "kind": "track"})
    np.save(tmp_path / "rows.npy", np.zeros((8, 5, 2)))
    with pytest.raises(UserError, match="data.window is 2 and rows holds track data; expected text or tokens or audio"):
        open_source({**options, "kind": "track", "window": 2})
    with pytest.raises(UserError, match="unknown data.kind 'roll'; expected one of image, .*series, .*track"):
        open_source({**options, "kind": "roll"})


def names_in(node: ast.AST) -> set[str]:
    """Returns the names of kinds that a literal is, or holds."""
    parts = (
        node.elts
        if isinstance(node, ast.Tuple | ast.List | ast.Set)
        else node.keys
        if isinstance(node, ast.Dict)
        else [node]
    )
    return {part.value for part in parts if isinstance(part, ast.Constant) and part.value in KINDS_OF_TODAY}


def by_name(code: str) -> Iterator[int]:
    """Yields the lines that compare with the name of a kind, or hold a list or a table of such names."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Compare):
            named = any(names_in(side) for side in (node.left, *node.comparators))
        elif isinstance(node, ast.MatchValue):
            named = bool(names_in(node.value))
        else:
            named = isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict) and len(names_in(node)) > 1
        if named:
            yield node.lineno


def test_no_module_asks_for_the_name_of_a_kind():
    lines = {name: [*by_name(path.read_text())] for name, path in MODULES.items() if not name.startswith("data.kinds")}
    assert {name for name, found in lines.items() if found} == {*ALLOWED}


def test_questions_for_a_name_are_found():
    asked = 'spec.kind == "image"', 'spec.kind in ("audio", OTHER)', 'SHOWN = {"image": grid, "table": margins}'
    assert [[*by_name(code)] for code in asked] == [[1]] * 3
    assert [*by_name("match kind:\n    case 'text':\n        pass")] == [2]
    assert not [*by_name('kind_of(spec).pixels or Source(name, "image", shape)')]


def test_old_facts_are_read_by_their_names():
    """What `spec.json` holds of few sets has a typed name, and a default where it is absent."""
    folder = Path(__file__).parent / "golden" / "kept"
    specs = {path.name: directory.read_spec(path) for path in folder.iterdir()}
    for spec in specs.values():
        assert spec.tabular == (spec.kind == "table") == ("marginals" in spec.info)
        assert spec.ragged == bool(spec.info.get("ragged")) and len(spec.vocabulary) == len(
            spec.info.get("vocabulary", ())
        )
    assert any(spec.tabular for spec in specs.values()) and any(spec.vocabulary for spec in specs.values())
