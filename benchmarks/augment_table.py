"""Whether rows that a model draws help classifiers that have few rows: 200 of adult, 10 seeds.

    python benchmarks/augment_table.py [--models=smote,tvae] [--size=200] [--seeds=10] [--synthetic=1000] [--out=runs/augment_table]

For each seed `size` rows are drawn from the training split; the models learn from them by their commands. What they draw joins
the real rows, repeated so that both weigh the same, and the classifiers of benchmarks/tables.py are tested on the whole test
split. Prints the mean over the seeds of F1 of both classes with its standard error, and that of the paired difference to the
real rows alone.
"""

from pathlib import Path

import numpy as np
from augment import spread
from tables import drawn, few_rows

from gen_jax import config, data
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.spec import columns
from gen_jax.devices import startup
from gen_jax.errors import choose
from gen_jax.metrics.tables.efficacy import scores, summary
from gen_jax.metrics.tables.encoding import target_of

MODELS = {  # name -> config, and settings for a few hundred rows
    "smote": ["smote.py", "--config.model.within=income"],
    "mixture": ["mixture.py", "--config.model.components=3", "--config.replicas=1", "--config.model.floor=0.01"],
    "bayes_net": ["bayes_net.py", "--config.model.structure.bootstraps=0"],
    "forest": ["forest.py", "--config.eval_every=0"],
    "tvae": ["tvae.py", "--config.batch_size=100", "--config.steps=1500"],
    "ctgan": ["ctgan.py", "--config.batch_size=100", "--config.steps=1500"],
}


def main(argv: list[str]) -> None:
    flags = command_line.parse(
        argv,
        {
            "models": (",".join(MODELS), "names, separated by commas"),
            "size": (200, "real rows"),
            "seeds": (10, "of rows, models and draws"),
            "synthetic": (1000, "rows of a model"),
            "data_dir": ("../shared/data/tabular", "folder of adult"),
            "out": ("runs/augment_table", "folder of the runs"),
        },
        required=None,
    )
    names = [choose("model", name, MODELS) for name in flags.models.split(",")]
    startup.start()
    options = {**config.plain(config.base_config())["data"], "name": "adult", "data_dir": flags.data_dir}
    opened = data.load(options, batch_size=1, seed=0, steps=1, quiet=True)
    spec, train, test = opened.spec, opened.read("train")["x"], opened.read("test")["x"]
    target, found = target_of(spec, None), {}
    for seed in range(flags.seeds):
        rows = train[np.random.default_rng(seed).choice(len(train), flags.size, replace=False)]
        folder = Path(flags.out) / f"{flags.size}_{seed}"
        settings = few_rows(spec, rows, folder)
        more = {"real rows": np.empty((0, rows.shape[1]))}
        for name in names:
            more[f"and {name}"] = drawn(MODELS[name], settings, folder / name, seed, flags.synthetic)[0]
        for name, each in more.items():
            times = max(1, -(-len(each) // len(rows)))
            mean, _ = summary(scores(spec, np.concatenate([*[rows] * times, each]), test, target))
            found.setdefault(name, []).append([*mean.values()])
        table(columns(spec)[target]["levels"], found)


def table(levels: list[str], found: dict[str, list]) -> None:
    """Prints what is known so far."""
    print(f"\n{len(found['real rows'])} seeds: " + ", ".join(f"F1 {level} (difference)" for level in levels))
    for name, values in found.items() if len(found["real rows"]) > 1 else ():
        values, alone = np.array(values), np.array(found["real rows"])
        cells = zip(*spread(values), *spread(values - alone))
        shown = (f"{mean:.3f} ± {error:.3f} ({gain:+.3f} ± {of_gain:.3f})" for mean, error, gain, of_gain in cells)
        print(f"{name:16}" + "   ".join(shown), flush=True)


if __name__ == "__main__":
    command(main)
