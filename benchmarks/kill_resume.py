"""Kills runs at random moments, many of them during a save, and compares what they become with undisturbed ones.

    python benchmarks/kill_resume.py [FAMILY ...] [--kills 20] [--seed 0] [--during-save] [--config.a.b=VALUE ...]

A run of each family, or of those named, is killed by SIGKILL and started again, so many times; then it is stopped by SIGTERM, and
another is run to the same step in one go. Prints one line a family; exits with 1 where states differ in a byte or logged figures
differ, where a checkpoint was damaged, or where a file of unknown name is left.
"""

import argparse
import os
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
from gen_jax.storage.metrics_file import read_metrics

CONFIGS = Path(__file__).parents[1] / "configs"
SMALL = [f"--config.model.{net}.hidden=(32,)" for net in ("generator", "discriminator")]
NARROW = [f"--config.model.{net}.channels=(8,)" for net in ("encoder", "decoder")]
NARROW += ["--config.model.prior.units=16"]
WINDOWS = ["--config.data.order=shuffle", "--config.data.window=200", "--config.batch_size=100"]
FAMILIES = {  # config and what makes its steps short; all data are built in
    "gan": ("gan", *SMALL),
    "gan, image given": ("repair", *(f"--config.model.{net}.channels=4" for net in ("generator", "discriminator"))),
    "markov": ("markov", *WINDOWS, "--config.model.order=2"),
    "hmm": ("hmm", "--config.model.states=8", "--config.data.window=32"),
    "autoregressive": ("gru", "--config.model.net.units=16", "--config.model.net.layers=1", "--config.data.window=16"),
    "vae": ("vae",),
    "ladder": ("ladder_vae", "--config.model.net.latents=(4,4)", "--config.model.net.hidden=(16,16)"),
    "vqvae": ("vqvae", *NARROW),
    "bernoulli": ("bernoulli",),
    "gaussian": ("gaussian",),
    "mixture": ("mixture", "--config.eval_every=5"),  # replicas, of which the best is kept
    "bayes_net": ("bayes_net", "--config.model.structure.bootstraps=0"),
    "forest": ("forest", "--config.model.trees=5", "--config.model.delta=0"),
    "smote": ("smote",),
    "diffusion": ("diffusion", "--config.model.net.width=16", "--config.eval_every=0"),
    "masked": ("masked", "--config.model.net.width=16"),
    "flow": ("flow", "--config.model.net.width=16", "--config.eval_every=0"),
    "speech": ("speak_tones", "--config.model.net.units=8", "--config.model.net.decoder_layers=1"),
}
OFTEN = ["--config.log_every=1", "--config.save_every=5", "--config.sample_every=0", "--config.eval_every=0", "--quiet"]
MANY = 1_000_000  # steps, which nobody waits for


def state_bytes(workdir: Path) -> tuple[int, bytes]:
    run = gen_jax.load(workdir, last=True)
    return run.step, b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(run.state))


def figures(workdir: Path) -> dict[int, dict]:
    """What was logged at each step, without the clock."""
    return {each["step"]: {**each, "seconds": 0} for each in read_metrics(workdir)}


def last_step(workdir: Path) -> int:
    return max(figures(workdir), default=0)


def saving(workdir: Path) -> bool:
    return any("tmp" in path.name for path in (workdir / "checkpoints").glob("*"))


def begin(command: list[str], errors: Path) -> subprocess.Popen:
    with open(errors, "ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


def go_on(process: subprocess.Popen, workdir: Path, more: int) -> None:
    """Waits until the run has come so many steps further."""
    before = last_step(workdir)
    while last_step(workdir) < before + more:
        if process.poll() is not None:
            sys.exit(f"{workdir.name} ended by itself with code {process.returncode}")
        time.sleep(0.005)


def kill_once(process: subprocess.Popen, workdir: Path, in_save: bool, chance: random.Random) -> bool:
    """Kills a run: in a save, or at any moment, every fifth of them while it starts. Returns whether it was saving."""
    if in_save:
        go_on(process, workdir, 1)
        while not saving(workdir):
            time.sleep(0.0002)
        time.sleep(chance.choice((0.0, chance.uniform(0, 0.06))))
    elif chance.random() < 0.8:
        go_on(process, workdir, 1)
        time.sleep(chance.uniform(0, 0.5))
    else:
        time.sleep(chance.uniform(0, 4))
    process.send_signal(signal.SIGKILL)
    process.wait()
    return saving(workdir)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--during-save", action="store_true", help="every kill, and not every second one")
    given, settings = parser.parse_known_args()
    failed = [name for name in given.families if not survives(name, given, settings)]
    sys.exit(f"not the same: {', '.join(failed)}" if failed else 0)


def survives(name: str, given: argparse.Namespace, settings: list[str]) -> bool:
    """Kills and compares one family; prints its line."""
    config, *flags = FAMILIES[name]
    chance, began = random.Random(f"{name} {given.seed}"), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        whole, broken, said = (Path(folder) / each for each in ("whole", "broken", "said"))
        file = str(CONFIGS / f"{config}.py")
        train = [sys.executable, "-m", "gen_jax.train", "--config", file, *OFTEN, *flags, *settings, "--workdir"]
        endless = [*train, str(broken), f"--config.steps={MANY}"]
        saves = [
            kill_once(begin(endless, said), broken, given.during_save or number % 2 == 1, chance)
            for number in range(given.kills)
        ]
        last = begin(endless, said)
        go_on(last, broken, 5)
        last.send_signal(signal.SIGTERM)
        code = last.wait()
        step, state = state_bytes(broken)
        subprocess.run([*train, str(whole), f"--config.steps={step}"], check=True, stdout=subprocess.DEVNULL)
        same, logged = (step, state) == state_bytes(whole), figures(whole)
        logged_too = all(
            each.items() <= logged[at].items() for at, each in figures(broken).items()
        )  # scored at its end
        expected = {each.relative_to(whole).parts[0] for each in whole.rglob("*")}
        left = sorted({each.relative_to(broken).parts[0] for each in broken.rglob("*")} - expected)
        damaged = "damaged" in said.read_text()
    good = same and logged_too and not damaged and not left and code == 128 + signal.SIGTERM
    print(
        f"{name}: {given.kills} kills, {sum(saves)} of them in a save, to step {step}: state {'equal' if same else 'DIFFERENT'}, "
        f"figures {'equal' if logged_too else 'DIFFERENT'}, {damaged and 'DAMAGED checkpoints, ' or ''}left over {left}, "
        f"SIGTERM exits with {code}; {time.monotonic() - began:.0f} s, {len(os.sched_getaffinity(0))} core(s)",
        flush=True,
    )
    return good


if __name__ == "__main__":
    main()
