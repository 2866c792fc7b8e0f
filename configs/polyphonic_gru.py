"""A GRU of 200 units over piano rolls, with independent keys and a schedule in epochs, for any polyphonic set.

    python -m gen_jax.train --config configs/polyphonic_gru.py --config.data.path=Piano_midi.mat

It is meant for the four sets of Boulanger-Lewandowski et al. 2012 (arXiv 1206.6392), whose sizes differ by a factor of
13. The figures are for one seed and the test split, with all 88 keys and the first frame, by the checkpoint that is best
on the validation split. JSB chorales have 8.396 nats per frame after 62 s on two shared CPU cores; published GRUs have
8.54 (46 units, Chung et al. 2014) and 8.43 (Bai et al. 2018). Piano-midi has 7.691 after 257 s. On piano rolls that
were made from folk tunes in ABC notation, 60 epochs give 4.334, where a GRU of 46 units without dropout has 5.042.
There, whole pieces in twelve keys (--config.data.augment=transpose --config.data.window=None
--config.data.order=by_length) need more epochs, and 60 were worse.
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.epochs = 100.0
    config.batch_size = 16  # lanes
    config.select = "valid/nats_per_frame"
    config.log_every = 100
    config.sample_every = 1000
    config.eval_every = 100
    config.save_every = 1000
    config.data.path = "JSB_Chorales.mat"
    config.data.window = 100
    config.data.order = "lanes"
    config.sample.num = 4
    config.sample.length = 64
    config.model = {
        "name": "autoregressive",
        "net": {"name": "gru", "units": 200, "dropout": 0.3, "input_dropout": 0.2, "locked": False},
        "head": {"name": "bernoulli"},
        "optimizer": {
            "name": "adam",
            "learning_rate": {"start": 3e-3, "stop": 3e-5, "epochs": 100},
            "clip_norm": 1.0,
        },
    }
    return config
