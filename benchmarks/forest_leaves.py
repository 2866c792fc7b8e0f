"""Chow-Liu trees in the leaves of a forest beside independent columns: nats a test row of sets of density estimation.

    python benchmarks/forest_leaves.py nltcs plants jester --data_dir ../shared/data/twenty [--trees 10] \\
        [--min_rows 2 5 20 80 160]

Both learn from the train split with as many trees, for as many rounds as they take, by three seeds, and for each of the least
numbers of rows in a leaf. The mean log-likelihood of the validation split chooses that number for either; of the test split
its mean over the seeds is printed with the standard error, and the mean difference. Seconds are of a seed's rounds, without
compiling.
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np

from gen_jax import config, data
from gen_jax.metrics.row_functions import log_prob_of_rows
from gen_jax.models import build_model
from gen_jax.models.forest import LEAVES

SEEDS, ROUNDS = 3, 10


def likelihoods(found: data.Data, leaves: str, min_rows: int, trees: int) -> tuple[np.ndarray, float]:
    """Mean log-likelihoods of the validation and of the test split by each seed [S, 2], and seconds a seed."""
    spec, arrays = found.spec, found.arrays
    batch = {**arrays, "weight": np.ones(spec.sizes["train"], np.float32)}
    model = build_model({"name": "forest", "trees": trees, "min_rows": min_rows, "leaves": leaves}, spec)
    start = jax.jit(model.init)(jax.random.key(0), batch)
    step = jax.jit(model.step).lower(jax.random.key(0), start, batch).compile()
    values, began, taken = [], 0.0, 0.0
    for seed in range(SEEDS):
        began, state = time.perf_counter(), start
        for number in range(ROUNDS):
            state, metrics = step(jax.random.fold_in(jax.random.key(seed), number), state, batch)
            if metrics["done"]:
                break
        taken += time.perf_counter() - began
        splits = (found.read(split) for split in ("validation", "test"))
        values.append([log_prob_of_rows(model.log_prob, state, spec, rows).mean() for rows in splits])
    return np.array(values), taken / SEEDS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--data_dir", default="../shared/data/twenty", type=Path)
    parser.add_argument("--trees", type=int, default=10)
    parser.add_argument("--min_rows", type=int, nargs="*", default=[2, 5, 20, 80, 160])
    flags = parser.parse_args()
    options = {**config.plain(config.base_config())["data"], "name": "binary", "data_dir": str(flags.data_dir)}
    for name in flags.sets:
        best = {}
        found = data.load({**options, "set": name, "order": "all"}, batch_size=1, seed=0, steps=1, quiet=True)
        for leaves in LEAVES:
            each = {}
            for least in flags.min_rows:
                each[least], seconds = likelihoods(found, leaves, least, flags.trees)
                valid, test = each[least].mean(0)
                print(f"{name}, {leaves}, {least} rows: {valid:.3f} and {test:.3f} nats, {seconds:.1f} s", flush=True)
            chosen = max(each, key=lambda least: each[least][:, 0].mean())
            best[leaves] = each[chosen][:, 1]
            print(f"{name}, {leaves}: {chosen} rows, {shown(best[leaves])} nats a test row", flush=True)
        print(f"{name}: Chow-Liu {shown(best['chow_liu'] - best['independent'])} nats better", flush=True)


def shown(values: np.ndarray) -> str:
    """Mean and standard error over the seeds."""
    return f"{values.mean():.3f} ± {values.std(ddof=1) / len(values) ** 0.5:.3f}"


if __name__ == "__main__":
    main()
