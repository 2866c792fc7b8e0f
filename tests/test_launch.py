"""Several processes by launch/local.py, real jax.distributed over loopback, two of two simulated devices; fsdp."""

import os
import re
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
from conftest import host

import gen_jax
from gen_jax import checkpoint, log, sharding, train
from gen_jax.errors import UserError

ROOT = Path(__file__).parents[1]
SAVES = 20
GLOO = re.compile(
    r"\[Gloo\] Rank |\d+ is connected to \d+ peer ranks\. Expected number of connected peer ranks is : \d+"
)
CONFIG = f"""
from gen_jax.config import base_config

def get_config():
    config = base_config()
    config.update({{"steps": 100_000, "save_every": {SAVES}, "log_every": 5, "sample_every": 0, "keep": 1000}})
    config.batch_size = 30  # padded to 32
    net = {{"name": "mlp", "hidden": (8,)}}
    sgd = {{"name": "sgd", "learning_rate": 0.1, "clip_norm": 1.0}}
    config.model = {{"name": "vae", "encoder": net, "decoder": net, "likelihood": {{"name": "beta_binomial"}},
                     "latent_size": 4, "optimizer": sgd, "ema_half_life": 100}}
    return config
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launch")
    (folder / "tiny.py").write_text(CONFIG)
    return folder


@pytest.fixture
def alone(folder, monkeypatch):
    """Trains in this process, on so many devices."""

    def alone(name, devices, *flags):
        mesh = sharding.make_mesh(jax.devices()[:devices])
        monkeypatch.setattr(sharding, "make_mesh", lambda given=None: mesh)
        command = ["train", "--config", str(folder / "tiny.py"), "--workdir", str(folder / name), "--quiet", *flags]
        train.main(command)
        monkeypatch.undo()
        return folder / name

    return alone


def launch(workdir, *flags):
    command = [sys.executable, str(ROOT / "launch" / "local.py"), "--processes=2", "--devices=2", "--"]
    command += ["--config", str(workdir.parent / "tiny.py"), "--workdir", str(workdir), "--quiet", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def signalled(workdir, after, number, *flags):
    """Launches the run, sends its process 1 a signal after so many steps; returns exit code, output and seconds."""
    launcher, deadline = launch(workdir, *flags), time.monotonic() + 300
    while not any(each["step"] >= after for each in log.read_metrics(workdir)):
        assert launcher.poll() is None, launcher.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    began = time.monotonic()
    os.kill(int(children[1]), number)
    output = launcher.communicate()[0]
    return launcher.returncode, output, time.monotonic() - began


@pytest.fixture(scope="module")
def broken(folder):
    """A run of two processes whose second is killed, then the whole again, then stopped: outcomes and the last step."""
    if not Path("/proc/self/task").exists():
        pytest.skip("needs Linux, to find the processes")
    killed = signalled(folder / "broken", SAVES + 10, signal.SIGKILL)
    stopped = signalled(folder / "broken", 2 * SAVES + 10, signal.SIGTERM, "--config.save_every=0")
    return killed, stopped, gen_jax.load(folder / "broken").step


def state_of(workdir, step):
    return jax.tree.leaves(host(gen_jax.load(workdir, step).state))


def assert_near(mine, other):
    """Equal to 1e-5 of the norm of each array."""
    for one, two in zip(mine, other):
        error = np.linalg.norm(np.float64(one) - np.float64(two))
        assert error <= 1e-5 * np.linalg.norm(np.float64(two)), (one, two)


def test_a_process_that_is_killed_ends_the_others(broken):
    code, output, seconds = broken[0]
    assert code == 128 + signal.SIGKILL and seconds < 10
    told = GLOO.sub("", output)  # of two processes whose lines may stand within each other's
    errors = [line for line in told.splitlines() if line and not line.startswith("step ")]
    assert len(errors) == 1, output
    assert "process 1 of 2 was ended by SIGKILL" in errors[0] and "goes on from the newest checkpoint" in errors[0]


def test_a_process_that_is_asked_to_stop_stops_all_after_one_step(broken):
    code, output, _ = broken[1]
    assert code == 128 + signal.SIGTERM and "Traceback" not in output
    assert f"stopped: step {broken[2]} of" in output and broken[2] > 2 * SAVES + 10


def test_checkpoints_serve_any_number_of_processes_and_devices(broken, folder, alone):
    """From one process of four devices to two of two, undisturbed; and from these to one of one, which trains on."""
    shutil.copytree(alone("first", 4, "--config.steps=0"), folder / "whole")
    launcher = launch(folder / "whole", f"--config.steps={broken[2]}", "--config.save_every=0")
    assert launcher.wait() == 0, launcher.stdout.read()
    chex.assert_trees_all_equal(
        *(state_of(folder / name, broken[2]) for name in ("broken", "whole"))
    )  # resumed exactly
    more = alone("whole", 1, f"--config.steps={broken[2] + 10}")
    assert gen_jax.load(more).step == broken[2] + 10


def test_two_processes_of_two_devices_train_as_one_of_four(broken, folder, alone):
    one = alone("one", 4, f"--config.steps={SAVES}")
    assert_near(state_of(folder / "broken", SAVES), state_of(one, SAVES))


def test_a_spread_state_learns_the_same_in_a_quarter_of_the_memory(folder, alone, monkeypatch):
    save, sizes = checkpoint.save, []

    def spy(manager, step, state):
        leaves = jax.tree.leaves(state)
        sizes.append([sum(leaf.addressable_data(0).nbytes for leaf in leaves), sum(leaf.nbytes for leaf in leaves)])
        save(manager, step, state)

    monkeypatch.setattr(checkpoint, "save", spy)
    spread = alone("spread", 4, f"--config.steps={SAVES}", "--config.sharding=fsdp")
    assert_near(state_of(spread, SAVES), state_of(alone("one", 4, f"--config.steps={SAVES}"), SAVES))
    assert sizes[0][0] < 0.3 * sizes[0][1]
    with pytest.raises(UserError, match="sharding fsdp: .* expected replicas 1"):
        alone("refused", 4, "--config.sharding=fsdp", "--config.replicas=4")
