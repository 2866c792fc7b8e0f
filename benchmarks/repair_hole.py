"""Holes in labelled images, filled by a conditional model of `data.hole` and by models that never saw a hole.

    python benchmarks/repair_hole.py --workdir=runs/repair --others=runs/repair_plain --latents=runs/gan,runs/vae [--num=297]

`--workdir` and `--others` are runs whose condition is the image with its hole. `--latents` are runs of the same images
without a condition, which fill the hole as gen_jax.inpaint does. Beside them stand the mean train image and the nearest train
row by the seen pixels. For each the table prints the mean absolute error of the hidden pixels, where the domain has the
length 2, and the share of the filled images that the project's classifier reads right. The seen pixels are those of the
image in each of them.
"""

import time
from collections.abc import Callable

import numpy as np
from repair import nearest

import gen_jax
from gen_jax import data
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import startup
from gen_jax.errors import UserError
from gen_jax.metrics.images import classifier
from gen_jax.verbs import complete


def main(argv: list[str]) -> None:
    """Prints a table of the runs."""
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of a run with data.hole"),
            "others": ("", "more such runs, separated by commas"),
            "latents": ("", "runs of the same images without a condition, separated by commas"),
            "num": (297, "how many test images"),
            "seed": (0, "of the draws"),
        },
        required="workdir",
    )
    startup.start()
    run = gen_jax.load(flags.workdir)
    options = run.config["data"]
    if not options.get("hole"):
        raise UserError(f"{flags.workdir} has no data.hole; expected a run of configs/repair.py")
    plain = {**options, "hole": None}
    source = data.open_source(plain)
    read = data.reader(source, plain)
    rows, train = read(options["test_split"], flags.num), read(options["split"], None)
    rows = {**rows, "c": data.reader(data.open_source(options), options)(options["test_split"], flags.num)["c"]}
    x, mask = rows["x"], np.repeat(rows["c"][..., -1:] == np.min(rows["c"]), rows["x"].shape[-1], -1)
    spec = run.spec._replace(condition=None, classes=source.classes, content=source.content)
    judge = classifier.trained(spec, read, options["split"], options["test_split"])
    span = float(np.max(spec.high) - np.min(spec.low))

    def line(name: str, fill: Callable[[], np.ndarray]) -> None:
        started = time.monotonic()
        filled = fill()
        seconds = time.monotonic() - started
        error = np.abs(filled.astype(float) - x)[~mask].mean() * 2 / span
        right = judge.describe(np.where(mask, x, filled).astype(x.dtype))[1].argmax(1) == rows["y"]
        print(f"{name[-32:]:<32}{error:>8.3f}{right.mean():>12.1%}{seconds:>8.1f}", flush=True)

    print(f"{len(x)} images{'':<22}{'error':>8}{'read right':>12}{'s':>8}")
    line("real images", lambda: x)
    line("mean train image", lambda: np.broadcast_to(train["x"].mean(0, keepdims=True), x.shape))
    line("nearest train row", lambda: nearest(train["x"], x, mask))
    for workdir in [flags.workdir, *filter(None, flags.others.split(","))]:
        paired = gen_jax.load(workdir)
        line(workdir, lambda: paired.sample(len(x), given={"c": rows["c"]}, seed=flags.seed)["x"])
    for workdir in filter(None, flags.latents.split(",")):
        other = gen_jax.load(workdir)
        line(
            workdir,
            lambda: complete.complete(other.model, other.state, other.spec, rows, mask, 1, flags.seed)[:, 0],
        )


if __name__ == "__main__":
    command(main)
