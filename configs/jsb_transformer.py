r"""A transformer over four-part chorales in quarter notes, with a head that models the dependence between keys.

    python -m gen_jax.train --config configs/jsb_transformer.py --config.data.path=JSB_Chorales.mat

In training, each chorale moves by up to six semitones, which no published figure of this set does. The run takes
368 to 509 seconds on two shared CPU cores. With one seed, the test split has 6.059 nats per frame, and the validation
split 6.015. Most chorales of this file are in C, so that a second run, from the first, learns in one key:

    python -m gen_jax.train --config configs/jsb_transformer.py --config.data.path=JSB_Chorales.mat \
        --fork runs/jsb_transformer --workdir runs/jsb_in_c --config.data.augment=None --config.steps=4800 \
        --config.model.net.dropout=0.35 --config.model.optimizer.learning_rate.start=1e-4 \
        --config.model.optimizer.learning_rate.stop=1e-4 --config.eval_every=50

After 256 seconds more, the test split has 5.832 and the validation split 5.858. In one key from the start, the validation
split has 7.30 at best. The GRU with the same head (`jsb_gru_structured.py`), which is trained in one key, has 5.86.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("jsb_gru.py"))
    config.steps = 3000
    config.data.augment = "transpose"
    config.data.order = "by_length"
    config.model = {
        "name": "autoregressive",
        "net": {"name": "transformer", "units": 96, "layers": 3, "heads": 4, "context": 64, "dropout": 0.2},
        "head": {"name": "visible"},
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"start": 2e-3, "stop": 1e-4, "examples": config.steps * config.batch_size},
            "weight_decay": 0.1,
            "clip_norm": 1.0,
        },
    }
    return config
