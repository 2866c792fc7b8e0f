"""A generative forest of a table: trees that tell real rows from drawn ones, a density in their leaves. Iris (offline).

    python -m gen_jax.train --config configs/forest.py [--config.data.path=FILE.csv]

22 seconds of one CPU core beside other runs, nearly all of it to compile. Test rows of iris: -1.92 nats.

    python -m gen_jax.sample --workdir runs/forest --num 150 --out iris.csv
    python -m gen_jax.sample --workdir runs/forest --given "species=setosa,petal width (cm)=0.4" --out some.csv
    python -m gen_jax.sample --workdir runs/forest --given FILE.csv --out completed.csv --completions 5
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 10  # rounds, at most: once the forest is done they cost nothing
    config.log_every = 1
    config.sample_every = 10
    config.eval_every = 10
    config.save_every = 5
    config.data.name = "iris"
    config.data.order = "all"
    config.sample.num = 150
    config.evaluate.metrics = ("log_likelihood",)
    config.model = {"name": "forest", "trees": 50, "min_rows": 5, "leaves": "independent", "pseudo_rows": 0.1}
    return config
