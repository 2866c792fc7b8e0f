"""Processes without room on the disk, or with the same directory: nothing lost, nothing half written."""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import CHEAP, state_bytes

from gen_jax import train
from gen_jax.errors import UserError

ROOT = Path(__file__).parents[2]
OFTEN = [
    "--config.steps=40",
    "--config.save_every=5",
    "--config.log_every=5",
    "--config.sample_every=0",
    "--config.eval_every=0",
    "--quiet",
]
GAN = ["--config.data.variant=ring", "--config.batch_size=16"]
GAN += [f"--config.model.{net}.hidden=(64,)" for net in ("generator", "discriminator")]
pytestmark = [
    pytest.mark.usefixtures("one_device"),
    pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux"),
]


def arguments(workdir):
    return ["--config", str(ROOT / "configs" / "gan_gaussians.py"), "--workdir", str(workdir), *OFTEN, *GAN]


def finished(workdir):
    """What the run ends with."""
    train.main(["train", *arguments(workdir)])
    return state_bytes(workdir)


@contextmanager
def after_a_save(workdir):
    """The run as a process whose code is compiled as here, as soon as it has saved for the first time."""
    environment = {**os.environ, "XLA_FLAGS": CHEAP, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "gen_jax.train", *arguments(workdir)]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_for((workdir / "checkpoints" / "5").exists, process)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(what, process):
    deadline = time.monotonic() + 300
    while not what():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.0005)


@pytest.mark.study
def test_a_full_disk_and_a_second_process_are_one_line_each_and_cost_nothing(tmp_path):
    workdir = tmp_path / "full"
    with after_a_save(workdir) as process:
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(UserError, match=f"is in use by process {process.pid} on .* Stop it first"):
            finished(workdir)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (8000, resource.RLIM_INFINITY))  # bytes a file
        process.send_signal(signal.SIGCONT)
        errors = process.communicate()[1]
        assert process.returncode == 2 and errors.count("\n") == 1, errors
    steps = [int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdecimal()]
    assert "error: cannot save a checkpoint in" in errors and "File too large" in errors
    assert f"its last good checkpoint is of step {max(steps)}." in errors
    assert finished(workdir) == finished(tmp_path / "whole")
