"""Cost against work: time and memory of a training step as one side of the work grows by powers of two.

    python benchmarks/cost.py [--only states side] [--out runs/cost] [--summary docs/cost.png]

One study a family and side, on made-up data: the configs' models, smaller where a size needs it. A study's time is the
median of repeated calls of one compiled step, in milliseconds of the processor by all threads, so that what else the machine
does falls on none of them. Its memory is what that step's arguments and temporaries take by XLA's count, in MB: without what
scikit-learn takes for a forest, and NumPy for the search of a graph. The exponent is the slope of log cost against log size, by
least squares over the upper half of the sizes. Writes a picture a study, one of all, and `cost.json`, which keeps what it
holds of studies that are not run.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from gen_jax import data
from gen_jax.config import load_file, plain
from gen_jax.data.spec import Spec
from gen_jax.devices import startup
from gen_jax.models import build_model

CONFIGS = Path(__file__).parents[1] / "configs"
BUDGET, REPEATS = 1.0, 20  # seconds and calls, at most, that one size is timed for; three calls at least
SPEC = Spec("noise", "vector", (), "float32", 0.0, 1.0, -1.0, 1.0, (), {"train": 0}, "", {})
MIXTURE = {"name": "mixture", "components": 8, "floor": 1e-3}
FOREST = {"name": "forest", "trees": 10, "min_rows": 20}
NETWORK = {"name": "bayes_net", "max_bins": 4, "structure": {"name": "search", "max_parents": 2}}


class Study(NamedTuple):
    """What grows, and what is trained on it."""

    family: str
    side: str  # what is counted on the axis
    sizes: list[int]
    work: Callable[[int], tuple]  # size -> model options, spec, batch; or what `step_of` gives


def powers(first: int, last: int) -> list[int]:
    return [first << at for at in range((last // first).bit_length())]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def config(name: str, **changes) -> dict:
    return {**plain(load_file(CONFIGS / f"{name}.py").model), **changes}


def images(name: str, rows: int, side: int) -> tuple:
    return config(name), SPEC._replace(kind="image", shape=(side, side, 1)), {"x": normal(rows, side, side, 1)}


def text(options: dict, rows: int, frames: int, values: int = 65) -> tuple:
    x = np.random.default_rng(0).integers(0, values, (rows, frames)).astype(np.int32)
    facts = {"dtype": "int32", "high": values - 1, "info": {"vocabulary": ["a"] * values}}
    return options, SPEC._replace(kind="text", shape=(frames,), sizes={"train": rows}, **facts), {"x": x}


def table(options: dict, rows: int, columns: int) -> tuple:
    """Each column leans on the one before."""
    x = normal(rows, columns)
    for at in range(1, columns):
        x[:, at] = 0.7 * x[:, at - 1] + 0.7 * x[:, at]
    return options, SPEC._replace(shape=(columns,), sizes={"train": rows}), {"x": x}


def fed(rows: int) -> Callable[[], None]:
    """Steps of the MLP GAN as the loop has them: batches of 128 rows from a resident set of so many."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.npy")
        np.save(path, np.random.default_rng(0).integers(0, 17, (rows, 8, 8, 1)).astype(np.uint8))
        options = {"path": str(path), "split": "train", "test_split": "test", "feed": "resident", "order": "shuffle"}
        options = {**plain(load_file(CONFIGS / "gan.py").data), **options}
        found = data.load(options, batch_size=128, seed=0, steps=10**6, quiet=True)
    model, arrays = build_model(config("gan"), found.spec), jax.device_put(found.arrays)
    init_key, step_key = jax.random.split(jax.random.key(0))
    state = jax.jit(model.init)(init_key, found.batch(arrays, found.at(0)))
    step = jax.jit(lambda state, arrays, fed: model.step(step_key, state, found.batch(arrays, fed)))
    step, feed = step.lower(state, arrays, found.at(0)).compile(), found.stream(0, 10**6)
    return lambda: jax.block_until_ready(step(state, arrays, next(feed))), memory(step)


def step_of(options: dict, spec: Spec, batch: dict) -> tuple[Callable[[], None], float]:
    """The compiled first step, and its MB."""
    model, (init_key, step_key) = build_model(options, spec), jax.random.split(jax.random.key(0))
    batch = jax.device_put({**batch, "weight": np.ones(len(batch["x"]), np.float32)})
    arguments = step_key, jax.jit(model.init)(init_key, batch), batch
    step = jax.jit(model.step).lower(*arguments).compile()
    return lambda: jax.block_until_ready(step(*arguments)), memory(step)


def memory(step: jax.stages.Compiled) -> float:
    found = step.memory_analysis()
    return (found.argument_size_in_bytes + found.temp_size_in_bytes) / 1e6


GRU = {"name": "autoregressive", "net": {"name": "gru", "units": 128}}
STUDIES = {
    "batch": Study("gan, MLP", "rows of a batch", powers(32, 4096), lambda size: images("gan", size, 8)),
    "side": Study("gan, DCGAN", "pixels of a side, 16 images", powers(8, 128), lambda size: images("dcgan", 16, size)),
    "length": Study(
        "autoregressive, GRU", "tokens of a sequence, 16 rows", powers(32, 2048), lambda size: text(GRU, 16, size)
    ),
    "states": Study("hmm", "states", powers(8, 512), lambda size: text({"name": "hmm", "states": size}, 64, 128)),
    **{
        f"columns_{name}": Study(options["name"], f"columns, {rows:,} rows", sizes, partial(make, options, rows))
        for name, options, rows, sizes in (
            ("mixture", MIXTURE, 10_000, powers(4, 64)),
            ("forest", FOREST, 2_000, powers(4, 64)),
            ("network", NETWORK, 2_000, powers(4, 64)),
        )
        for make in (lambda options, rows, size: table(options, rows, size),)
    },
    **{
        f"rows_{name}": Study(options["name"], "rows of a table, 8 columns", sizes, partial(make, options))
        for name, options, sizes in (
            ("mixture", MIXTURE, powers(2**11, 2**18)),
            ("forest", FOREST, powers(2**9, 2**14)),
            ("network", NETWORK, powers(2**11, 2**17)),
        )
        for make in (lambda options, size: table(options, size, 8),)
    },
    "rows_fed": Study("gan, MLP", "rows of a data set, 128 a step", powers(2**15, 2**20), fed),
}


def measured(study: Study, size: int) -> dict[str, float]:
    """Median milliseconds of a step by all threads, its MB, and the seconds until it was ready."""
    began = time.perf_counter()
    work = study.work(size)
    run, taken = work if callable(work[0]) else step_of(*work)
    run()
    ready, times = time.perf_counter(), []
    while len(times) < 3 or (len(times) < REPEATS and time.perf_counter() < ready + BUDGET):
        start = time.process_time()
        run()
        times.append(1e3 * (time.process_time() - start))
    return {"size": size, "ms": statistics.median(times), "MB": taken, "ready_s": ready - began}


def exponent(points: list[dict], cost: str) -> float:
    upper = points[len(points) // 2 :]
    return float(np.polyfit(*(np.log([point[name] for point in upper]) for name in ("size", cost)), 1)[0])


def draw(found: dict[str, dict], path: Path) -> None:
    """A panel a study: milliseconds and MB against size, each with its exponent."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    width = min(4, len(found))
    height = -(-len(found) // width)
    figure = Figure(figsize=(2.7 * width, 0.3 + 2.1 * height), layout="constrained")
    panels = figure.subplots(height, width, squeeze=False).flat
    for study, panel in zip(found.values(), panels):
        for cost, marker in (("ms", "o"), ("MB", "x")):
            sizes, costs = zip(*((point["size"], point[cost]) for point in study["points"]))
            label = f"{cost} ~ n^{study['exponents'][cost]:.2f}"
            panel.loglog(sizes, costs, marker=marker, markersize=4, linewidth=1, label=label)
        panel.set_xscale("log", base=2)
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.set_title(study["family"], fontsize=9, pad=3)
        panel.set_xlabel(f"n: {study['side']}", fontsize=8)
        panel.legend(fontsize=7, frameon=False)
        panel.grid(alpha=0.3)
        panel.tick_params(labelsize=7)
    for panel in panels:
        panel.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", choices=STUDIES, default=[*STUDIES])
    parser.add_argument("--out", type=Path, default=Path("runs/cost"))
    parser.add_argument("--summary", type=Path, help="a picture of all studies; OUT/all.png where unset")
    options = parser.parse_args()
    startup.start()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "cost.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, JAX {jax.__version__}"
    for name in options.only:
        study, points = STUDIES[name], []
        for size in study.sizes:
            points.append(measured(study, size))
            print(
                "{} {size}: {ms:.1f} ms, {MB:.1f} MB, ready after {ready_s:.1f} s".format(name, **points[-1]),
                flush=True,
            )
        exponents = {cost: exponent(points, cost) for cost in ("ms", "MB")}
        print(f"{name}: ms ~ size^{exponents['ms']:.2f}, MB ~ size^{exponents['MB']:.2f}", flush=True)
        found[name] = {"family": study.family, "side": study.side, "machine": machine, "exponents": exponents}
        found[name]["points"] = points
        draw({name: found[name]}, options.out / f"{name}.png")
        path.write_text(json.dumps(found, indent=1) + "\n")
    draw({name: found[name] for name in STUDIES if name in found}, options.summary or options.out / "all.png")


if __name__ == "__main__":
    main()
