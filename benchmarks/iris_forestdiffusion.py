"""Iris under the protocol of ForestDiffusion (Jolicoeur-Martineau, Fatras & Kachman 2024, arXiv 2309.09968).

    pip install xgboost
    python benchmarks/iris_forestdiffusion.py [--models=forest,smote] [--out=runs/iris_forestdiffusion]

Three stratified splits of 120 and 30 rows; each model learns from the 120 by its command, with the settings of its
config, and draws five times as many. The figures are means over the 15: the Wasserstein distance W1 to the rows learnt
from and to those of the test, and the share of them with a drawn row nearer than their neighbours are, all in the L1
distance of numbers between 0 and 1 and of levels 1 apart; the macro F1 on the test rows of four classifiers that learnt
from drawn rows, five seeds each. `oracle` are the rows learnt from in the place of drawn ones. Standard errors are of the
three splits. Seconds are of training and drawing, with what JAX takes to compile.
"""

import time
import warnings
from collections.abc import Sequence
from math import lcm
from pathlib import Path

import numpy as np
from augment import spread
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.datasets import load_iris
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler
from tables import drawn, few_rows

from gen_jax import config, data
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import startup
from gen_jax.errors import choose

SPLITS, DRAWS, SEEDS, LEVELS = 3, 5, 5, 3
FIGURES = ("W1 train", "W1 test", "coverage train", "coverage test", "F1")
MODELS = {
    "forest": ["forest.py"],
    "smote": ["smote.py", "--config.model.within=species"],
    "tvae": ["tvae.py"],
    "diffusion": ["diffusion_table.py"],
    "mixture": ["mixture.py"],
}
PUBLISHED = {"ForestFlow, published": (0.197, 0.328, 0.936, 0.931, 0.976, 12.4)}  # the last is seconds


def scaled(train: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rows [N, 5] with numbers between 0 and 1 in those learnt from, and levels 1 apart in L1."""
    numbers = MinMaxScaler().fit(train[:, :-1]).transform(x[:, :-1])
    return np.concatenate([numbers, np.eye(LEVELS)[x[:, -1].astype(int)] / 2], 1)


def wasserstein(x: np.ndarray, y: np.ndarray) -> float:
    """W1 of two sets of points with equal weights, by the best assignment of as many copies of each."""
    most = lcm(len(x), len(y))
    far = cdist(x, y, "cityblock").repeat(most // len(x), 0).repeat(most // len(y), 1)
    return float(far[linear_sum_assignment(far)].mean())


def coverage(real: np.ndarray, samples: np.ndarray) -> float:
    """The share of real points with a sample within the distance to their k-th neighbour (Naeem et al. 2020).

    k is one more than the smallest with which real points cover 95 % of themselves, as the authors' program has it.
    """
    near = np.sort(cdist(real, real, "cityblock"), 1)  # the point itself first
    k = next(k for k in range(1, len(real)) if (near[:, k] > 0).mean() >= 0.95) + 1
    return float((cdist(real, samples, "cityblock").min(1) < near[:, k]).mean())


def f1(train: np.ndarray, test: np.ndarray) -> float:
    """Macro F1 on test rows, the mean over classifiers and seeds; 0 where a class was not drawn."""
    from xgboost import XGBClassifier

    if len(np.unique(train[:, -1])) < LEVELS:
        return 0.0
    found = []
    for seed in range(SEEDS):
        judges = (
            LogisticRegression(C=np.inf, max_iter=500, random_state=seed),
            AdaBoostClassifier(random_state=seed),
            RandomForestClassifier(max_depth=28, random_state=seed),
            XGBClassifier(reg_lambda=0.0, random_state=seed, n_jobs=1),
        )
        said = (judge.fit(train[:, :-1], train[:, -1].astype(int)).predict(test[:, :-1]) for judge in judges)
        found += [f1_score(test[:, -1], each, average="macro") for each in said]
    return float(np.mean(found))


def figures(train: np.ndarray, test: np.ndarray, samples: np.ndarray) -> list[float]:
    """`FIGURES` of one draw."""
    here, there, fake = (scaled(train, each) for each in (train, test, samples))
    distances = [function(real, fake) for function in (wasserstein, coverage) for real in (here, there)]
    return [*distances, f1(samples, test)]


def main(argv: list[str]) -> None:
    flags = command_line.parse(
        argv,
        {
            "models": (",".join(MODELS), "names, separated by commas"),
            "out": ("runs/iris_forestdiffusion", "folder of the runs"),
        },
        required=None,
    )
    names = [choose("model", name, MODELS) for name in flags.models.split(",")]
    startup.start()
    warnings.simplefilter("ignore")
    options = {**config.plain(config.base_config())["data"], "name": "iris"}
    spec = data.load(options, batch_size=1, seed=0, steps=1, quiet=True).spec
    iris = load_iris()
    x = np.column_stack([iris.data, iris.target])
    for name, values in PUBLISHED.items():
        line(name, values[:-1], None, values[-1])
    for name in ["oracle", *names]:
        found, taken = [], []
        for split in range(SPLITS):
            train, test = train_test_split(x, test_size=0.2, random_state=split, stratify=x[:, -1])
            began, each = time.perf_counter(), np.tile(train, (DRAWS if name != "oracle" else 1, 1))
            if name != "oracle":
                folder = Path(flags.out) / str(split)
                each = drawn(MODELS[name], few_rows(spec, train, folder), folder / name, split, len(each))[0]
            taken.append(time.perf_counter() - began)
            found.append(np.mean([figures(train, test, one) for one in np.split(each, len(each) // len(train))], 0))
        line(name, *spread(np.array(found)), np.mean(taken))


def line(name: str, means: Sequence[float], errors: Sequence[float] | None, seconds: float) -> None:
    """Prints the figures of one model."""
    each = [""] * len(means) if errors is None else [f" ± {error:.3f}" for error in errors]
    shown = (f"{what} {mean:.3f}{error}" for what, mean, error in zip(FIGURES, means, each))
    print(f"{name:22}", ", ".join(shown), f"{seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    command(main)
