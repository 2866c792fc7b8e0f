"""Files from somebody else: nothing in them runs, nothing is written outside, and what is odd in them is one line."""

import gzip
import io
import json
import os
import stat
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from conftest import make_spec
from scipy.io import savemat
from test_report import PIXEL, Page

from gen_jax import config, files, train
from gen_jax.cli.process import tolerant
from gen_jax.coding import images
from gen_jax.coding.chunks import Damaged
from gen_jax.data import cache
from gen_jax.data.feed import resident
from gen_jax.data.kinds.roll import FIELDS
from gen_jax.data.tables import bif
from gen_jax.data.tables.csv_files import csv_of, for_spreadsheets, formulas
from gen_jax.devices import placement, startup
from gen_jax.errors import UserError, printable
from gen_jax.storage import checkpoint, directory, metrics_file
from gen_jax.training import curves, fit, prepare
from gen_jax.verbs import reports

CONFIGS = Path(__file__).parents[1] / "configs"
SCRIPT = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def received(tmp_path):
    """A run directory whose files another person may have changed by the functions given."""

    def make(change_config=dict, change_line=dict, change_scores=dict):
        folder = tmp_path / "run"
        directory.claim(folder, make_spec("image", (8, 8, 1))._replace(name=SCRIPT))
        settings = config.plain(config.base_config()) | {"model": {"name": SCRIPT, SCRIPT: SCRIPT}}
        directory.settle(folder, change_config(settings), None)
        line = change_line({"step": 1, "seconds": 1.0, SCRIPT: 2.0, "$\\frac$ $": 1.0})
        (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        files.write(folder / "samples" / "1.png", PIXEL)
        files.write(folder / "samples" / "1.txt", SCRIPT)
        entry = {"value": 1.0, "oracle": None, "protocol": {SCRIPT: SCRIPT}}
        files.write_json(folder / "evaluation.json", {"step": 1, "metrics": change_scores({SCRIPT: entry})})
        return folder

    return make


def test_nothing_in_a_report_runs(received):
    content = reports.page(reports.read([str(received())]))
    elements = Page(content).elements
    assert not {tag for tag, _ in elements} & {"script", "iframe", "object", "embed", "link"}
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    policy = next(attributes["content"] for tag, attributes in elements if attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and "script" not in policy
    assert content.count("&lt;script&gt;") >= 6 and "data:image/png" in content


WRONG = {
    "a seed": ({"change_config": lambda found: found | {"seed": SCRIPT}}, "config.json: seed is .*; expected int"),
    "a section": ({"change_config": lambda found: found | {"data": 3}}, "config.json: data is '3'; expected a section"),
    "a whole number": ({"change_config": lambda found: found | {"replicas": True}}, "replicas is 'True'; expected int"),
    "a score": (
        {"change_scores": lambda found: {"x": {"value": SCRIPT, "oracle": 1, "protocol": {}}}},
        "holds no scores",
    ),
    "a protocol": ({"change_scores": lambda found: {"x": {"value": 1, "oracle": 1, "protocol": 3}}}, "holds no scores"),
    "scores": ({"change_scores": lambda found: [1]}, "holds no scores"),
}


@pytest.mark.parametrize("name", WRONG)
def test_values_of_another_type_are_refused_by_name(name, received):
    changes, words = WRONG[name]
    with pytest.raises(UserError, match=words):
        reports.read([str(received(**changes))])


@pytest.mark.parametrize(
    "line",
    ['{"step": "<b>", "seconds": 1}', "[1]", "3", '{"step": 1}', "[" * 10**5, '{"step": 1, "seconds": 1, "a": "b"}'],
)
def test_lines_of_metrics_that_are_none_are_left_out(line, received):
    folder = received()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(line + "\n")
    assert len(metrics_file.read_metrics(folder)) == 1
    reports.page(reports.read([str(folder)]))
    curves.draw_curves(folder)


def test_settings_too_deep_to_read_are_one_line(received):
    folder = received()
    (folder / "config.json").write_text('{"a":' * 10**5)
    with pytest.raises(UserError, match="config.json is not readable"):
        reports.read([str(folder)])


def test_links_among_samples_are_not_followed(received, tmp_path):
    (tmp_path / "secret.txt").write_text("my password")
    folder = received()
    (folder / "samples" / "2.txt").symlink_to(tmp_path / "secret.txt")
    assert "my password" not in reports.page(reports.read([str(folder)]))
    (folder / "samples").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "3.txt").write_text("my password")
    (folder / "samples").symlink_to(tmp_path / "elsewhere")
    assert "my password" not in reports.page(reports.read([str(folder)]))


def test_our_files_are_not_written_through_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run").mkdir()
    for name in (".lock", "metrics.jsonl", "config.json", ".writable"):
        (tmp_path / "run" / name).symlink_to(victim)
    with pytest.raises(UserError, match="cannot write to"), directory.locked(tmp_path / "run"):
        pass
    with pytest.raises(UserError, match="cannot write to the cache"):
        cache.make_folder(tmp_path / "run")
    files.write_json(tmp_path / "run" / "config.json", {})
    assert victim.read_text() == "precious" and not (tmp_path / "run" / "config.json").is_symlink()


def test_the_umask_of_the_user_is_kept(tmp_path):
    before = os.umask(0o077)
    try:
        files.write(tmp_path / "private.csv", "a\n")
        os.umask(0o022)
        files.write(tmp_path / "public.csv", "a\n")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("private.csv", "public.csv")]
    assert modes == [0o600, 0o644]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["private.csv", "public.csv"]


@pytest.mark.parametrize(
    "name",
    ["//tmp/x.png", "/x.png", "../x.png", "a/../../x.png", "x.py", "x", "", ".", "a\0.png"],
)
def test_images_are_given_back_inside_their_folder_alone(name, tmp_path):
    with pytest.raises(Damaged, match="expected the name of a PNG file inside the folder"):
        images.refuse_names(tmp_path / "out", ["good.png", name])


def test_images_in_folders_of_their_folder_are_given_back(tmp_path):
    images.refuse_names(tmp_path / "out", ["a.png", "b/c.PNG", "ü ~.png", "..a.png"])
    with pytest.raises(Damaged, match="'a.png' twice"):
        images.refuse_names(tmp_path / "out", ["a.png", "a.png"])


def test_a_terminal_is_told_nothing_by_names_and_levels():
    assert printable("a\x1b[2Jb\x07\x9b\u202e\rc\td\n") == "a\\x1b[2Jb\\x07\\x9b\\u202e\\rc\td\n"
    stream = io.StringIO()
    tolerant(stream).write("\x1b]0;title\x07\r")
    tolerant(stream, bars=True).write("\n\x1b[A\r")
    tolerant(stream, bars=True).write("\rbar \x1b[31m")
    assert stream.getvalue() == "\\x1b]0;title\\x07\\r\n\x1b[A\r\rbar \\x1b[31m"


def test_cells_that_a_spreadsheet_runs_are_said_and_can_be_written_as_texts():
    content = csv_of({"=name": ["=1+1", "-3.5", "@x", 'a "b", c'], "v": ["+2", "-x", " =y", "7"]})
    rows = for_spreadsheets(content).decode().splitlines()
    assert rows == ["'=name,v", "'=1+1,+2".replace(",+2", ",'+2"), "-3.5,'-x", "'@x,' =y", '"a ""b"", c",7']
    spec = make_spec("table", (1,))._replace(
        info={"columns": [{"name": "a", "levels": ["=cmd()", "b"]}, {"name": "-b"}]}
    )
    assert formulas(spec) == ["=cmd()", "-b"]


@pytest.mark.parametrize(("mode", "kept"), [(0o755, True), (0o700, True), (0o777, False), (0o1777, False)])
def test_compiled_code_lies_where_only_its_user_can_write(mode, kept, tmp_path, monkeypatch):
    monkeypatch.setenv("GEN_JAX_CACHE", str(tmp_path / "shared"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(mode)
    folder = startup.compiled_folder()
    assert folder == (tmp_path / "shared" if kept else tmp_path / "home" / ".cache" / "gen_jax") / "compiled"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    assert startup.compiled_folder() != folder
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert startup.compiled_folder() != folder


def test_a_flipped_byte_of_cached_rows_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setenv("GEN_JAX_CACHE", str(tmp_path / "cache"))
    np.save(tmp_path / "x.npy", np.arange(80.0).reshape(20, 4))
    options = config.plain(config.base_config())["data"] | {"path": str(tmp_path / "x.npy")}
    opened = resident.open_source(options)
    rows = np.array(resident.resident_arrays(opened, options, "train", True)["x"])
    (file,) = (tmp_path / "cache" / "arrays").rglob("x.npy")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    np.testing.assert_array_equal(resident.resident_arrays(opened, options, "train", True)["x"], rows)


def test_a_pipe_is_no_file_of_data(tmp_path):
    os.mkfifo(tmp_path / "x.csv")
    options = config.plain(config.base_config())["data"] | {"path": str(tmp_path / "x.csv")}
    with pytest.raises(UserError, match="is a pipe or a device"):
        resident.open_source(options)


def test_a_name_of_a_run_that_cannot_be_printed_is_refused_at_the_start():
    for name in ("runs/\udcff", "runs/a\nb"):
        with pytest.raises(UserError, match="expected characters that can be printed"):
            directory.read_config(Path(name))


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def no_home(*args):
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "GEN_JAX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(UserError, match="Set GEN_JAX_CACHE"):
        cache.cache_folder()


def small_gzip(folder):
    (folder / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,x\n2,y\n4,z\n" * 20_000))
    return folder / "t.csv.gz"


def small_archive(folder):
    np.savez_compressed(folder / "x.npz", x=np.zeros((400, 100)))
    return folder / "x.npz"


def small_parquet(folder):
    numbers = np.random.default_rng(0).random(20_000)
    pyarrow.parquet.write_table(pyarrow.table({"a": numbers, "b": numbers}), folder / "t.parquet")
    return folder / "t.parquet"


def small_text(folder):
    (folder / "t.txt").write_text("hello world\n" * 10_000)
    return folder / "t.txt"


def small_rolls(folder):
    splits = {}
    for name in FIELDS.values():
        splits[name] = np.empty((1, 2), object)
        splits[name][0] = [np.zeros((100, 88)), np.zeros((90, 88))]
    savemat(folder / "m.mat", splits, do_compression=True)
    return folder / "m.mat"


def wide_network(folder):
    names = [f"v{at}" for at in range(14)]
    variables = "".join(f"variable {name} {{ type discrete [ 2 ] {{ a, b }}; }}\n" for name in names)
    tables = "".join(f"probability ( {name} ) {{ table 0.5, 0.5; }}\n" for name in names[1:])
    wide = f"probability ( v0 | {', '.join(names[1:])} ) {{ default 0.5, 0.5; }}\n"
    (folder / "n.bif").write_text(f"network n {{ }}\n{variables}{tables}{wide}")
    return folder / "n.bif"


@pytest.mark.parametrize("write", [small_gzip, small_archive, small_parquet, small_text, small_rolls, wide_network])
def test_a_file_that_takes_more_memory_than_it_may_names_the_setting(write, tmp_path, monkeypatch):
    options = config.plain(config.base_config())["data"] | {"path": str(write(tmp_path))}
    resident.open_source(options)
    monkeypatch.setenv("GEN_JAX_LARGEST", "100000")
    with pytest.raises(UserError, match="expected at most 0.0 GB. Set the environment variable GEN_JAX_LARGEST"):
        resident.open_source(options)
    monkeypatch.setenv("GEN_JAX_LARGEST", "9" * 5000)
    with pytest.raises(UserError, match="GEN_JAX_LARGEST is 9+; expected a number of bytes"):
        resident.open_source(options)


def test_a_picture_of_another_format_starts_no_program(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: pytest.fail("it started a program"))
    monkeypatch.setattr(subprocess, "check_call", lambda *args, **options: pytest.fail("it started a program"))
    with pytest.raises(UserError, match="a.png is not readable"):
        resident.open_source(config.plain(config.base_config())["data"] | {"path": str(tmp_path)})


def test_a_network_of_too_many_parents_is_refused_before_its_table_is_made(tmp_path):
    path = wide_network(tmp_path)
    names = ", ".join(f"w{at}" for at in range(40))
    path.write_text(
        "network n { }\n"
        + "".join(f"variable w{at} {{ type discrete [ 2 ] {{ a, b }}; }}\n" for at in range(41))
        + f"probability ( w40 | {names} ) {{ default 0.5, 0.5; }}\n"
        + "".join(f"probability ( w{at} ) {{ table 0.5, 0.5; }}\n" for at in range(40))
    )
    with pytest.raises(UserError, match=r"P\(w40\) takes 17,592.2 GB of memory"):
        bif.read_bif(path)


@pytest.mark.study
def test_a_checkpoint_that_its_run_deletes_meanwhile_is_looked_for_again(tmp_path, monkeypatch):
    state = {"w": jnp.arange(3.0)}
    with checkpoint.opened(tmp_path / "checkpoints", keep=1) as manager:
        checkpoint.save(manager, 1, state)
    read, calls = checkpoint.restore, []

    def restore(manager, step, abstract):
        calls.append(step)
        if step == 1:  # the run saves step 2, and deletes step 1
            with checkpoint.opened(tmp_path / "checkpoints", keep=1) as other:
                checkpoint.save(other, 2, state)
            raise checkpoint.Damaged("a file is gone")
        return read(manager, step, abstract)

    monkeypatch.setattr(checkpoint, "restore", restore)
    abstract = placement.abstract_state(placement.make_mesh(jax.devices()[:1]), state)
    step, found = checkpoint.newest_in(tmp_path / "checkpoints", abstract)
    assert step == 2 and calls == [1, 2] and found["w"].tolist() == [0, 1, 2]


def test_a_step_that_needs_more_memory_than_is_free_is_refused_before_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "LARGE", 1)
    monkeypatch.setattr(prepare, "WORTH_SAYING", 0)
    flags = [
        "--config",
        str(CONFIGS / "gaussian.py"),
        "--workdir",
        str(tmp_path / "run"),
        "--quiet",
        "--config.steps=1",
    ]
    flags += ["--config.sample_every=0"]
    monkeypatch.setattr(placement, "free_bytes", lambda mesh: 1)
    monkeypatch.setattr(prepare, "work_bytes", lambda job: 2 * 10**9)
    with pytest.raises(UserError, match="works with 2.0 GB of memory, and 0.0 GB are free; expected less"):
        train.main(["train", *flags])
    assert not (tmp_path / "run" / "config.json").exists()
    monkeypatch.undo()
    monkeypatch.setattr(prepare, "LARGE", 1)
    prepared = []
    monkeypatch.setattr(fit, "refuse_too_large", prepared.append)
    train.main(["train", *flags])
    assert prepare.work_bytes(prepared[0]) > 0 and placement.free_bytes(prepared[0].mesh) > 10**8


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"a": float("inf")})
    assert not (tmp_path / "x.json").exists()
