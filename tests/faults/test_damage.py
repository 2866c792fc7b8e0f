"""What is damaged, of other code, or not finite: one line, nothing lost, and a run that goes on to the same bytes.

A run is of 12 steps and saves at 4, 8 and 12.
"""

import errno
import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import state_bytes
from tensorboardX import record_writer

import gen_jax
from gen_jax import data
from gen_jax.config import base_config, plain
from gen_jax.devices import placement
from gen_jax.errors import UserError
from gen_jax.storage import metrics_file
from gen_jax.training import log

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.mark.study
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # futures that TensorStore drops
def test_any_damaged_file_of_the_newest_checkpoint_is_noticed_or_does_not_matter(undisturbed, tmp_path, capsys):
    workdir, copy, chance = undisturbed(), tmp_path / "copy", random.Random(0)
    states = {step: state_bytes(undisturbed(step)) for step in (8, 12)}
    files = sorted(path.relative_to(workdir) for path in (workdir / "checkpoints" / "12").rglob("*") if path.is_file())
    passed_over = 0
    for number, file in enumerate(files):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(workdir, copy)
        content = (copy / file).read_bytes()
        place = chance.randrange(max(len(content), 1))
        flipped = content[:place] + bytes(byte ^ 0x10 for byte in content[place : place + 1]) + content[place + 1 :]
        named = "facts" in file.parts  # a flipped letter there is a state of other arrays
        (copy / file).write_bytes((b"", content[: len(content) // 2], content if named else flipped)[number % 3])
        capsys.readouterr()
        loaded = state_bytes(copy)
        assert loaded == states[loaded[0]], file
        noticed = "warning: checkpoint 12" in capsys.readouterr().out
        assert noticed == (loaded[0] == 8), file
        passed_over += noticed
    assert passed_over > 3


@pytest.mark.parametrize(
    "file, change, message",
    [
        ("spec.json", lambda facts: facts.pop("kind"), "spec.json was written by other code than this"),
        ("spec.json", lambda facts: facts.update(colour=1), "spec.json was written by other code .*colour"),
        ("config.json", lambda facts: facts.pop("replicas"), "replicas"),
    ],
)
def test_a_run_of_other_code_is_named(start, begun, file, change, message):
    workdir = begun("run", 4)
    facts = json.loads((workdir / file).read_text())
    change(facts)
    (workdir / file).write_text(json.dumps(facts))
    for command in (start, lambda: gen_jax.load(workdir)):
        with pytest.raises(UserError, match=message):
            command()


def test_what_is_no_text_in_the_log_is_dropped(start, undisturbed, begun):
    whole, broken = undisturbed(), begun("broken", 8)
    with open(broken / "metrics.jsonl", "ab") as file:
        file.write(b"\xff\x00" * 50)
    assert state_bytes(start("broken")) == state_bytes(whole)
    assert [each["step"] for each in metrics_file.read_metrics(broken)] == [2, 4, 6, 8, 10, 12]


def test_not_a_number_in_a_batch_stops_the_run_and_costs_nothing(start, undisturbed, monkeypatch):
    whole, steps = undisturbed(), []

    def spoiled(mesh, fed):
        steps.append(0)
        return {**fed, "weight": fed["weight"] * np.nan} if len(steps) == 1 + 7 else fed

    with monkeypatch.context() as patch:
        patch.setattr(placement, "place_rows", spoiled)  # once for the first state, then at each step
        with pytest.raises(UserError, match="is not finite at step 7 in .*its last good checkpoint is of step 4"):
            start("broken")
    assert state_bytes(start("broken")) == state_bytes(whole)


def test_a_full_disk_under_the_log_is_said(tmp_path, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with log.opened(tmp_path, 0, 1, (), True) as journal:
        monkeypatch.setattr(log, "own_file", lambda path, flags: os.open("/dev/full", flags))
        with pytest.raises(UserError, match="cannot write .*metrics.jsonl .No space left"):
            journal.record(1, {"loss": 1.0})
    monkeypatch.setattr(record_writer, "open_file", lambda path: open("/dev/full", "wb"))  # noqa: SIM115
    with (
        pytest.raises(UserError, match="cannot write .*tensorboard .No space left"),
        log.opened(tmp_path, 0, 1, (), True),
    ):
        pass
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "tensorboard")
    (tmp_path / "tensorboard").write_text("in the way")
    with pytest.raises(UserError, match="cannot write .*tensorboard"), log.opened(tmp_path, 0, 1, (), True):
        pass


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A cache with nothing but the digits as TFDS holds them, and a function that reads them."""
    theirs = Path(os.environ["GEN_JAX_CACHE"]) / "tfds" / "digits"
    shutil.copytree(theirs, tmp_path / "cache" / "tfds" / "digits")
    monkeypatch.setenv("GEN_JAX_CACHE", str(tmp_path / "cache"))

    def read(feed):
        options = {**plain(base_config())["data"], "feed": feed}
        return next(data.load(options, batch_size=8, seed=0, steps=1, quiet=True).stream(0, 1)), tmp_path / "cache"

    return read


@pytest.mark.parametrize("feed", ["resident", "streaming"])
def test_a_truncated_set_is_named(prepared, tmp_path, feed):
    file = next((tmp_path / "cache").rglob("*train.array_record*"))
    file.write_bytes(file.read_bytes()[:-20_000])
    with pytest.raises(UserError, match="digits.* is damaged .*Remove it, and prepare the data set again"):
        prepared(feed)


def test_a_truncated_array_of_the_cache_is_written_anew_if_there_is_room(prepared, monkeypatch):
    before, cache = prepared("resident")
    file = next((cache / "arrays").rglob("x.npy"))
    content = file.read_bytes()
    file.write_bytes(content[:1000])
    with monkeypatch.context() as patch:

        def full(*arguments):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(UserError, match="cannot write the decoded data to .*No space left on device"):
            prepared("resident")
        assert not [path for path in (cache / "arrays").iterdir() if path.is_dir()]
    after, _ = prepared("resident")
    np.testing.assert_array_equal(before["index"], after["index"])
    assert file.read_bytes() == content
