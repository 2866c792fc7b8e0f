"""The loop and the run directory: resume to the bit, faults, the contract of files and commands."""

import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from conftest import CHEAP, host, state_bytes

import gen_jax
from gen_jax import evaluate, sample, train
from gen_jax.config import load_file
from gen_jax.data.sources.opening import open_source
from gen_jax.devices import placement, startup
from gen_jax.errors import UserError
from gen_jax.storage import checkpoint, directory, metrics_file

ROOT = Path(__file__).parents[1]
PICTURES, SCORES = "--config.sample_every=6", "--config.eval_every=6"
pytestmark = pytest.mark.usefixtures("one_device")


def without_clock(workdir):
    return [{k: v for k, v in each.items() if k != "seconds"} for each in metrics_file.read_metrics(workdir)]


def assert_logged(whole, parts):
    """`parts` has every figure of `whole`, and no step twice; the end of a shorter run may have left more."""
    logged = without_clock(parts)
    assert [each["step"] for each in logged] == sorted({each["step"] for each in logged})
    by_step = {each["step"]: each for each in logged}
    for each in without_clock(whole):
        assert each.items() <= by_step[each["step"]].items()


def test_a_run_leaves_what_the_contract_promises(start):
    workdir = start("run", PICTURES, SCORES)
    assert json.loads((workdir / "config.json").read_text())["steps"] == 12
    assert json.loads((workdir / "spec.json").read_text())["kind"] == "vector"
    objects = metrics_file.read_metrics(workdir)
    assert [each["step"] for each in objects] == [2, 4, 6, 8, 10, 12]
    assert [each["step"] for each in objects if "modes" in each] == [6, 12]
    assert {"d_loss", "g_loss", "r1", "r2", "seconds"} <= objects[0].keys()
    assert sorted(os.listdir(workdir / "samples")) == ["0.png", "12.png", "6.png"]
    assert (workdir / "curves.png").stat().st_size > 1000
    assert sorted(int(name) for name in os.listdir(workdir / "checkpoints")) == [4, 8, 12]
    events = b"".join(file.read_bytes() for file in (workdir / "tensorboard").iterdir())
    assert all(name in events for name in (b"step/d_loss", b"scores/modes", b"samples", b"PNG"))
    scores = json.loads((workdir / "evaluation.json").read_text())
    assert scores["step"] == 12 and scores["metrics"].keys() == {"modes", "high_quality", "reverse_kl"}
    assert scores["metrics"]["high_quality"]["protocol"]["samples"] == 500
    assert scores["metrics"]["high_quality"]["oracle"] == pytest.approx(0.989, abs=0.02)
    assert not [path for path in workdir.rglob("*") if path.name.startswith(".") and path.name != ".lock"]


def test_steps_zero_saves_the_initial_state(start):
    workdir = start("run", "--config.steps=0", PICTURES)
    assert gen_jax.load(workdir).step == 0 and (workdir / "samples" / "0.png").exists()


@pytest.mark.study
def test_a_run_on_a_network_is_bound_to_its_tables_and_not_to_the_place_of_its_file(tmp_path):
    command = ["train", "--config", str(ROOT / "configs" / "bernoulli.py"), "--workdir", str(tmp_path / "run")]
    command += ["--config.eval_every=0", "--config.sample_every=0", "--quiet"]
    train.main([*command, "--config.steps=1"])
    file = tmp_path / "run" / "spec.json"
    spec = json.loads(file.read_text())
    spec["info"]["network"]["path"] = "/another/installation/asia.bif"
    file.write_text(json.dumps(spec))
    train.main([*command, "--config.steps=2"])
    assert gen_jax.load(tmp_path / "run").step == 2
    spec["info"]["network"]["tables"][0] = [0.5, 0.5]
    file.write_text(json.dumps(spec))
    with pytest.raises(UserError, match="of the data was"):
        train.main([*command, "--config.steps=3"])


def test_more_steps_continue_to_the_same_bytes(start, capsys):
    whole, parts = start("whole", PICTURES, SCORES), start("parts", "--config.steps=5", PICTURES, SCORES)
    assert start("parts", PICTURES, SCORES) == parts
    assert state_bytes(whole) == state_bytes(parts)
    capsys.readouterr()
    start("parts", PICTURES, SCORES)
    assert "complete" in capsys.readouterr().out
    for name in ("0.png", "6.png", "12.png"):
        assert (whole / "samples" / name).read_bytes() == (parts / "samples" / name).read_bytes()
    assert_logged(whole, parts)


@pytest.mark.study
def test_fit_is_the_command(undisturbed, config_file, tmp_path, capsys):
    settings = load_file(config_file)
    fitted, commanded = gen_jax.fit(settings, str(tmp_path / "fitted")), gen_jax.load(undisturbed())
    chex.assert_trees_all_equal(host(fitted.state), host(commanded.state))
    assert fitted.config == commanded.config and fitted.step == 12
    capsys.readouterr()
    chex.assert_trees_all_equal(host(gen_jax.fit(settings, tmp_path / "fitted").state), host(fitted.state))
    assert "is complete" in capsys.readouterr().out


@pytest.mark.study
@pytest.mark.parametrize("devices", [1, 8])
def test_the_step_compiles_once(start, monkeypatch, caplog, devices):
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:devices]), ("data",))
    monkeypatch.setattr(placement, "make_mesh", lambda given=None: mesh)
    with jax.log_compiles(True):
        start()
    compiled = [
        each.message for each in caplog.records if "Finished XLA compilation of jit(train_step)" in each.message
    ]
    assert len(compiled) == 1, compiled


def test_a_last_batch_of_one_row_is_finite(start, tmp_path):
    np.save(tmp_path / "data.npy", np.random.default_rng(0).normal(size=(33, 2)).astype(np.float32))
    flags = ["--config.data.path=" + str(tmp_path / "data.npy"), "--config.epochs=1"]
    workdir = start("run", *flags)
    state = gen_jax.load(workdir).state
    assert (int(state.step), int(state.examples)) == (3, 17)  # batches of 16, 16 and 1, halved for the discriminator


@pytest.mark.study
def test_streaming_and_resident_runs_are_the_same(start, undisturbed):
    assert state_bytes(undisturbed()) == state_bytes(start("streaming", "--config.data.feed=streaming"))


def test_the_same_command_gives_the_same_bytes(start, undisturbed):
    first, second = undisturbed(), start("second")
    assert state_bytes(first) == state_bytes(second) and without_clock(first) == without_clock(second)
    assert state_bytes(first) != state_bytes(start("third", "--config.seed=1"))


def test_an_interrupted_save_and_a_cut_off_log_are_repaired(start, undisturbed, begun):
    whole, broken = undisturbed(), begun("broken", 8)
    with open(broken / "metrics.jsonl", "a") as file:
        file.write('{"step": 10, "seconds": 1.0}\n{"step": 12, "sec')
    (broken / "checkpoints" / "12.orbax-checkpoint-tmp").mkdir()
    start("broken")
    assert state_bytes(whole) == state_bytes(broken)
    assert_logged(whole, broken)


def damage(folder: Path, how: str):
    """Damages the largest file of a checkpoint's state."""
    file = max((path for path in (folder / "state").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = file.read_bytes()
    if how == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :])
    elif how == "removed":
        shutil.rmtree(folder / "state")


@pytest.mark.parametrize("how", ["truncated", "flipped", "removed"])
def test_a_damaged_newest_checkpoint_is_passed_over(start, undisturbed, begun, capsys, how):
    whole, broken = undisturbed(), begun("broken", 8)
    damage(broken / "checkpoints" / "8", how)
    capsys.readouterr()
    start("broken")
    output = capsys.readouterr().out
    assert "warning: checkpoint 8" in output and "resuming after step 4" in output
    assert state_bytes(whole) == state_bytes(broken)
    assert_logged(whole, broken)


def test_no_whole_checkpoint_is_an_error_and_nothing_is_overwritten(start, begun):
    workdir = begun("run", 8)
    for step in (4, 8):
        damage(workdir / "checkpoints" / str(step), "truncated")
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file() and path.name != ".lock"}
    for command in (lambda: start(), lambda: gen_jax.load(workdir)):
        with pytest.raises(UserError, match=r"no whole checkpoint.*\[4, 8\]"):
            command()
    after = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file() and path.name != ".lock"}
    assert before.keys() == after.keys()
    changed = [path.name for path in before if before[path] != after[path]]
    assert set(changed) <= {"config.json"}  # steps have grown from 8 to 12


def test_every_flipped_bit_changes_the_checksum():
    state = {"w": jax.numpy.arange(6, dtype=jax.numpy.float32), "n": jax.numpy.int32(3)}
    reference, broken = checkpoint.checksums(state)
    assert broken is None
    for bit in range(32):
        flipped = np.asarray(state["w"]).copy()
        flipped.view(np.uint32)[4] ^= np.uint32(1 << bit)
        if np.isfinite(flipped).all():
            assert checkpoint.checksums({**state, "w": flipped})[0] != reference
    swapped = np.asarray(state["w"])[::-1].copy()
    assert checkpoint.checksums({**state, "w": swapped})[0] != reference


def test_a_metric_that_is_not_finite_stops_the_run(start, tmp_path):
    blow_up = [
        "--config.save_every=2",
        "--config.model.discriminator_optimizer.learning_rate=1e38",
        "--config.log_every=3",
    ]
    with pytest.raises(UserError, match=r"[dgr]\w+ is not finite at step [1-3] in .*saved no checkpoint yet"):
        start("run", *blow_up)
    assert not list((tmp_path / "run" / "checkpoints").glob("[0-9]*"))


def test_a_state_that_is_not_finite_is_never_saved(tmp_path):
    with checkpoint.opened(tmp_path, keep=2) as manager:
        checkpoint.save(manager, 1, {"w": np.ones(3, np.float32)})
        with pytest.raises(UserError, match=r"not finite at step 2 .\['w'\]"):
            checkpoint.save(manager, 2, {"w": np.array([1, np.nan, 1], np.float32)})
        manager.wait_until_finished()
        assert manager.all_steps() == [1]


def test_a_model_that_changed_is_named(begun):
    workdir = begun("run", 12)
    config = json.loads((workdir / "config.json").read_text())
    config["model"]["generator"]["hidden"] = [9]
    (workdir / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"checkpoint 12.*does not fit.*generator.*\[8\].*\[9\]"):
        gen_jax.load(workdir)


def test_settings_built_from_one_dict_are_separate(start):
    changed = ["--config.model.generator.hidden=(9,)", "--config.model.discriminator_optimizer.learning_rate=0.5"]
    model = json.loads((start("run", *changed, "--config.steps=0") / "config.json").read_text())["model"]
    assert (model["generator"]["hidden"], model["discriminator"]["hidden"]) == ([9], [8])
    assert model["generator_optimizer"]["learning_rate"] == 1e-3


@pytest.mark.study
def test_a_start_that_failed_or_was_killed_does_not_bind(start, undisturbed, tmp_path):
    with pytest.raises(UserError, match="is not finite"):
        start("run", "--config.model.discriminator_optimizer.learning_rate=1e38")
    start("run")  # the mended settings are taken: nothing had been saved
    assert state_bytes(tmp_path / "run") == state_bytes(undisturbed())
    (tmp_path / "killed").mkdir()
    shutil.copy(tmp_path / "run" / "spec.json", tmp_path / "killed")
    shutil.copytree(tmp_path / "run" / "checkpoints" / "4", tmp_path / "killed" / "checkpoints" / "4")
    assert state_bytes(start("killed")) == state_bytes(tmp_path / "run")


@pytest.mark.study
def test_a_fork_keeps_its_own_first_checkpoint(start, begun):
    origin = begun("origin", 4)
    change = ["--config.model.gamma=0.2", "--fork", str(origin)]
    wrong = [*change, "--config.model.generator.hidden=(9,)"]
    with pytest.raises(UserError, match="does not fit"):
        start("forked", *wrong)
    forked = start("forked", *change, "--config.steps=4")
    assert gen_jax.load(forked).step == 4
    start("origin")  # goes on to 12, and no longer matters to the fork
    assert state_bytes(start("forked", *change)) != state_bytes(origin)
    assert json.loads((forked / "fork.json").read_text())["step"] == 4
    with pytest.raises(UserError, match="has begun already and is no fork of"):
        start("origin", "--fork", str(forked))
    with pytest.raises(UserError, match="is the run itself"):
        start("origin", "--fork", str(origin))


def test_a_fork_starts_from_the_other_run(start, undisturbed, begun, capsys):
    whole, origin = undisturbed(), begun("origin", 8)
    change = "--config.model.gamma=0.2"
    with pytest.raises(UserError, match="model.gamma was 0.1 in .*origin and is now 0.2; .*--fork .*origin"):
        start("origin", change)
    forked = start("forked", change, "--fork", str(origin))
    assert "forked from step 8" in capsys.readouterr().out
    assert [each["step"] for each in metrics_file.read_metrics(forked)] == [10, 12]
    assert state_bytes(forked)[0] == 12 and state_bytes(forked) != state_bytes(whole)
    unchanged = start("unchanged", "--fork", str(origin))
    assert state_bytes(unchanged) == state_bytes(whole)


def test_samples_are_a_function_of_their_arguments(undisturbed, tmp_path):
    workdir = undisturbed()

    def draw(name, *flags):
        sample.main(["sample", "--workdir", str(workdir), "--out", str(tmp_path / name), *flags])
        return (tmp_path / name).read_bytes()

    first = draw("a.npz", "--num=300")
    assert first == draw("b.npz", "--num=300")
    assert first != draw("c.npz", "--num=300", "--seed=1") and first != draw("d.npz", "--num=300", "--step=4")
    x = np.load(tmp_path / "a.npz")["x"]
    assert x.shape == (300, 2) and x.dtype == np.float32
    draw("e.npz", "--num=10")
    np.testing.assert_array_equal(np.load(tmp_path / "e.npz")["x"], x[:10])
    assert draw("f.png").startswith(b"\x89PNG")


def test_sampling_never_opens_the_data(undisturbed, tmp_path, forbid):
    workdir = undisturbed()
    forbid(open_source)
    sample.main(["sample", "--workdir", str(workdir), "--out", str(tmp_path / "x.npz")])
    with pytest.raises(pytest.fail.Exception, match="open_source was called"):
        evaluate.main(["evaluate", "--workdir", str(workdir), "--num=50", "--metrics=modes"])


@pytest.mark.study
def test_evaluate_prints_a_table_and_writes_it(start, capsys):
    workdir = start("run", SCORES)
    before = json.loads((workdir / "evaluation.json").read_text())
    capsys.readouterr()
    evaluate.main(["evaluate", "--workdir", str(workdir), "--metrics=modes,high_quality,reverse_kl"])
    output = capsys.readouterr().out
    assert "reverse_kl" in output and "real data" in output
    assert json.loads((workdir / "evaluation.json").read_text()) == before
    evaluate.main(["evaluate", "--workdir", str(workdir), "--num=50", "--metrics=modes"])
    scores = json.loads((workdir / "evaluation.json").read_text())["metrics"]
    assert scores.keys() == {"modes"} and scores["modes"]["protocol"]["samples"] == 50


def test_a_second_process_is_refused(start, tmp_path):
    with directory.locked(tmp_path / "run"), pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
        start()


def command(config_file, workdir, *flags):
    line = [sys.executable, "-m", "gen_jax.train", "--config", str(config_file), "--workdir", str(workdir), *flags]
    environment = {**os.environ, "XLA_FLAGS": CHEAP, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_step(workdir, step, process):
    deadline = time.monotonic() + 120
    while not any(each["step"] >= step for each in metrics_file.read_metrics(workdir)):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_processes_killed_and_stopped_end_with_the_same_bytes(config_file, tmp_path):
    flags = ["--config.steps=1500", "--config.save_every=100", "--config.log_every=20"]
    whole = command(config_file, tmp_path / "whole", *flags)
    whole.stdout.close()  # as `| head` does: a reader that left stops no run
    assert whole.wait() == 0
    broken = tmp_path / "broken"
    for step, number in ((300, signal.SIGKILL), (700, signal.SIGTERM), (1100, signal.SIGINT)):
        process = command(config_file, broken, *flags)
        wait_for_step(broken, step, process)
        process.send_signal(number)
        output = process.communicate()[0]
        if number == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 128 + number and "resume with" in output and "Traceback" not in output, output
    train.main(["train", "--config", str(config_file), "--workdir", str(broken), *flags])
    assert state_bytes(tmp_path / "whole") == state_bytes(broken)
    assert without_clock(tmp_path / "whole") == without_clock(broken)


@pytest.mark.study
def test_a_run_is_read_while_it_trains_and_deletes_its_checkpoints(config_file, tmp_path, capfd):
    workdir = tmp_path / "run"
    flags = ["--config.steps=100000", "--config.save_every=1", "--config.log_every=1", "--config.keep=1", "--quiet"]
    process = command(config_file, workdir, *flags)
    try:
        wait_for_step(workdir, 3, process)
        steps = [gen_jax.load(workdir).step for _ in range(8)]
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert steps == sorted(steps) and len({*steps}) > 3
    assert capfd.readouterr() == ("", "")


@pytest.mark.study
def test_eight_devices_train_the_same_run(config_file, tmp_path, monkeypatch):
    states = []
    for devices in (1, 8):
        mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:devices]), ("data",))
        monkeypatch.setattr(placement, "make_mesh", lambda given=None, mesh=mesh: mesh)
        workdir = tmp_path / str(devices)
        # 20 rows on 8 devices are padded to 24
        train.main(
            ["train", "--config", str(config_file), "--workdir", str(workdir), "--quiet", "--config.batch_size=20"]
        )
        states.append(host(gen_jax.load(workdir).state))
    chex.assert_trees_all_close(*states, rtol=1e-3, atol=1e-5)


def test_freed_memory_stays_in_the_process():
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        pytest.skip("needs glibc")
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    size = 100 << 20  # glibc maps blocks of more than 32 MiB by themselves, whatever it has seen before

    def use() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = libc.malloc(size)
        ctypes.memset(block, 1, size)
        libc.free(block)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    startup.start()
    use()
    assert sum(use() for _ in range(5)) < size // 4096


def test_what_is_compiled_is_kept_within_bounds(tmp_path, monkeypatch):
    before, old = jax.config.jax_compilation_cache_dir, tmp_path / "compiled" / "processor" / "old"
    old.parent.mkdir(parents=True)
    old.write_bytes(bytes(10))
    monkeypatch.setenv("GEN_JAX_CACHE", str(tmp_path))
    try:
        startup.start()
        assert old.exists() and jax.config.jax_compilation_cache_dir.startswith(str(tmp_path / "compiled"))
        monkeypatch.setattr(startup, "COMPILED_BYTES", 9)
        startup.start()
        assert not old.exists()
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
