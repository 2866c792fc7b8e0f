"""The cost of a sample beside its quality, for the solvers of a diffusion model.

    python benchmarks/solvers.py --workdir=runs/diffusion_gaussians [--metric=reverse_kl] [--num=2500] [--out=solvers.png]

Each solver draws `--num` samples with several numbers of steps, and `--metric` scores them. A pass is an evaluation of the
net. Euler's method and the multistep method have one pass a step, and Heun's method two. Seconds are for 1,000 samples, the
second time, when all is compiled.
"""

import time
from pathlib import Path

import numpy as np

import gen_jax
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import startup
from gen_jax.errors import UserError
from gen_jax.verbs import score
from gen_jax.verbs.draw import draw
from gen_jax.verbs.evaluation import replica_scores

SOLVERS = {  # name -> options of the sampler, and passes of a step
    "euler": ({"solver": "euler"}, 1),
    "multistep": ({"solver": "multistep"}, 1),
    "heun": ({"solver": "heun"}, 2),
    "ancestral": ({"solver": "euler", "churn": 1.0}, 1),
}
PASSES = (4, 8, 16, 32, 64, 128, 256)


def main(argv: list[str]) -> None:
    """Prints a table, and draws a curve for each solver."""
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of a run of a diffusion model"),
            "metric": ("", "measure of the samples; by default the first of the config"),
            "num": (2500, "number of samples"),
            "seed": (0, "of the samples"),
            "out": ("solvers.png", "picture to write"),
        },
        required="workdir",
    )
    startup.start()
    run = gen_jax.load(flags.workdir)
    if "solver" not in run.model.options:
        raise UserError(f"{flags.workdir} is no diffusion model; expected one, whose sampler has solvers")
    metric = flags.metric or run.config["evaluate"]["metrics"][0]
    scorer = score.scorer_of(run, [metric], flags.num)
    points: dict[str, list[tuple[int, float]]] = {}
    print(f"{'':<12}{'steps':>6}{'passes':>8}{metric:>16}{'s per 1,000':>13}")
    for name, (options, passes) in SOLVERS.items():
        for total in PASSES:
            how = {**options, "steps": total // passes}
            for _ in range(2):
                start = time.perf_counter()
                samples = draw(run.model, run.state, run.spec, flags.seed, flags.num, how=how)
                seconds = (time.perf_counter() - start) * 1000 / flags.num
            found = replica_scores(scorer, run, samples)[metric]
            value = np.nan if found["value"] is None else found["value"]  # few steps may miss a mode
            points.setdefault(name, []).append((total, value))
            print(f"{name:<12}{total // passes:>6}{total:>8}{value:>16.4g}{seconds:>13.3f}", flush=True)
    picture(points, metric, found["oracle"], Path(flags.out))
    print(f"real data: {found['oracle']:.4g}; curves in {flags.out}")


def picture(points: dict[str, list[tuple[int, float]]], metric: str, oracle: float, out: Path) -> None:
    """Draws the measure against the number of passes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    panel = figure.subplots()
    for name, curve in points.items():
        panel.plot(*np.transpose(curve), "o-", label=name)
    panel.axhline(oracle, color="black", linestyle="dotted", label="real data")
    positive = oracle > 0 and all(value > 0 for curve in points.values() for _, value in curve if np.isfinite(value))
    panel.set(xscale="log", yscale="log" if positive else "linear", xlabel="passes of the net", ylabel=metric)
    panel.legend()
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    command(main)
