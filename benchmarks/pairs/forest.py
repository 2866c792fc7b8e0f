"""A forest of adult beside arfpy's: ten trees with at least five rows in a leaf, as the paper's authors had it, and as many rows drawn.

arfpy (0.1.1) knows nothing of missing cells, so that `?` is a level. Both learn from the first tenth of the rows, in one
adversarial round: arfpy draws the rows of all in minutes. Its density and its conditional draws do not exist.
"""

from typing import Any

import numpy as np

from pairs import Pair, Run, Setting

TREES, MIN_ROWS, SHARE = 10, 5, 0.1


def adult(setting: Setting) -> Any:
    """The first rows of the train split."""
    from gen_jax import data

    options = {"split": "train", "test_split": "test", "feed": "resident", "order": "all"}
    folder = str(setting.data / "tabular")
    found = data.load({**options, "name": "adult", "data_dir": folder}, 1, 0, steps=1, quiet=True)
    num = round(SHARE * found.spec.sizes["train"])
    arrays = {name: value[:num] for name, value in found.arrays.items()}
    return found._replace(spec=found.spec._replace(sizes={"train": num}), arrays=arrays)


def our_fit(setting: Setting) -> Run:
    import jax

    from gen_jax.models import build_model

    found = adult(setting)
    spec, key = found.spec, jax.random.key(0)
    batch = {**found.arrays, "weight": np.ones(spec.sizes["train"], np.float32)}
    model = build_model({"name": "forest", "trees": TREES, "min_rows": MIN_ROWS}, spec)
    init, step = jax.jit(model.init), jax.jit(model.step)

    def run() -> int:
        run.state, _ = jax.block_until_ready(step(key, init(key, batch), batch))
        return 1

    run.model, run.spec = model, spec
    return run


def our_rows(setting: Setting) -> Run:
    from gen_jax.sample import draw

    fit = our_fit(setting)
    fit()

    def run() -> int:
        num = fit.spec.sizes["train"]
        draw(fit.model, fit.state, fit.spec, 0, num)
        return num

    return run


def arfpy_fit(setting: Setting) -> Run:
    import pandas as pd

    if not hasattr(np, "in1d"):
        np.in1d = np.isin  # arfpy 0.1.1 asks for it
    from arfpy import arf

    from gen_jax.data.spec import columns

    found = adult(setting)
    x = found.read("train", found.spec.sizes["train"])["x"]
    table = {}
    for at, column in enumerate(columns(found.spec)):
        names = np.array([*column.get("levels", ()), "?"])
        codes = np.where(np.isnan(x[:, at]), len(names) - 1, x[:, at]).astype(int)
        table[column["name"]] = pd.Categorical(names[codes]) if "levels" in column else x[:, at]
    frame = pd.DataFrame(table)

    def run() -> int:
        options = {"num_trees": TREES, "min_node_size": MIN_ROWS, "delta": 0, "max_iters": 0, "verbose": False}
        run.forest = arf.arf(x=frame.copy(), **options)
        run.forest.forde()
        return 1

    run.num = len(x)
    return run


def arfpy_rows(setting: Setting) -> Run:
    fit = arfpy_fit(setting)
    fit()

    def run() -> int:
        fit.forest.forge(n=fit.num)
        return fit.num

    return run


PAIRS = {
    "forest_fit": Pair("a forest of ten trees of 3,256 rows of adult", our_fit, {"arfpy": arfpy_fit}),
    "forest_rows": Pair("rows drawn from it", our_rows, {"arfpy": arfpy_rows}, rate="rows"),
}
