"""A generative forest of iris, offline: trees that classify real and drawn rows, with a density in each leaf.

    python -m gen_jax.train --config configs/forest.py [--config.data.path=FILE.csv]

The run takes 22 seconds of one CPU core beside other runs, nearly all of it to compile. The negative log-likelihood of
the test rows of iris is 1.87 nats.

The flags --config.data.name=binary --config.data.data_dir=FOLDER --config.data.set=SET read the sets of density
estimation. The forest is trained on the train split alone. A round takes 2 to 18 seconds on one core beside other
runs. These are the negative log-likelihoods of the test rows, with the flags for each set:

- nltcs: 6.002 nats, with --config.model.min_rows=20
- jester: 52.74 nats, with --config.model.min_rows=20 --config.model.trees=100
- plants: 12.19 nats, with --config.model.min_rows=30 --config.model.leaves=chow_liu (independent leaves: 13.05)

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
