"""A forest of adult beside arfpy's: the trees of its rows, with at least five in a leaf, and as many rows drawn.

Ten trees in one adversarial round, as the paper's authors had it for adult, of all rows; and rounds until the trees are no better
than chance or than those before, at most eleven, of the first tenth of the rows and of all of them. arfpy (0.1.1) knows nothing of missing
cells, so that `?` is a level. Its density and its conditional draws do not exist. Beside ours stands what nobody can be faster than
who grows such trees by scikit-learn: its own forest, on all cores, of real rows and of as many with independent columns.
"""

from functools import partial
from typing import Any

import numpy as np

from pairs import Pair, Run, Setting

TREES, MIN_ROWS, MOST = 10, 5, 11


def adult(setting: Setting, share: float) -> Any:
    """The first rows of the train split."""
    from gen_jax import data

    options = {"split": "train", "test_split": "test", "feed": "resident", "order": "all"}
    folder = str(setting.data / "tabular")
    found = data.load({**options, "name": "adult", "data_dir": folder}, batch_size=1, seed=0, steps=1, quiet=True)
    num = round(share * found.spec.sizes["train"])
    arrays = {name: value[:num] for name, value in found.arrays.items()}
    return found._replace(spec=found.spec._replace(sizes={"train": num}), arrays=arrays)


def ours(setting: Setting, share: float, rounds: int) -> Run:
    import jax

    from gen_jax.models import build_model
    from gen_jax.verbs.draw import draw

    found = adult(setting, share)
    spec, num = found.spec, found.spec.sizes["train"]
    init_key, key = jax.random.split(jax.random.key(0))
    batch = {**found.arrays, "weight": np.ones(num, np.float32)}
    model = build_model({"name": "forest", "trees": TREES, "min_rows": MIN_ROWS}, spec)
    init, step = jax.jit(model.init), jax.jit(model.step, donate_argnums=1)

    def run() -> int:
        state = init(init_key, batch)
        for number in range(rounds):
            state, metrics = step(jax.random.fold_in(key, number), state, batch)
            if metrics["done"]:
                break
        draw(model, state, spec, 0, num)
        return 1

    return run


def trees_alone(setting: Setting, share: float) -> Run:
    from sklearn.ensemble import RandomForestClassifier

    x = np.nan_to_num(np.asarray(adult(setting, share).arrays["x"], np.float32))
    rows = np.concatenate([x, np.random.default_rng(0).permuted(x, axis=0)])
    learner = RandomForestClassifier(TREES, min_samples_leaf=MIN_ROWS, n_jobs=-1, random_state=0)

    def run() -> int:
        learner.fit(rows, np.arange(len(rows)) < len(x))
        return 1

    return run


def theirs(setting: Setting, share: float, rounds: int) -> Run:
    import pandas as pd

    if not hasattr(np, "in1d"):
        np.in1d = np.isin  # arfpy 0.1.1 asks for it
    from arfpy import arf

    from gen_jax.data.spec import columns

    found = adult(setting, share)
    x = found.read("train", found.spec.sizes["train"])["x"]
    table = {}
    for at, column in enumerate(columns(found.spec)):
        names = np.array([*column.get("levels", ()), "?"])
        codes = np.where(np.isnan(x[:, at]), len(names) - 1, x[:, at]).astype(int)
        table[column["name"]] = pd.Categorical(names[codes]) if "levels" in column else x[:, at]
    frame = pd.DataFrame(table)

    def run() -> int:
        options = {"num_trees": TREES, "min_node_size": MIN_ROWS, "delta": 0, "max_iters": rounds - 1}
        forest = arf.arf(x=frame.copy(), verbose=False, **options)
        forest.forde()
        forest.forge(n=len(x))
        return 1

    return run


def pair(work: str, share: float, rounds: int, **others: Any) -> Pair:
    """Both programs on a share of the rows, and others on as many."""
    mine, peer = (partial(each, share=share, rounds=rounds) for each in (ours, theirs))
    return Pair(work, mine, {"arfpy": peer}, {name: partial(each, share=share) for name, each in others.items()})


PAIRS = {
    "forest": pair(
        "a forest of adult's 32,561 rows in one round, and as many drawn", 1, 1, **{"its trees alone": trees_alone}
    ),
    "forest_rounds": pair("the same of 3,256 rows, in rounds until they end", 0.1, MOST),
    "forest_whole": pair("the same of 32,561 rows, in rounds until they end", 1, MOST)._replace(slow=True),
}
