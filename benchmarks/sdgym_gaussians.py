"""The likelihood benchmark of CTGAN on simulated Gaussians (Xu et al. 2019; SDGym of 2020) with a mixture in place of a GAN.

    python benchmarks/sdgym_gaussians.py [--seeds 3] [--workdir runs/sdgym]

grid, gridr (the grid, each mode moved by up to 0.5) and ring, 10,000 rows to learn from, 10,000 of the test, 10,000 drawn.
L_syn: a diagonal mixture fitted to the test rows scores the drawn ones; L_test: one fitted to the drawn rows scores those
of the test; the mean over 10 and 30 components, by scikit-learn. Identity are the rows learnt from in the place of drawn
ones. Everything goes through the commands: configs/mixture.py, with as many components as there are modes and 5 restarts.
"""

import argparse
import csv
import time
import warnings
from itertools import product
from pathlib import Path

import numpy as np
from sklearn.mixture import GaussianMixture

from gen_jax import sample, train

CONFIG = Path(__file__).parents[1] / "configs" / "mixture.py"
ROWS, VARIANCE = 10_000, 0.05
PUBLISHED = {"grid": (-3.470, -3.486), "gridr": (-3.593, -3.641), "ring": (-1.711, -1.703)}  # Identity, L_syn / L_test


def modes(name: str, random: np.random.Generator) -> np.ndarray:
    """Where the modes are, [K, 2]."""
    if name == "ring":
        angle = np.arange(8) * np.pi / 4
        return np.stack([np.cos(angle), np.sin(angle)], 1)
    grid = np.array([(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)], float)
    return grid + random.uniform(-0.5, 0.5, grid.shape) * (name == "gridr")


def scores(drawn: np.ndarray, test: np.ndarray) -> np.ndarray:
    """L_syn and L_test, the mean over three starts of the judges: they end in different local maxima."""
    found = []
    for components, start in product((10, 30), range(3)):
        judge = GaussianMixture(components, covariance_type="diag", random_state=start)
        found.append((judge.fit(test).score(drawn), judge.fit(drawn).score(test)))
    return np.mean(found, 0)


def drawn_by_mixture(folder: Path, rows: np.ndarray, components: int, seed: int) -> np.ndarray:
    """As many rows as were learnt from, by the commands."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "train.csv", rows, delimiter=",", header="x,y", comments="", fmt="%.17g")
    flags = [f"--config.data.path={folder / 'train.csv'}", f"--config.model.components={components}"]
    flags += [
        "--config.replicas=5",
        "--config.model.covariance=diagonal",
        "--config.model.floor=1e-6",
        f"--config.seed={seed}",
        "--config.sample_every=0",
    ]
    flags += ["--config.evaluate.metrics=('bic',)", "--config.steps=150", "--config.eval_every=150"]
    train.main(["train", "--config", str(CONFIG), "--workdir", str(folder / "run"), "--quiet", *flags])
    out = ["--num", str(len(rows)), "--seed", str(seed), "--out", str(folder / "drawn.csv"), "--replica", "best"]
    sample.main(["sample", "--workdir", str(folder / "run"), *out])
    with open(folder / "drawn.csv") as file:
        return np.array(list(csv.reader(file))[1:], float)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", default="runs/sdgym")
    flags = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = []
    for name, published in PUBLISHED.items():
        mine, identity, taken = [], [], []
        for seed in range(flags.seeds):
            random = np.random.default_rng(seed)
            means = modes(name, random)
            learnt, test = (
                means[random.integers(0, len(means), ROWS)] + random.normal(0, VARIANCE**0.5, (ROWS, 2))
                for _ in range(2)
            )
            began = time.perf_counter()
            drawn = drawn_by_mixture(Path(flags.workdir) / f"{name}{seed}", learnt, len(means), seed)
            taken.append(time.perf_counter() - began)
            mine.append(scores(drawn, test))
            identity.append(scores(learnt, test))
        shown = (f"{values[0]:.3f} / {values[1]:.3f}" for values in (np.mean(mine, 0), np.mean(identity, 0), published))
        lines.append((name, *shown, f"{np.mean(taken):.0f} s"))
    print(f"\n{'':8}{'mixture':>18}{'identity, here':>18}{'identity, stated':>18}")
    for line in lines:
        print(f"{line[0]:8}" + "".join(f"{each:>18}" for each in line[1:]))


if __name__ == "__main__":
    main()
