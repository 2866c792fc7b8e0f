"""How often a digit whose lower half is hidden is still read right when a run has completed it.

    python benchmarks/repair.py --workdir=runs/vae [--others=runs/gan,...] [--num=1000] [--completions=4] [--mask=lower]

Test images of labelled data are completed as gen_jax.inpaint does; the project's classifier, trained on the whole real
images of the same set and transform, reads them. Beside each run stand the real images, the hidden half left empty, and
filling by the nearest of the training rows by the visible half. It is checked that what is seen comes back to the bit and
that the completions of an image differ among themselves: `differ` is the share of their hidden numbers that differ between
the first two, `agree` the share of pairs that the classifier reads alike.
"""

import time

import numpy as np

import gen_jax
from gen_jax import data
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import startup
from gen_jax.errors import UserError
from gen_jax.metrics.images import classifier
from gen_jax.verbs import complete


def nearest(train: np.ndarray, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`x` [N, *shape] with the hidden numbers of the training row that is nearest by the visible ones of each `mask`."""
    rows = train.reshape(len(train), -1).astype(np.float32)
    squares, seen = np.square(rows), mask.reshape(len(x), -1).astype(np.float32)
    images = x.reshape(len(x), -1) * seen
    found = [np.argmin(squares @ shown - 2 * rows @ image) for shown, image in zip(seen, images)]
    return np.where(mask, x, train[np.array(found)])


def main(argv: list[str]) -> None:
    """Prints a table of the runs that `--workdir` and `--others` name."""
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of a run"),
            "others": ("", "more runs, separated by commas"),
            "num": (1000, "how many test images"),
            "completions": (4, "of each"),
            "mask": ("lower", "as gen_jax.inpaint takes"),
            "seed": (0, "of the completions"),
        },
        required="workdir",
    )
    startup.start()
    print(f"{'':<28}{'read right':>11}{'any of them':>12}{'agree':>8}{'differ':>8}{'s':>7}")
    for workdir in [flags.workdir, *filter(None, flags.others.split(","))]:
        report(workdir, flags.num, flags.completions, flags.mask, flags.seed)


def report(workdir: str, num: int, completions: int, how: str, seed: int) -> None:
    """Prints the figures of a run, and of what it is to be compared with."""
    loaded = gen_jax.load(workdir)
    options = {**loaded.config["data"], "test_name": None}  # a test set without labels is of no use here
    source = data.open_source(options)
    if not source.classes:
        raise UserError(f"{workdir}: {source.name} has no labels to read")
    spec = loaded.spec._replace(name=source.name, classes=source.classes, content=source.content)
    read = data.reader(source, options)
    judge = classifier.trained(spec, read, options["split"], options["test_split"])
    rows = read(options["test_split"], num)
    mask = complete.parse_mask(how, num, seed, spec)

    def right(x: np.ndarray) -> np.ndarray:
        return judge.describe(x)[1].argmax(1) == rows["y"]

    def line(name: str, good: np.ndarray, more: str = "") -> None:
        error = np.sqrt(good.mean() * (1 - good.mean()) / len(good))
        print(f"{name[-28:]:<28}{good.mean():>7.1%}±{error:.1%}{more}", flush=True)

    line("real images", right(rows["x"]))
    line("hidden half empty", right(np.where(mask, rows["x"], np.min(spec.low)).astype(rows["x"].dtype)))
    line("nearest training row", right(nearest(read(options["split"], None)["x"], rows["x"], mask)))
    started = time.monotonic()
    drawn = complete.complete(loaded.model, loaded.state, spec, rows, mask, completions, seed)
    seconds = time.monotonic() - started
    kept = [np.array_equal(drawn[:, each][mask], rows["x"][mask]) for each in range(completions)]
    if not all(kept):
        raise SystemExit(f"{workdir}: what is seen did not come back to the bit")
    labels = judge.describe(drawn.reshape(-1, *spec.shape))[1].argmax(1).reshape(num, completions)
    good = labels == rows["y"][:, None]
    first, second = drawn[:, 0], drawn[:, min(1, completions - 1)]
    differ = float((first != second)[~mask].mean())
    if completions > 1 and any(np.array_equal(*pair) for pair in zip(first, second)):
        print(f"{workdir}: some completions are the same")
    agree = float((labels[:, 0] == labels[:, min(1, completions - 1)]).mean())
    line(workdir, good.mean(1), f"{good.any(1).mean():>11.1%}{agree:>8.0%}{differ:>8.1%}{seconds:>7.0f}")


if __name__ == "__main__":
    command(main)
