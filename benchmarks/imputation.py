"""Hidden cells of a table completed by a model, beside the mean or the mode and scikit-learn's IterativeImputer.

    python benchmarks/imputation.py iris --replica best [--hidden 0.1,0.3] [--seeds 3] [--config.a.b=VALUE ...]
    python benchmarks/imputation.py asia --config configs/bayes_net.py --config.steps=20 --config.model.structure.bootstraps=0
    python benchmarks/imputation.py adult --data_dir ../shared/data/tabular --replica best --config.model.components=20

Cells of the train split are hidden at random and the model learns from what is left. Errors are of the hidden cells alone:
of numbers the root mean square in standard deviations, of levels the share that is wrong. The model's guess is made of draws given what is seen: their mean, or the level drawn most often. IterativeImputer reads
levels as indicators of all but the first, and the largest of a column is its guess. One draw, the measure of a completion that keeps the
spread, is beside it.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer

import gen_jax
from gen_jax import config, data, train
from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.csv_files import to_csv
from gen_jax.data.tables.evidence import as_given
from gen_jax.verbs.draw import draw

CONFIG = Path(__file__).parents[1] / "configs" / "mixture.py"


def levelled(spec: Spec) -> np.ndarray:
    return np.array(["levels" in column for column in columns(spec)])


def errors(spec: Spec, truth: np.ndarray, guess: np.ndarray, hidden: np.ndarray) -> tuple[float, float]:
    """Root mean square of numbers, in deviations, and share of levels that are wrong."""
    off, real = (guess - truth) / np.asarray(spec.scale), ~levelled(spec)
    wrong = (guess != truth)[:, ~real][hidden[:, ~real]]
    return float(np.sqrt(np.square(off[:, real][hidden[:, real]]).mean())), float(wrong.mean())


def by_model(
    flags: argparse.Namespace, settings: list[str], spec: Spec, x: np.ndarray, folder: Path, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The mean or mode of 20 draws, and one draw."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hidden.csv").write_bytes(to_csv({"x": x}, spec))
    schema = {each["name"]: {name: each[name] for name in ("kind", "levels") if name in each} for each in columns(spec)}
    (folder / "schema.json").write_text(json.dumps(schema))
    options = [f"--config.data.path={folder / 'hidden.csv'}", f"--config.data.schema={folder / 'schema.json'}"]
    options.append("--config.data.holdout=0")
    options += ["--config.evaluate.metrics=('bic',)", f"--config.seed={seed}", "--config.sample_every=0", *settings]
    train.main(["train", "--config", flags.config, "--workdir", str(folder / "run"), "--quiet", *options])
    run = gen_jax.load(folder / "run", replica=flags.replica)
    given = as_given(run.spec, x)
    many = np.stack([draw(run.model, run.state, run.spec, each, len(x), given, size=8192)["x"] for each in range(20)])
    middle = many.mean(0)
    for at in np.flatnonzero(levelled(spec)):
        counts = [(many[:, :, at] == level).sum(0) for level in range(len(columns(spec)[at]["levels"]))]
        middle[:, at] = np.argmax(counts, 0)
    return middle, many[0]


def by_regressions(spec: Spec, x: np.ndarray, rounds: int) -> np.ndarray:
    """IterativeImputer on standardised numbers and indicators of levels, without the first: it follows from the others."""
    blocks = []
    for at, column in enumerate(columns(spec)):
        if "levels" not in column:
            blocks.append((x[:, at : at + 1] - spec.shift[at]) / spec.scale[at])
            continue
        held = (x[:, at : at + 1] == np.arange(1, len(column["levels"]))[None]).astype(float)
        blocks.append(np.where(np.isnan(x[:, at : at + 1]), np.nan, held))
    whole, guess, start = (
        IterativeImputer(random_state=0, max_iter=rounds).fit_transform(np.concatenate(blocks, 1)),
        x.copy(),
        0,
    )
    for at, block in enumerate(blocks):
        part = whole[:, start : start + block.shape[1]]
        first = 1 - part.sum(1, keepdims=True)
        level = np.concatenate([first, part], 1).argmax(1)
        guess[:, at] = level if levelled(spec)[at] else part[:, 0] * spec.scale[at] + spec.shift[at]
        start += block.shape[1]
    return np.where(np.isnan(x), guess, x)


def by_columns(spec: Spec, x: np.ndarray) -> np.ndarray:
    """The mean of numbers, the mode of levels."""
    middle = np.nanmean(x, 0)
    for at in np.flatnonzero(levelled(spec)):
        middle[at] = np.bincount(x[~np.isnan(x[:, at]), at].astype(int)).argmax()
    return np.where(np.isnan(x), middle[None], x)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--data_dir")
    parser.add_argument("--hidden", default="0.1,0.3")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--config", default=str(CONFIG))
    parser.add_argument("--replica", default="0")
    parser.add_argument("--rows", type=int, help="of the train split, from its first on; all where unset")
    parser.add_argument("--rounds", type=int, default=10, help="of IterativeImputer")
    parser.add_argument("--workdir", default="runs/imputation")
    flags, settings = parser.parse_known_args()
    warnings.simplefilter("ignore")
    options = {**config.plain(config.base_config())["data"], "name": flags.name, "data_dir": flags.data_dir}
    opened = data.load(options, batch_size=1, seed=0, steps=1, quiet=True)
    name = Path(flags.config).stem
    spec, truth, table = opened.spec, opened.read("train")["x"][: flags.rows], []
    for share in map(float, flags.hidden.split(",")):
        found: dict[str, list] = {}
        for seed in range(flags.seeds):
            hidden = (np.random.default_rng(seed).random(truth.shape) < share) & ~np.isnan(truth)
            hidden[hidden.all(1), 0] = False
            x = np.where(hidden, np.nan, truth)
            folder = Path(flags.workdir) / f"{flags.name}-{name}-{share}-{seed}"
            began = time.perf_counter()
            middle, one = by_model(flags, settings, spec, x, folder, seed)
            model_took, began = time.perf_counter() - began, time.perf_counter()
            regressed = by_regressions(spec, x, flags.rounds)
            regressions_took = time.perf_counter() - began
            for by, guess, took in (
                ("mean or mode", by_columns(spec, x), 0.0),
                ("IterativeImputer", regressed, regressions_took),
                (name, middle, model_took),
                (f"{name}, one draw", one, 0.0),
            ):
                found.setdefault(by, []).append((*errors(spec, truth, guess, hidden), took))
        table += [(f"{share:.0%}", name, *np.mean(rows, 0), *np.std(rows, 0)[:2]) for name, rows in found.items()]
    print(f"\n{flags.name}, {flags.seeds} seeds: hidden, by, RMSE of numbers, share of levels wrong (deviations), s")
    for share, name, number, level, took, *spread in table:
        print(f"{share:>5} {name:18} {number:.3f} ({spread[0]:.3f})  {level:.3f} ({spread[1]:.3f})  {took:6.1f}")


if __name__ == "__main__":
    main()
