"""An exported sampler draws the bytes that the run draws, needs JAX alone, and says in one line what it cannot do."""

import ast
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import host, whole_spec
from families import FAMILIES, model_of, trained

from gen_jax import export, sample
from gen_jax.data import domain as domain_module
from gen_jax.data.domain import in_domain
from gen_jax.data.spec import domain, levels, to_data, to_model
from gen_jax.errors import UserError
from gen_jax.storage.loading import Loaded
from gen_jax.verbs import export as verb
from gen_jax.verbs import exported, onnx_graph
from gen_jax.verbs.draw import draw

KEPT = Path(__file__).parent / "golden" / "kept"
ON_THE_HOST = ("bayes_net", "bayes_net_tree")
EXPORTED = [name for name in FAMILIES if name not in ON_THE_HOST]


def loaded_of(name: str) -> Loaded:
    """A run of the table of families after two steps."""
    model = model_of(name)
    state, _ = trained(name, 2)
    return Loaded(model, state, model.spec, {"model": {"name": model.origin["name"]}}, 2, Path("run"))


def read(content: bytes, tmp_path: Path) -> exported.Sampler:
    path = tmp_path / "sampler.zip"
    path.write_bytes(content)
    return exported.load(path)


def conditions(name: str, num: int) -> tuple[dict, dict]:
    """Conditions of a family in model space and in the domain of the data: those of its batch, over and over."""
    model, batch = model_of(name), FAMILIES[name].batch
    given = {each: np.asarray(batch[each]) for each in ("c", "c_length", "y") if each in model.given}
    given = {each: value[np.arange(num) % len(value)] for each, value in given.items()}
    raw = dict(given)
    if "c" in given and not levels(model.spec.condition):
        raw["c"] = in_domain(domain(model.spec.condition), given["c"])
    return given, raw


@pytest.mark.parametrize("name", EXPORTED)
def test_the_file_draws_the_bytes_of_the_run(name, tmp_path):
    loaded = loaded_of(name)
    num = verb.chunk_of(loaded.spec) + 3
    sampler = read(verb.make_sampler(loaded, {}), tmp_path)
    given, raw = conditions(name, num)
    if "c" in raw:
        assert (np.asarray(to_model(loaded.spec.condition, raw["c"])) == given["c"]).all()
    asked = [(given, raw)]
    if "y" in given:
        without = lambda rows: {each: value for each, value in rows.items() if each != "y"}
        asked.append((without(given), without(raw)))
    for ours, theirs in asked:
        expected = draw(loaded.model, loaded.state, loaded.spec, 5, num, ours)
        drawn = exported.draw(sampler, num, 5, theirs)
        assert drawn.keys() == expected.keys()
        for each, values in expected.items():
            assert (drawn[each].dtype, drawn[each].tobytes()) == (values.dtype, values.tobytes()), each
    assert exported.draw(sampler, num, 6, raw)["x"].tobytes() != drawn["x"].tobytes()


@pytest.mark.parametrize("name", ON_THE_HOST)
def test_a_sampler_on_the_host_is_refused_by_name(name):
    with pytest.raises(UserError, match="a bayes_net cannot be exported"):
        verb.make_sampler(loaded_of(name), {})


@pytest.mark.study
def test_the_command_writes_a_file_that_runs_in_a_fresh_process(tmp_path, capsys):
    out = tmp_path / "sampler.zip"
    export.main(["export", "--workdir", str(KEPT / "vqvae"), "--out", str(out)])
    told = capsys.readouterr().out
    assert "a fresh process draws the same bytes" in told and "Written by JAX" in told
    again = tmp_path / "again.npz"
    command = [sys.executable, "-I", str(out), "--num", "3", "--seed", "7", "--given", "y=4", "--out", str(again)]
    subprocess.run(command, check=True, capture_output=True)
    expected = tmp_path / "expected.npz"
    sample.main(
        ["sample", "--workdir", str(KEPT / "vqvae"), "--num=3", "--seed=7", "--given=y=4", "--out", str(expected)]
    )
    with np.load(again) as drawn, np.load(expected) as ours:
        assert set(drawn.files) == set(ours.files) == {"x", "y"}
        assert all(drawn[name].tobytes() == ours[name].tobytes() for name in ours.files)


def test_options_and_length_are_fixed_in_the_file(tmp_path):
    loaded = loaded_of("autoregressive_text")
    cold = read(verb.make_sampler(loaded, {"temperature": 0}, 5), tmp_path)
    first, second = (exported.draw(cold, 4, seed)["x"] for seed in (0, 1))
    assert first.shape == (4, 5) and (first == second).all()


def test_the_file_holds_no_array_that_the_sampler_does_not_read(tmp_path):
    loaded = loaded_of("gan")
    sampler = read(verb.make_sampler(loaded, {}), tmp_path)
    generator = sum(leaf.size for leaf in jax.tree.leaves(host(loaded.state.generator_ema)))
    assert sum(leaf.size for leaf in sampler.weights["sampler"]) == generator


@pytest.mark.study
def test_other_samples_are_refused_before_the_file_is_written(tmp_path):
    loaded = loaded_of("gaussian")
    content = verb.make_sampler(loaded, {})
    verb.verify(content, loaded, {})
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            if member == exported.WEIGHTS:
                with np.load(io.BytesIO(data)) as arrays:
                    buffer = io.BytesIO()
                    np.savez(buffer, **{name: arrays[name] * 1.5 for name in arrays.files})
                data = buffer.getvalue()
            new.writestr(member, data)
    with pytest.raises(
        UserError, match="x of the exported sampler differs .* in .*% of its values; expected equal bytes"
    ):
        verb.verify(changed.getvalue(), loaded, {})


def test_the_modules_of_the_file_need_jax_and_numpy_alone():
    allowed = {"argparse", "io", "json", "sys", "zipfile", "collections", "pathlib", "typing", "jax", "numpy"}
    for module in (exported, domain_module):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names if name != "gen_jax.data.domain"} <= allowed


def test_the_promise_names_a_day_where_the_build_is_known():
    assert "built up to 2026-12-17" in verb.promise("0.10.2")
    assert "built up to 2027-04-16" in verb.promise("0.12.0")
    assert "within 6 months of that version" in verb.promise("9.9.9")


def test_refused_exports(monkeypatch):
    loaded = loaded_of("gaussian")
    with pytest.raises(UserError, match="unknown platform 'gpu'; expected one of cpu, cuda, rocm, tpu"):
        verb.make_sampler(loaded, {}, platforms=("cpu", "gpu"))
    with pytest.raises(UserError, match="platforms are cuda; expected cpu among them"):
        verb.make_sampler(loaded, {}, platforms=("cuda",))
    with pytest.raises(UserError, match="no sampler option 'heat'"):
        verb.make_sampler(loaded, {"heat": 1})
    monkeypatch.setattr(verb, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="package flatbuffers is missing"):
        verb.make_sampler(loaded, {})


@pytest.mark.study
def test_a_graph_that_cannot_be_made_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr(onnx_graph, "find_spec", lambda name: None if name == "jax2onnx" else name)
    with pytest.raises(UserError, match="package jax2onnx is missing"):
        onnx_graph.make_graph(loaded_of("gan"), 2)
    monkeypatch.setattr(onnx_graph, "find_spec", lambda name: name)
    for name, message in {
        "gaussian": "a gaussian has no decoder of latents",
        "vae_columns": "holds table data; expected numbers for ONNX",
        "vqvae": "latent of this vqvae holds codes",
    }.items():
        with pytest.raises(UserError, match=message):
            onnx_graph.make_graph(loaded_of(name), 2)


def test_other_rows_than_those_of_the_run_are_refused():
    rows = np.linspace(0, 255, 12, dtype=np.float32).reshape(3, 4)
    onnx_graph.refuse_difference(rows + 0.02, rows)
    for other in (rows + 0.03, rows * np.nan):
        with pytest.raises(UserError, match="rows of the ONNX graph differ by"):
            onnx_graph.refuse_difference(other, rows)


@pytest.mark.parametrize("name", ["gan", "vae", "diffusion_labels"])
def test_an_onnx_graph_decodes_as_the_run(name):
    pytest.importorskip("jax2onnx")
    loaded = loaded_of(name)
    latent = {each: np.asarray(value) for each, value in loaded.model.prior(jax.random.key(3), loaded.state, 5).items()}
    rows = onnx_graph.drawn_by(onnx_graph.make_graph(loaded, 5), latent)
    expected = loaded.model.decode(jax.random.key(3), loaded.state, latent)["x"]
    np.testing.assert_allclose(rows, to_data(loaded.spec._replace(dtype="float32"), expected), atol=1e-4)


@pytest.fixture(scope="module")
def labelled():
    return verb.make_sampler(loaded_of("flow_labels"), {})


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--num=0"], "num is 0; expected 1 to"),
        (["--seed=-1"], "seed is -1; expected 0 to"),
        (["--out=x.png"], "--out is x.png; expected a file such as samples.npz"),
        (["--given=y=3"], "--given is y=3; expected y=all, or y=CLASS of a, b, c, or a file of arrays"),
        (["--given=y=dog"], "--given is y=dog; expected y=all"),
        (["--given=none.npz"], "cannot read none.npz: No such file"),
        (["--given=text.npz"], "cannot read text.npz: it is another kind of file; expected a file of arrays"),
        (["--given=empty.npz"], "cannot read empty.npz: it is another kind of file"),
        (["--given=array.npz"], "cannot read array.npz: it is another kind of file"),
        (["--given=c.npz"], "given holds c; expected nothing or y"),
        (["--given=y.npz"], r"shape of y is \[2\]; expected \[64\]"),
        (["--given=half.npz"], "y holds 1.5; expected labels of the data: 0, 1, 2"),
        (["--given=names.npz"], "y holds 'dog'; expected labels of the data: 0, 1, 2"),
    ],
)
def test_a_mistake_gets_one_line(arguments, message, labelled, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("c.npz", c=np.zeros(64))
    np.savez("y.npz", y=np.zeros(2, int))
    np.savez("half.npz", y=np.full(64, 1.5))
    np.savez("names.npz", y=np.full(64, "dog"))
    Path("text.npz").write_text("no arrays")
    Path("empty.npz").write_bytes(b"")
    with open("array.npz", "wb") as file:
        np.save(file, np.zeros(64))
    Path("sampler.zip").write_bytes(labelled)
    with pytest.raises(SystemExit) as stopped:
        exported.main(["sampler.zip", *arguments])
    assert stopped.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not Path("samples.npz").exists()


def facts_of(**facts):
    condition = {"tokens": 4, "shift": 0.0, "scale": 1.0}
    plain = {"classes": ["5", "6", "9"], "label_type": "i", "given": {"y": [], "c": [3], "c_length": []}}
    return {**plain, "domain": {"condition": condition}, **facts}


def test_labels_are_those_of_the_data():
    """As in `gen_jax.sample`: where the names are numbers, no other number is a class."""
    facts = facts_of()
    assert exported.conditions_in(facts, ["y=all"], 4)["y"].tolist() == [5, 6, 9, 5]
    np.testing.assert_array_equal(exported.condition_rows(facts, "y", np.array([9, 5]), 2), [2, 0])
    with pytest.raises(ValueError, match="y=CLASS of 5, 6, 9"):
        exported.conditions_in(facts, ["y=1"], 4)
    with pytest.raises(ValueError, match="y holds 1; expected labels of the data: 5, 6, 9"):
        exported.condition_rows(facts, "y", np.array([1, 5]), 2)
    texts = facts_of(classes=["cat", "dog"], label_type="U")
    assert exported.conditions_in(texts, ["y=1"], 2)["y"].tolist() == ["dog", "dog"]
    np.testing.assert_array_equal(exported.condition_rows(texts, "y", np.array(["dog", "cat"]), 2), [1, 0])


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("c", np.array([[0, 1, 4]]), "c holds other values than whole numbers from 0 to 3"),
        ("c", np.array([[0, 1, -1]]), "c holds other values than whole numbers from 0 to 3"),
        ("c", np.array([[0, 1, 1.5]]), "c holds other values than whole numbers from 0 to 3"),
        ("c_length", np.array([0]), "c_length holds other values than whole numbers from 1 to 3"),
        ("c_length", np.array([4]), "c_length holds other values than whole numbers from 1 to 3"),
    ],
)
def test_tokens_and_lengths_are_checked(name, value, message):
    with pytest.raises(ValueError, match=message):
        exported.condition_rows(facts_of(), name, value, 1)


@pytest.mark.parametrize("num, seed", [(0, 0), (1, -1), (1, 2**31)])
def test_numbers_and_seeds_are_checked(num, seed):
    with pytest.raises(ValueError, match="is .*; expected"):
        exported.draw(exported.Sampler({"given": {}}, {}, {}), num, seed)


@pytest.mark.study
def test_conditions_that_are_bytes_are_verified(tmp_path):
    """The bytes of a picture are rounded on their way to the data, so that the file gets raw conditions."""
    loaded = loaded_of("gan_image_given")
    condition = whole_spec(loaded.spec.condition.shape, 0, 255, "signed")._replace(dtype="uint8")
    loaded = loaded._replace(spec=loaded.spec._replace(condition=condition))
    content = verb.make_sampler(loaded, {})
    verb.verify(content, loaded, {})
    raw = verb.example_rows(loaded.spec, ("c",), 3)["c"]
    assert raw.dtype == np.uint8 and len(np.unique(raw)) > 50
    drawn = exported.draw(read(content, tmp_path), 3, given={"c": raw})
    np.testing.assert_array_equal(drawn["c"], raw)


def test_flags_of_another_kind_of_file_are_refused(tmp_path):
    for suffix, flag in ((".onnx", "--length=4"), (".onnx", "--platforms=cpu"), (".zip", "--rows=3")):
        with pytest.raises(UserError, match=f"{flag.split('=')[0]} has no meaning for .*sampler{suffix}"):
            export.main(["export", "--workdir", str(KEPT / "gan"), "--out", str(tmp_path / f"sampler{suffix}"), flag])


@pytest.mark.study
def test_a_file_that_is_no_sampler_is_named(tmp_path):
    for name, content in (("text.zip", b"no archive"), ("other.zip", None)):
        path = tmp_path / name
        if content is None:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("other.txt", "other")
        else:
            path.write_bytes(content)
        with pytest.raises(SystemExit, match=f"error: cannot read .*{name}"):
            exported.main([str(path)])
