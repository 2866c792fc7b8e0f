"""Seconds from the command to the first step of configs/gan.py, its compiled code in JAX's cache, and none there; and of PyTorch.

PyTorch's is a script with nets as large, eager, which has nothing to compile.

    python -m pairs.start       # PyTorch's script
"""

import itertools
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import numpy as np

from pairs import Pair, Run, Setting

HOME = Path(__file__).parents[2]


def until(said: str, command: list[str], folder: Path, **environment: str) -> int:
    """Runs a command until it prints a line that begins so, and ends it."""
    environment = {**os.environ, "PYTHONPATH": f"{HOME}:{HOME / 'benchmarks'}", **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder, env=environment, text=True) as process:
        try:
            if not any(line.startswith(said) for line in process.stdout):
                raise RuntimeError(f"{' '.join(command)} ended without a step")
        finally:
            process.kill()
    return 1


def ours(setting: Setting, cold: bool) -> Run:
    folder = TemporaryDirectory()
    cache = Path(folder.name) / "cache"
    command = [sys.executable, "-m", "gen_jax.train", "--config", str(HOME / "configs" / "gan.py"), "--quiet"]
    command += ["--config.log_every=1", "--config.sample_every=0", "--config.eval_every=0", "--workdir", "run"]

    def run() -> int:
        rmtree(Path(folder.name) / "run", ignore_errors=True)
        if cold:
            rmtree(cache / "compiled", ignore_errors=True)
        return until("step 1", command, Path(folder.name), GEN_JAX_CACHE=str(cache))

    run.folder = folder
    return run


def theirs(setting: Setting) -> Run:
    import torch  # where it is missing this says so

    folder = TemporaryDirectory()
    command = [sys.executable, "-m", "pairs.start"]
    return lambda: until(f"step 1 of {torch.__name__}", command, Path(folder.name))


def first_step() -> None:
    """PyTorch's first step on the digits of scikit-learn."""
    from sklearn.datasets import load_digits
    from torch import nn

    from pairs import torch_gan

    def mlp(*widths: int) -> list[nn.Module]:
        return [each for a, b in itertools.pairwise(widths) for each in (nn.Linear(a, b), nn.LeakyReLU(0.2))][:-1]

    def nets() -> tuple[nn.Module, nn.Module]:
        generator = nn.Sequential(*mlp(16, 256, 256, 256, 64), nn.Unflatten(1, (1, 8, 8)))
        return generator, nn.Sequential(nn.Flatten(), *mlp(64, 256, 256, 256, 1), nn.Flatten(0))

    x = (load_digits().images[..., None] / 8 - 1).astype(np.float32)
    torch_gan.steps(Setting(), nets, x, np.arange(128)[None], 16, "relativistic")()
    print("step 1 of torch", flush=True)


PAIRS = {
    "start": Pair(
        "from the command to the first step of `gan.py`",
        partial(ours, cold=False),
        {"PyTorch": theirs},
        {"cold": partial(ours, cold=True)},
    )
}

if __name__ == "__main__":
    first_step()
