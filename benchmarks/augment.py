"""Whether samples of a conditional model help a classifier that has few labelled digits.

    pip install -e .
    python benchmarks/augment.py [--sizes=100,300,1000] [--seeds=10] [--synthetic=5000] [--out=runs/augment]

For each seed the 1,797 digits of scikit-learn are shuffled; the first `size` of them train the generative models and the classifiers,
the last 797 test. The samples of a model, each label as often as any, join the real rows, repeated so that both weigh the same. Beside
them: the real rows alone, and with those moved by a pixel each way, the classical augmentation. Prints the mean accuracy in
percent over the seeds with its standard error, and that of the paired difference to the real rows alone.
"""

import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

import gen_jax
from gen_jax import train
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import startup
from gen_jax.verbs import draw

TEST, CLASSES = 797, 10
CONFIGS = Path(__file__).parents[1] / "configs"
MODELS = {
    "CVAE": ["cvae.py", "--config.steps=1500"],
    "cGAN": ["gan.py", "--config.model.conditional=True", "--config.steps=4000", "--config.eval_every=0"],
}
CLASSIFIERS = {
    "SVM": lambda seed: SVC(C=10.0),
    "MLP": lambda seed: MLPClassifier((128,), max_iter=1000, random_state=seed),
}


def moved(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images [N, 8, 8, 1] moved by a pixel left, right, up and down, and their labels."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    places = (0, 1), (2, 1), (1, 0), (1, 2)
    return np.concatenate([padded[:, row : row + 8, column : column + 8] for row, column in places]), np.tile(y, 4)


def drawn(options: list[str], rows: Path, num: int, seed: int, workdir: Path) -> tuple[np.ndarray, np.ndarray]:
    """`num` samples of a model trained on a file of rows, and the labels that were asked for."""
    name, *more = options
    more = [*more, "--config.sample_every=0", f"--config.seed={seed}", f"--config.data.path={rows}", "--quiet"]
    train.main(["train", f"--config={CONFIGS / name}", *more, f"--workdir={workdir}"])
    run, labels = gen_jax.load(str(workdir)), np.arange(num, dtype=np.int32) % CLASSES
    return draw.draw(run.model, run.state, run.spec, seed, num, {"y": labels})["x"], labels


def accuracies(x: np.ndarray, y: np.ndarray, more: tuple | None, test: tuple, seed: int) -> list[float]:
    """Percent of the test rows that each classifier reads right."""
    if more is not None:
        times = -(-len(more[0]) // len(x))
        x, y = (np.concatenate([*[real] * times, made]) for real, made in zip((x, y), more))
    fitted = [make(seed).fit(x.reshape(len(x), -1) / 16, y) for make in CLASSIFIERS.values()]
    return [100 * each.score(test[0].reshape(TEST, -1) / 16, test[1]) for each in fitted]


def main(argv: list[str]) -> None:
    flags = command_line.parse(
        argv,
        {
            "sizes": ("100,300,1000", "labelled digits"),
            "seeds": (10, "of each size"),
            "first": (0, "the first of the seeds"),
            "synthetic": (5000, "samples of a model"),
            "out": ("runs/augment", "folder of the runs"),
        },
        required=None,
    )
    startup.start()
    digits = load_digits()
    x, y = digits.images.astype(np.int16)[..., None], digits.target.astype(np.int32)
    print(f"{'':<22}" + "".join(f"{name:>14}{'difference':>16}" for name in CLASSIFIERS))
    for size in map(int, flags.sizes.split(",")):
        found: dict[str, list] = {}
        began = time.monotonic()
        for seed in range(flags.first, flags.first + flags.seeds):
            order = np.random.default_rng(seed).permutation(len(x))
            few, test = order[:size], (x[order[-TEST:]], y[order[-TEST:]])
            out = Path(flags.out) / f"{size}_{seed}"
            out.mkdir(parents=True, exist_ok=True)
            np.savez(out / "rows.npz", x=x[few], y=y[few])
            more = {"real rows": None, "and moved ones": moved(x[few], y[few])}
            for name, options in MODELS.items():
                more[f"and {name} samples"] = drawn(options, out / "rows.npz", flags.synthetic, seed, out / name)
            for name, each in more.items():
                found.setdefault(name, []).append(accuracies(x[few], y[few], each, test, seed))
        for name, values in found.items():
            values, alone = np.array(values), np.array(found["real rows"])
            line = f"{size:>5} {name:<16}"
            for mean, error, gain, of_gain in zip(*spread(values), *spread(values - alone)):
                line += f"{mean:>8.1f} ±{error:>4.1f}{gain:>+9.1f} ±{of_gain:>4.1f} "
            print(line, flush=True)
        print(f"      {time.monotonic() - began:.0f} s")


def spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error over the seeds, of each column."""
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))


if __name__ == "__main__":
    command(main)
