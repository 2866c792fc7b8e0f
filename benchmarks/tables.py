"""What classifiers learn from the rows that models of tables draw: adult, F1 of both classes on the real test rows.

    python benchmarks/tables.py [--models=smote,tvae] [--seeds=1] [--valid] [--data_dir=../shared/data/tabular] [--out=runs/tables]

Each model learns from the 32,561 rows by the commands, and draws as many. Four classifiers of scikit-learn (those of CTGAN's
benchmark, see gen_jax/metrics/tables/efficacy.py) learn from the drawn rows and read the 16,281 of the test; the mean over them.
Beside them: real rows in the place of drawn ones. Seconds are of training and drawing. A run that is there goes on.
"""

import json
import time
from pathlib import Path

import numpy as np

import gen_jax
from gen_jax import config, data, train
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.csv_files import to_csv
from gen_jax.devices import startup
from gen_jax.errors import choose
from gen_jax.metrics.tables.efficacy import scores, summary
from gen_jax.metrics.tables.encoding import target_of
from gen_jax.storage import directory
from gen_jax.verbs import best_replica, draw

CONFIGS = Path(__file__).parents[1] / "configs"
MODELS = {  # name -> config, and settings for adult
    "smote": ["smote.py", "--config.model.within=income"],
    "mixture": ["mixture.py", "--config.model.components=50", "--config.replicas=1", "--config.steps=60"],
    "bayes_net": ["bayes_net.py", "--config.model.max_bins=10", "--config.model.structure.bootstraps=0"],
    "forest": [  # one round, as the authors of the method had it for adult
        *("forest.py", "--config.model.min_rows=5", "--config.model.trees=10", "--config.model.delta=0.5"),
        "--config.eval_every=0",
    ],
    "tvae": [  # by --valid, one seed: with twice the latents, batches or steps, or kl=0.2, it is worse
        *("tvae.py", "--config.batch_size=200", "--config.steps=20000", "--config.log_every=1000"),
        "--config.model.optimizer.learning_rate.examples=4000000",
    ],
    "diffusion": [
        *("diffusion_table.py", "--config.batch_size=500", "--config.steps=12000", "--config.log_every=1000"),
        *("--config.model.net.width=256", "--config.model.net.blocks=3"),
        "--config.model.optimizer.learning_rate.examples=6000000",
    ],
    "ctgan": ["ctgan.py", "--config.batch_size=500", "--config.epochs=300", "--config.log_every=1000"],  # the paper's
}


def drawn(options: list[str], settings: list[str], workdir: Path, seed: int, num: int | None = None) -> tuple:
    """As many rows as were learnt from, or `num`, of a model that is trained by its command, and the spec of the run.

    Of replicas among which a metric selects, the best one draws.
    """
    name, *more = options
    quiet = ["--config.sample_every=0", f"--config.seed={seed}", "--quiet"]
    train.main(["train", f"--config={CONFIGS / name}", f"--workdir={workdir}", *more, *settings, *quiet])
    chosen = "best" if (workdir / directory.BEST / best_replica.REPLICAS).exists() else 0
    run = gen_jax.load(workdir, replica=chosen)
    num = num or run.spec.sizes[run.spec.split]
    return draw.draw(run.model, run.state, run.spec, seed, num)["x"], run.spec


def few_rows(spec: Spec, x: np.ndarray, folder: Path) -> list[str]:
    """Writes rows [N, D] of a table and its schema; the settings that read them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.csv").write_bytes(to_csv({"x": x}, spec))
    facts = ("kind", "levels", "missing")
    schema = {each["name"]: {name: each[name] for name in facts if name in each} for each in columns(spec)}
    (folder / "schema.json").write_text(json.dumps(schema))
    schema_file = f"--config.data.schema={folder / 'schema.json'}"
    return [f"--config.data.path={folder / 'rows.csv'}", schema_file, "--config.data.holdout=0"]


def main(argv: list[str]) -> None:
    flags = command_line.parse(
        argv,
        {
            "models": (",".join(MODELS), "names, separated by commas"),
            "seeds": (1, "of each model"),
            "data_dir": ("../shared/data/tabular", "folder of adult"),
            "out": ("runs/tables", "folder of the runs"),
            "valid": (False, "choose settings: learn from four fifths of the rows, and read the fifth that is left"),
        },
        required=None,
    )
    names = [choose("model", name, MODELS) for name in flags.models.split(",")]
    startup.start()
    options = {**config.plain(config.base_config())["data"], "name": "adult", "data_dir": flags.data_dir}
    opened = data.load(options, batch_size=1, seed=0, steps=1, quiet=True)
    rows, test, target = opened.read("train")["x"], opened.read("test")["x"], target_of(opened.spec, None)
    settings = ["--config.data.name=adult", f"--config.data.data_dir={flags.data_dir}"]
    if flags.valid:
        rows, test = np.split(np.random.default_rng(0).permutation(rows), [len(rows) * 4 // 5])
        settings = few_rows(opened.spec, rows, Path(flags.out) / "rows")
    line("real rows", [scores(opened.spec, rows, test, target)], [0.0])
    for name in names:
        found, taken = [], []
        for seed in range(flags.seeds):
            began = time.monotonic()
            x, spec = drawn(MODELS[name], settings, Path(flags.out) / f"{name}{seed}", seed)
            taken.append(time.monotonic() - began)
            found.append(scores(spec, x, test, target))
        line(name, found, taken)


def line(name: str, found: list[dict], taken: list[float]) -> None:
    """Prints the means over seeds, with the standard error where there are several."""
    each = [summary(one) for one in found]
    values = {f"F1 {level}": [one[0][level] for one in each] for level in each[0][0]}
    values["accuracy"] = [one[1] for one in each]
    error = (lambda some: f" ± {np.std(some, ddof=1) / len(some) ** 0.5:.3f}") if len(found) > 1 else lambda some: ""
    shown = (f"{what} {np.mean(some):.3f}{error(some)}" for what, some in values.items())
    print(f"{name:12}", ", ".join(shown), f"{np.mean(taken):6.0f} s", flush=True)


if __name__ == "__main__":
    command(main)
