"""Summaries of one line by a transformer that may copy words of the text (See et al. 2017, arXiv 1704.04368).

    python -m gen_jax.train --config configs/summarise.py --config.data.path=debian_summaries/train.tsv.gz

The columns of the file are name, text and summary, and val.tsv.gz and test.tsv.gz stand beside it. The run takes
1,388 seconds on two shared CPU cores, with tests beside it. With one seed, the scores of its summaries of the test
split by a beam of 4 are 38.27, 18.52 and 35.26 % ROUGE-1, ROUGE-2 and ROUGE-L. A rule has 35.3, 17.3 and 31.9: eight
words of the first sentence, after "is a", "provides" or "contains". The nearest train summary has 22.7, 7.2 and 20.9.

    python -m gen_jax.sample --workdir runs/summarise --given split=test --num 20 --out summaries.tsv
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("translate.py"))
    config.steps = 1500
    config.batch_size = 64
    config.eval_every = 500
    config.sample_every = 500
    config.save_every = 500
    config.data.path = "debian_summaries/train.tsv.gz"
    config.data.condition = "2"
    config.data.target = "3"
    config.data.test_split = "test"
    config.model.copies = True
    config.model.net.layers = 2
    config.model.net.encoder = 2
    rate = config.model.optimizer.learning_rate
    rate.examples, rate.warm_up = config.steps * config.batch_size, 50 * config.batch_size
    return config
