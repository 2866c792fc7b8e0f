"""The likelihood benchmark of CTGAN on simulated tables (Xu et al. 2019; SDGym of 2020), for any config of a table's model.

    python benchmarks/sdgym.py asia child alarm --networks ../shared/data/networks --config configs/bayes_net.py \\
        --config.model.structure.bootstraps=0 --config.model.pseudo_count=0
    python benchmarks/sdgym.py grid gridr --config configs/mixture.py --replica best --config.model.components=25 \\
        --config.model.covariance=diagonal --config.model.floor=1e-6 --config.steps=150 --config.eval_every=150
    python benchmarks/sdgym.py ring ... --config.model.components=8 ...
    python benchmarks/sdgym.py asia child alarm --config configs/ctgan.py --config.batch_size=500 --config.steps=6000
    python benchmarks/sdgym.py grid gridr ring ... --config.data.order=shuffle --config.model.conditional=False
    python benchmarks/sdgym.py asia --config configs/tvae.py --config.batch_size=200 --config.steps=20000 \\
        --config.model.optimizer.learning_rate.examples=4000000 --config.model.likelihood.temperature=0 \\
        --config.model.latent_size=32 --config.model.{encoder,decoder}.hidden='(256,256)'

10,000 rows to learn from, 10,000 of the test, 10,000 drawn, all through the commands; settings go on to training. A run that
was broken off is not scored; it goes on where it was, under the same --workdir.
NAME.bif: L_syn is the mean of log(p + 1e-8) of the drawn rows under the true network; L_test that of the test rows under the true
graph with tables counted from the drawn rows (a configuration that was never drawn: all levels alike).
grid, gridr (the grid, each mode moved by up to 0.5), ring: L_syn is that of the drawn rows under a diagonal mixture fitted to
the test rows, L_test that of the test rows under one fitted to the drawn ones; the mean over 10 and 30 components, by
scikit-learn. Identity: the rows learnt from, in the place of drawn ones.
"""

import argparse
import csv
import json
import time
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.mixture import GaussianMixture

from gen_jax import sample, train
from gen_jax.cli.process import command
from gen_jax.data.tables.bif import read_bif
from gen_jax.data.tables.networks import Network, draw

ROWS, VARIANCE, FLOOR = 10_000, 0.05, 1e-8
GAUSSIANS = ("grid", "gridr", "ring")
PUBLISHED = {  # Identity of SDGym's leaderboard, L_syn and L_test
    "asia": (-2.235, -2.242),
    "alarm": (-10.232, -10.300),
    "child": (-12.031, -12.043),
    "insurance": (-12.850, -12.958),
    "grid": (-3.470, -3.486),
    "gridr": (-3.593, -3.641),
    "ring": (-1.711, -1.703),
}


class Task(NamedTuple):
    """One table: rows [N, D], numbers or codes of levels, and what judges drawn ones."""

    names: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...] | None  # None: numbers
    learnt: np.ndarray
    test: np.ndarray
    scores: Callable[[np.ndarray], tuple[float, float]]  # drawn rows -> L_syn, L_test


def modes(name: str, random: np.random.Generator) -> np.ndarray:
    """Where the modes are, [K, 2]."""
    if name == "ring":
        angle = np.arange(8) * np.pi / 4
        return np.stack([np.cos(angle), np.sin(angle)], 1)
    grid = np.array([(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)], float)
    return grid + random.uniform(-0.5, 0.5, grid.shape) * (name == "gridr")


def gaussians(name: str, seed: int) -> Task:
    """A mixture of equal Gaussians; the judges are the mean over three starts, which end in different local maxima."""
    random = np.random.default_rng(seed)
    means = modes(name, random)
    learnt, test = (
        means[random.integers(0, len(means), ROWS)] + random.normal(0, VARIANCE**0.5, (ROWS, 2)) for _ in range(2)
    )

    def scores(drawn: np.ndarray) -> tuple[float, float]:
        found = []
        for components, start in product((10, 30), range(3)):
            judge = GaussianMixture(components, covariance_type="diag", random_state=start)
            found.append((judge.fit(test).score(drawn), judge.fit(drawn).score(test)))
        return tuple(np.mean(found, 0))

    return Task(("x", "y"), None, learnt, test, scores)


def networks(path: Path, seed: int) -> Task:
    """Rows of a Bayesian network."""
    true, random = read_bif(path), np.random.default_rng(seed)
    learnt, test = (draw(true, random, ROWS) for _ in range(2))
    scores = lambda drawn: (likelihood(true, drawn), likelihood(counted(true, drawn), test))
    return Task(true.names, true.levels, learnt, test, scores)


def likelihood(network: Network, codes: np.ndarray) -> float:
    """Mean of log(p + 1e-8) over rows [N, D]."""
    p = np.ones(len(codes))
    for each, (above, table) in enumerate(zip(network.parents, network.tables)):
        p *= table[tuple(codes[:, [*above, each]].T)]
    return float(np.log(p + FLOOR).mean())


def counted(network: Network, codes: np.ndarray) -> Network:
    """The same graph with tables by maximum likelihood from rows [N, D]."""
    tables = []
    for each, (above, table) in enumerate(zip(network.parents, network.tables)):
        counts = np.zeros(table.shape)
        np.add.at(counts, tuple(codes[:, [*above, each]].T), 1)
        counts += counts.sum(-1, keepdims=True) == 0
        tables.append(counts / counts.sum(-1, keepdims=True))
    return network._replace(tables=tuple(tables))


def write_rows(path: Path, task: Task, rows: np.ndarray) -> None:
    cells = rows.tolist() if task.levels is None else [[*map(tuple.__getitem__, task.levels, row)] for row in rows]
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([task.names, *cells])


def read_rows(path: Path, task: Task) -> np.ndarray:
    with open(path, newline="") as file:
        cells = list(csv.reader(file))[1:]
    if task.levels is None:
        return np.array(cells, float)
    return np.array([[*map(tuple.index, task.levels, row)] for row in cells])


def drawn_by(task: Task, folder: Path, seed: int, flags: argparse.Namespace, settings: list[str]) -> np.ndarray:
    """As many rows as were learnt from, by the commands."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "train.csv", task, task.learnt)
    write_rows(folder / "test.csv", task, task.test)
    levels = task.levels or [None] * len(task.names)
    kinds = [{"kind": "categorical", "levels": each} if each else {"kind": "continuous"} for each in levels]
    (folder / "schema.json").write_text(json.dumps(dict(zip(task.names, kinds))))
    data = {"path": "train.csv", "test_path": "test.csv", "schema": "schema.json"}
    settings = [*(f"--config.data.{name}={folder / file}" for name, file in data.items()), *settings]
    settings += [f"--config.seed={seed}", "--config.sample_every=0", "--quiet"]
    train.main(["train", "--config", flags.config, "--workdir", str(folder / "run"), *settings])
    out = ["--num", str(ROWS), "--seed", str(seed), "--out", str(folder / "drawn.csv"), "--replica", flags.replica]
    sample.main(["sample", "--workdir", str(folder / "run"), *out])
    return read_rows(folder / "drawn.csv", task)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="+", help="grid, gridr, ring, or NAME of NAME.bif in --networks")
    parser.add_argument("--config", required=True)
    parser.add_argument("--networks", type=Path, default=Path("../shared/data/networks"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--replica", default="0")
    parser.add_argument("--workdir", type=Path)
    flags, settings = parser.parse_known_args(argv[1:])
    warnings.simplefilter("ignore")
    workdir, lines = flags.workdir or Path("runs/sdgym") / Path(flags.config).stem, []
    for name in flags.sets:
        mine, identity, taken = [], [], []
        for seed in range(flags.seeds):
            task = gaussians(name, seed) if name in GAUSSIANS else networks(flags.networks / f"{name}.bif", seed)
            began = time.perf_counter()
            drawn = drawn_by(task, workdir / f"{name}{seed}", seed, flags, settings)
            taken.append(time.perf_counter() - began)
            mine.append(task.scores(drawn))
            identity.append(task.scores(task.learnt))
            print(f"{name}, seed {seed}: {mine[-1][0]:.3f} / {mine[-1][1]:.3f}, {taken[-1]:.0f} s", flush=True)
        shown = (np.mean(mine, 0), np.mean(identity, 0), PUBLISHED.get(name, (np.nan, np.nan)))
        lines.append((name, *(f"{syn:.3f} / {test:.3f}" for syn, test in shown), f"{np.mean(taken):.0f} s"))
    for line in [("", Path(flags.config).stem, "Identity, here", "Identity, stated", "a seed"), *lines]:
        print(f"{line[0]:10}" + "".join(f"{each:>18}" for each in line[1:]))


if __name__ == "__main__":
    command(main)
