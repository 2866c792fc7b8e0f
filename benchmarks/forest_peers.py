"""A forest of adult beside arfpy's: seconds to fit the trees and to draw as many rows as there are.

    pip install arfpy "pandas<3"
    python benchmarks/forest_peers.py --data_dir ../shared/data/tabular [--share 0.1] [--rounds 1 11] [--trees 10]

Both have at least five rows in a leaf, as the paper's authors did for adult with ten trees in one round; arfpy's own
defaults are `--trees 30 --rounds 11`. Rounds are at most so many: both end once the trees are no better than chance, or
than those before. arfpy (0.1.1, which knows nothing of missing cells, so that `?` is a level; where NumPy lacks `in1d`,
`isin` takes its place) learns from the first `--share` of the rows and ours from as many, and from all of them. Its density
and its conditional draws do not exist. Ours is counted with and without what JAX takes to compile; nothing is counted of
reading the table. Beside them stands what nobody is faster than who grows such trees by scikit-learn: its own forest, on
all cores, of real rows and of as many with independent columns.
"""

import argparse
import time
import warnings
from pathlib import Path

import jax
import numpy as np
from sklearn.ensemble import RandomForestClassifier

from gen_jax import data
from gen_jax.data.spec import columns
from gen_jax.models import build_model
from gen_jax.sample import draw

MIN_ROWS = 5


def adult(folder: Path, share: float) -> data.Data:
    """The first rows of the train split."""
    options = {"split": "train", "test_split": "test", "feed": "resident", "order": "all"}
    found = data.load({**options, "name": "adult", "data_dir": str(folder)}, 1, 0, steps=1, quiet=True)
    num = round(share * found.spec.sizes["train"])
    arrays = {name: value[:num] for name, value in found.arrays.items()}
    return found._replace(spec=found.spec._replace(sizes={"train": num}), arrays=arrays)


def ours(found: data.Data, rounds: int, trees: int) -> dict[str, float]:
    """Seconds to compile, to fit, and to draw."""
    spec, key = found.spec, jax.random.key(0)
    num = spec.sizes["train"]
    batch = {**found.arrays, "weight": np.ones(num, np.float32)}
    began = time.perf_counter()
    model = build_model({"name": "forest", "trees": trees, "min_rows": MIN_ROWS}, spec)
    init, step = (
        jax.jit(model.init).lower(key, batch).compile(),
        jax.jit(model.step, donate_argnums=1).lower(key, jax.eval_shape(model.init, key, batch), batch).compile(),
    )
    compiled = time.perf_counter()
    state = init(key, batch)
    for number in range(rounds):
        state, metrics = step(jax.random.fold_in(key, number), state, batch)
        if metrics["done"]:
            break
    jax.block_until_ready(state)
    fitted = time.perf_counter()
    draw(model, state, spec, 0, 1)
    warm = time.perf_counter()
    draw(model, state, spec, 0, num)
    drawn = time.perf_counter()
    return {"compile": compiled - began + warm - fitted, "fit": fitted - compiled, "sample": drawn - warm}


def theirs(found: data.Data, rounds: int, trees: int) -> dict[str, float]:
    """The same of arfpy, which compiles nothing."""
    import pandas as pd

    if not hasattr(np, "in1d"):
        np.in1d = np.isin  # arfpy 0.1.1 asks for it
    from arfpy import arf

    x = found.read("train", found.spec.sizes["train"])["x"]
    table = {}
    for at, column in enumerate(columns(found.spec)):
        names = np.array([*column.get("levels", ()), "?"])
        codes = np.where(np.isnan(x[:, at]), len(names) - 1, x[:, at]).astype(int)
        table[column["name"]] = pd.Categorical(names[codes]) if "levels" in column else x[:, at]
    began = time.perf_counter()
    forest = arf.arf(
        x=pd.DataFrame(table), num_trees=trees, min_node_size=MIN_ROWS, delta=0, max_iters=rounds - 1, verbose=False
    )
    forest.forde()
    fitted = time.perf_counter()
    forest.forge(n=len(x))
    return {"fit": fitted - began, "sample": time.perf_counter() - fitted}


def limit(found: data.Data, rounds: int, trees: int) -> dict[str, float]:
    """Seconds of scikit-learn alone for one round."""
    x = np.nan_to_num(np.asarray(found.arrays["x"], np.float32))
    rows = np.concatenate([x, np.random.default_rng(0).permuted(x, axis=0)])
    learner = RandomForestClassifier(trees, min_samples_leaf=MIN_ROWS, n_jobs=-1, random_state=0)
    began = time.perf_counter()
    learner.fit(rows, np.arange(len(rows)) < len(x))
    return {"a round": time.perf_counter() - began}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_dir", type=Path, default=Path("../shared/data/tabular"))
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, nargs="*", default=[1])
    parser.add_argument("--trees", type=int, default=10)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # arfpy's, a line for each column
    few, whole = (adult(options.data_dir, share) for share in (options.share, 1.0))
    for rounds in options.rounds:
        print(f"at most {rounds} round(s), {options.trees} trees")
        runs = {"gen_jax": ours, "scikit-learn": limit, "arfpy": theirs}
        said("gen_jax", whole, ours(whole, rounds, options.trees))
        mine, _, peer = (said(name, few, run(few, rounds, options.trees)) for name, run in runs.items())
        once = mine["fit"] + mine["sample"]
        slow = sum(peer.values())
        print(
            f"  arfpy takes {slow / once:.0f} x as long, {slow / (once + mine['compile']):.1f} x with what is compiled"
        )


def said(name: str, found: data.Data, seconds: dict[str, float]) -> dict[str, float]:
    """Prints the seconds that something took at once, for the other may take minutes."""
    parts = ", ".join(f"{part} {value:.2f} s" for part, value in seconds.items())
    print(f"  {name}, {found.spec.sizes['train']} rows: {parts}", flush=True)
    return seconds


if __name__ == "__main__":
    main()
