"""Kills a run at random moments, some of them during a save, and compares what it becomes with an undisturbed one.

    python benchmarks/kill_resume.py configs/gan.py [--kills 10] [--steps 400] [--config.a.b=VALUE ...]

Prints one line a config; exits with 1 where the final states differ in a single byte.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

import gen_jax
from gen_jax.log import read_metrics


def state_bytes(workdir: Path) -> tuple[int, bytes]:
    run = gen_jax.load(workdir)
    return run.step, b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(run.state))


def last_step(workdir: Path) -> int:
    return max((each["step"] for each in read_metrics(workdir)), default=0)


def saving(workdir: Path) -> bool:
    return any("tmp" in path.name for path in (workdir / "checkpoints").glob("*"))


def kill_once(command: list[str], workdir: Path, during_save: bool, chance: random.Random) -> str | None:
    """Starts the run and kills it; returns where it was, or None where it ended first."""
    before, wait = last_step(workdir), chance.uniform(0, 3)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    if chance.random() < 0.8:  # otherwise before or just at the first step
        while process.poll() is None and last_step(workdir) <= before:
            time.sleep(0.01)
    deadline = time.monotonic() + wait
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    while during_save and process.poll() is None and not saving(workdir):
        time.sleep(0.0002)
    inside = saving(workdir)
    process.send_signal(signal.SIGKILL)
    if process.wait() == 0:
        return None
    return f"{last_step(workdir)}{' in a save' if inside else ''}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=400)
    given, settings = parser.parse_known_args()
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        flags = [f"--config.steps={given.steps}", "--config.log_every=10", "--config.save_every=25", "--quiet"]
        flags += ["--config.sample_every=100", "--config.eval_every=0", *settings]
        train = [sys.executable, "-m", "gen_jax.train", "--config", str(given.config), *flags, "--workdir"]
        whole, broken = Path(folder) / "whole", Path(folder) / "broken"
        subprocess.run([*train, str(whole)], check=True, stdout=subprocess.DEVNULL)
        places = []
        while len(places) < given.kills and last_step(broken) < given.steps:
            places.append(kill_once([*train, str(broken)], broken, len(places) % 3 == 2, chance))
        subprocess.run([*train, str(broken)], check=True, stdout=subprocess.DEVNULL)
        same = state_bytes(whole) == state_bytes(broken)
    killed = [place for place in places if place]
    print(f"{given.config.stem}: {len(killed)} kills at steps {', '.join(killed)}: {'equal' if same else 'DIFFERENT'}")
    sys.exit(not same)


if __name__ == "__main__":
    main()
