"""A generative forest of iris, offline: trees that classify real and drawn rows, with a density in each leaf.

    python -m gen_jax.train --config configs/forest.py [--config.data.path=FILE.csv]

22 seconds of one CPU core beside other runs, nearly all of it to compile. Test rows of iris: negative log-likelihood 1.87 nats.

The sets of density estimation, 2 to 18 seconds a round on one core beside other runs, learnt from the train split alone, with
--config.data.name=binary --config.data.data_dir=FOLDER --config.data.set=SET and
nltcs, --config.model.min_rows=20: 6.002 nats; jester, --config.model.min_rows=20 --config.model.trees=100: 52.74 nats;
plants, --config.model.min_rows=30 --config.model.leaves=chow_liu: 12.19 nats (independent leaves: 13.05).

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
    config.model = {"name": "forest", "trees": 50, "min_rows": 5, "leaves": "independent", "pseudo_rows": 0.1}
    return config
