"""A mixture of three components over the four numbers and the species of iris (offline), by EM.

    python -m gen_jax.train --config configs/mixture.py

Five restarts take 25 seconds of one CPU core, nearly all of it to compile. Four of the five end in the best maximum.
The negative log-likelihood of the 30 test rows, species included, is 1.508 nats a row (standard error over the rows
0.38). The BIC of the 120 training rows is 540.7. These commands draw rows from the restart with the best BIC, or
complete rows that have missing cells:

    python -m gen_jax.sample --workdir runs/mixture --replica best --num 150 --out iris.csv
    python -m gen_jax.sample --workdir runs/mixture --replica best --given "species=setosa,petal width (cm)=0.4" --out some.csv
    python -m gen_jax.sample --workdir runs/mixture --replica best --given FILE.csv --out completed.csv --completions 5
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 100  # iterations
    config.replicas = 5  # restarts, of which BIC chooses: --replica best
    config.select = "bic"
    config.log_every = 10
    config.sample_every = 100
    config.eval_every = 100
    config.save_every = 100
    config.data.name = "iris"
    config.data.order = "all"
    config.sample.num = 150
    config.model = {"name": "mixture", "components": 3, "covariance": "full", "floor": 1e-3}
    return config
