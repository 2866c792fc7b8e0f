"""What the runner keeps of a pair, and the table and the measured result that it makes of it."""

import json
import os
import platform
import re
import statistics
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from gen_jax.errors import UserError
from gen_jax.verbs.result_file import commit

OURS = "gen_jax"
LIBRARIES = ("jax", "torch", "hmmlearn", "dynamax", "pgmpy", "arfpy", "scikit-learn", "pomegranate", "scipy", "numpy")
PROTOCOL = (
    "The same work in each program: the same nets, rows a batch, precision, data in memory. Each program has a process of "
    "its own, and the processes run by turns. Compiling is what the first round takes longer. Memory is the largest of a "
    "process."
)
NOTE = (
    "`products` is the LSTM without its gates, which no form of these products could undercut. `cold` is a start with "
    "nothing in the compilation cache."
)
HEAD = "| `--only` | work | ours | theirs | ratio | compiling, s | memory, GB |\n|---|---|---|---|---|---|---|"


def summary(first: tuple[float, int], seconds: list[float], memory: int) -> dict:
    """Of the seconds of a unit the median and half of the range between quartiles; seconds that compile; bytes.

    Args:
      first: seconds of a unit in the first round, and how many it did.
      seconds: of a unit in each round after it.
    """
    median, (low, high) = statistics.median(seconds), np.percentile(seconds, [25, 75])
    compiling = max(0.0, (first[0] - median) * first[1])
    return {"median": median, "spread": (high - low) / 2, "compile": compiling, "memory": memory, "seconds": seconds}


def machine() -> dict:
    """The processor, its cores, those this process may use, billions of float32 operations a second in a product; versions and commit."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    x, best = np.ones((2048, 2048), np.float32), np.inf
    for _ in range(4):
        began = time.perf_counter()
        x @ x
        best = min(best, time.perf_counter() - began)
    versions = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    cores = {"cores": os.cpu_count(), "usable": len(os.sched_getaffinity(0))}
    facts = {"cpu": names[0] if names else platform.processor(), **cores, "gflops": round(2 * 2048**3 / best / 1e9)}
    return {"machine": facts, "versions": versions, "commit": commit()}


def keep(folder: Path, result: dict) -> None:
    """Writes a result whole."""
    path = folder / f"{result['name']}.json"
    partly = path.with_suffix(".part")
    partly.write_text(json.dumps(result, indent=1))
    os.replace(partly, path)


def kept(folder: Path, names: Iterable[str]) -> list[dict]:
    """What was measured of these pairs, on a GPU too.

    Raises:
      UserError: where it is nothing.
    """
    paths = [path for name in names for path in (folder / f"{name}.json", *sorted(folder.glob(f"{name}-gpu-*.json")))]
    results = [json.loads(path.read_text()) for path in paths if path.exists()]
    if not results:
        raise UserError(f"nothing was measured yet in {folder}: run without --table")
    return results


def table(results: list[dict]) -> str:
    """The results as Markdown, and below it how, where and when they were measured."""
    results = [each for each in results if OURS in each["programs"]]
    if not results:
        return "nothing was measured"
    facts = results[-1]
    where = "{cpu}, {usable} of {cores} cores, {gflops} GFLOP/s in float32".format(**facts["machine"])
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    days = " to ".join(sorted({each["date"][:10] for each in results}))
    load = max(each["load"][0] for each in results)
    rounds = " or ".join(sorted({str(len(each["programs"][OURS]["seconds"])) for each in results}))
    below = (
        f"Medians of {rounds} rounds ± half of the range between quartiles; {where}; load at most {load:.1f}; {days}"
    )
    return "\n".join([HEAD, *map(row, results), "", f"{below}; {versions}."])


def row(result: dict) -> str:
    """A line of the table; compiling and memory are of the programs in the order of their times, ours first."""
    found, rate = result["programs"], result["rate"]
    peers = [label for label in result["peers"] if label in found]
    others = [label for label in found if label not in (OURS, *peers)]

    def shown(label: str) -> str:
        median, spread = found[label]["median"], found[label]["spread"]
        return f"{figure(median, rate)} ± {100 * spread / median:.0f} %"

    return "| {} |".format(
        " | ".join(
            [
                f"`{result['name']}`",
                result["work"],
                "; ".join([shown(OURS), *(f"{label} {shown(label)}" for label in others)]),
                ", ".join(f"{label} {shown(label)}" for label in peers),
                ", ".join(f"{found[label]['median'] / found[OURS]['median']:.3g}" for label in peers),
                " / ".join(f"{found[label]['compile']:.1f}" for label in (OURS, *peers)),
                " / ".join(f"{found[label]['memory'] / 1e9:.2f}" for label in (OURS, *peers)),
            ]
        )
    )


def record(results: list[dict]) -> dict:
    """Returns the results as a measured result, in the schema of `results/README.md`.

    Args:
      results: what `kept` returns; pairs that ours has failed in are left out.

    Raises:
      UserError: if no pair is left.
    """
    results = [result for result in results if OURS in result["programs"]]
    if not results:
        raise UserError("nothing was measured that can be recorded: run without --record")
    facts = results[-1]
    machine = facts["machine"]
    rounds = " or ".join(sorted({str(len(result["programs"][OURS]["seconds"])) for result in results}))
    days = " to ".join(sorted({result["date"][:10] for result in results}))
    load = max(result["load"][0] for result in results)
    percent = "half of the range between quartiles, in percent of the median"
    return {
        "title": f"Speed beside other programs on a {facts['device'].upper()}",
        "measured_by": "benchmarks/run.py",
        "protocol": f"{PROTOCOL} Medians of {rounds} rounds. The load was at most {load:.1f}. Measured on {days}.",
        "hardware": {
            "processor": machine["cpu"],
            "accelerator": None if facts["device"] == "cpu" else "unknown",
            "cores": "{usable} of {cores} cores, {gflops} GFLOP/s in float32".format(**machine),
        },
        "software": facts["versions"],
        "shared": {
            "config": None,
            "flags": "",
            "data": None,
            "commit": {"measured": facts.get("commit", "unknown"), "stated": None},
            "seeds": None,
            "time": None,
            "note": None,
        },
        "measures": {
            "duration": {"title": "time or rate", "unit": "", "better": None, "error_is": percent, "error_unit": "%"},
            "ratio": {"title": "time over the time of gen_jax", "unit": "", "better": None},
            "compiling": {"title": "compiling", "unit": "s", "better": "lower"},
            "memory": {"title": "memory", "unit": "GB", "better": "lower"},
        },
        "results": {name: entry for result in results for name, entry in entries(result).items()},
        "note": NOTE,
    }


def entries(result: dict) -> dict[str, dict]:
    """Returns the programs of a pair as entries of a measured result: ours, our other forms, and the peers."""
    programs, rate = result["programs"], result["rate"]
    peers = [label for label in result["peers"] if label in programs]
    others = [label for label in programs if label not in (OURS, *peers)]
    found = {}
    for label in (OURS, *others, *peers):
        program = programs[label]
        value, unit = figure(program["median"], rate).split(" ", 1)
        error = round(100 * program["spread"] / program["median"])
        metrics = {"duration": {"value": float(value.replace(",", "")), "unit": unit, "error": error}}
        if label in peers:
            metrics["ratio"] = {"value": float(f"{program['median'] / programs[OURS]['median']:.3g}")}
        if label not in others:
            metrics["compiling"] = {"value": round(program["compile"], 1)}
            metrics["memory"] = {"value": round(program["memory"] / 1e9, 2)}
        name = re.sub(r"\W+", "_", f"{result['name']}_{label}".lower()).strip("_")
        found[name] = {"label": label, "group": f"`{result['name']}`: {result['work']}", "metrics": metrics}
    return found


def figure(seconds: float, rate: str) -> str:
    """The time of a unit, or where there is a rate, units a second."""
    if rate:
        return f"{1 / seconds:,.0f} {rate}/s"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"
