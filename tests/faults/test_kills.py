"""Every family through the real loop as users have it: killed in a save, resumed, to the same bytes."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest
from conftest import CHEAP, state_bytes

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))
from kill_resume import FAMILIES

from gen_jax.models import MODELS

STEPS, SAVE = 6, 2
FEW = [f"--config.steps={STEPS}", f"--config.save_every={SAVE}", "--config.log_every=1", "--quiet"]
FEW += ["--config.sample_every=0", "--config.eval_every=0", "--config.evaluate.num=50"]


def run(name: str, workdirs: list[Path], kill: bool) -> None:
    """The command, in a process that has imported JAX and not started it; where `kill`, it ends in its second save."""
    os.environ["XLA_FLAGS"] = CHEAP
    from gen_jax import train
    from gen_jax.storage import checkpoint

    save = checkpoint.save

    def last_save(manager, step: int, state) -> None:
        save(manager, step, state)  # returns before all is on the disk
        if step == 2 * SAVE:
            while not any(path.name.startswith(str(step)) for path in manager.directory.iterdir()):
                pass  # until it is begun
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save = last_save if kill else save
    config, *flags = FAMILIES[name]
    for workdir in workdirs:
        file = str(ROOT / "configs" / f"{config}.py")
        train.main(["train", "--config", file, "--workdir", str(workdir), *FEW, *flags])


@pytest.fixture(scope="module")
def processes():
    """Forks of one process that has imported all that a run needs: an import takes longer than these runs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gen_jax.train"])
    return context


def ended(processes, *arguments) -> int:
    process = processes.Process(target=run, args=arguments)
    process.start()
    process.join(300)
    return process.exitcode


def test_every_family_is_killed():
    assert {name.partition(",")[0] for name in FAMILIES} == {*MODELS}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_killed_run_ends_with_the_same_bytes(name, processes, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert ended(processes, name, [killed], True) == -signal.SIGKILL
    assert not (killed / "checkpoints" / str(STEPS)).exists()
    assert ended(processes, name, [killed, whole], False) == 0
    assert state_bytes(killed) == state_bytes(whole)
