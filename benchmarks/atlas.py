"""The atlas: every family that can model some data meets every other on the same data, in the same time, by the same measures.

    python benchmarks/atlas.py [--only=grid,mnist] [--minutes=5] [--seeds=1] [--members=gan,autoregressive_lstm] [--data_dir=DIR]
    python benchmarks/atlas.py --only=mnist --add=mine=my_config.py          # a family of your own beside them
    python benchmarks/atlas.py --only=grid --record=results/atlas_grid.json --picture=docs/atlas/grid.png

`benchmarks/arenas.py` names the data and the families. A family is its config, of which the atlas changes the data and
the number of steps: as many as a trial of `TRIAL` seconds says fit into the time, with the schedules of the config
stretched or shortened to them. A run learns in a process of its own, whose memory is the largest that it ever had. Its
checkpoints at a quarter, a half and three quarters are scored too, so that the time to a goal is known to a quarter of the
run. What is measured already is not measured again.
"""

import json
import multiprocessing
import resource
import shutil
import textwrap
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from arenas import ARENAS, CONFIGS, Arena, Member
from ml_collections import ConfigDict
from PIL import Image, ImageDraw

import gen_jax as gj
from gen_jax import files
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.config import base_config, load_file
from gen_jax.data.kinds import kind_of
from gen_jax.devices import startup
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.storage import directory
from gen_jax.storage.metrics_file import read_metrics
from gen_jax.training.fit import changed_config
from gen_jax.verbs import result_file

TRIAL, PERIOD = 20.0, 20  # seconds of a trial, and steps between two looks at the clock
QUARTERS = 4
OWN = ("order", "window", "transform", "augment", "encoding", "frames")  # how a family reads the data
LIKELIHOODS = ("nll", "nll_bound", "bits_per_dim")  # of the families that have them
COSTS = {  # name -> title, unit
    "train_seconds": ("time to train", "s"),
    "goal_seconds": ("time to the goal", "s"),
    "sampling": ("time for 1,000 samples", "s"),
    "memory": ("memory", "GB"),
    "steps": ("steps", ""),
}
SIDE, GAP, LINE = 280, 12, 18  # pixels of a tile of the picture, between tiles, and of a title


def experiment(arena: Arena, member: Member, seed: int, steps: int, data_dir: str | None) -> ConfigDict:
    """Returns the config of a run: that of the family, on the data of the arena."""
    original = load_file(CONFIGS / member.config)
    config = changed_config(original, member.changes)
    data = base_config().data
    own = {name: config.data[name] for name in OWN}
    data.update({**own, **arena.data, "data_dir": data_dir})
    if data.path is not None and data_dir is not None:
        data.path, data.data_dir = str(Path(data_dir) / data.path), None
    stretched = steps * config.batch_size / max(1, original.steps * original.batch_size)
    config.model = ConfigDict(with_examples(config.model.to_dict(), stretched))
    config.data = data
    config.update({"seed": seed, "steps": steps, "replicas": 1, "epochs": None, "sample_every": 0, "keep": QUARTERS})
    config.eval_every = max(1, steps // 8) if config.select else 0
    config.log_every, config.save_every = max(1, steps // 50), max(1, -(-steps // QUARTERS))
    config.sample.length = arena.length
    return config


def with_examples(options: Any, ratio: float) -> Any:
    """Returns options whose schedules, in examples, last `ratio` times as long."""
    if not isinstance(options, Mapping):
        return options
    return {
        name: max(1, round(value * ratio)) if name == "examples" else with_examples(value, ratio)
        for name, value in options.items()
    }


def learn(config: ConfigDict, workdir: Path, seconds: float | None = None) -> int:
    """Trains a run, at most for some seconds after its first steps; the largest memory of this process in bytes."""
    moments: list[float] = []

    def clock(snapshot: Any) -> Any:
        moments.append(time.monotonic())
        return gj.STOP if len(moments) > 3 and moments[-1] > moments[0] + seconds else None

    gj.fit(config, workdir, hooks=[] if seconds is None else [gj.every(PERIOD, clock)])
    return largest_memory()


def largest_memory() -> int:
    """Returns the largest memory of this process in bytes.

    Linux counts what the parent had at the start in `ru_maxrss`, so the file of the process is read where there is one.
    """
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def alone(function: Any, *arguments: Any) -> Any:
    """Calls a function in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def affordable_steps(configured: Any, place: Path, minutes: float) -> int:
    """Returns the number of steps that fit into the time, by a trial, which is made once."""
    path = place / "steps.json"
    if not path.exists():
        trial = place / "trial"
        shutil.rmtree(trial, ignore_errors=True)
        config = configured(0, 10**6)
        config.log_every = PERIOD
        config.save_every = 0
        alone(learn, config, trial, TRIAL)
        first, *_, last = read_metrics(trial)
        rate = (last["step"] - first["step"]) / (last["seconds"] - first["seconds"])
        files.write_json(path, {"steps": max(QUARTERS, int(rate * (60 * minutes - first["seconds"]))), "rate": rate})
        shutil.rmtree(trial)
    return json.loads(path.read_text())["steps"]


def measured(arena: Arena, config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Trains and scores one run."""
    memory = alone(learn, config, workdir)
    lines = read_metrics(workdir)
    run = gj.load(workdir)
    scores = scores_of(run, (arena.quality, *arena.metrics), arena.num)
    for name in LIKELIHOODS:
        scores |= scores_of(run, (name,), arena.num)
    request = {"seed": 0, **({} if arena.length is None else {"length": arena.length})}
    run.sample(arena.num, **request)
    began = time.monotonic()
    run.sample(arena.num, **request)
    sampling = 1000 * (time.monotonic() - began) / arena.num
    run.sample(arena.shown, **request).save(
        workdir / f"atlas{'.png' if '.png' in kind_of(run.spec).suffixes else '.txt'}"
    )
    figures = {
        "train_seconds": lines[-1]["seconds"],
        "goal_seconds": seconds_to_goal(arena, workdir, scores[arena.quality]["value"]),
        "sampling": sampling,
        "memory": memory / 1e9,
        "steps": run.step,
    }
    likelihood = "exact" if run.model.log_prob else "a bound" if run.model.log_prob_bound else "none"
    facts = {"likelihood": likelihood, "given": [*run.model.given], "encodes": run.model.encode is not None}
    return {"scores": scores, "figures": figures, "facts": facts, "commit": result_file.commit()}


def scores_of(run: gj.Run, names: Sequence[str], num: int) -> dict[str, Any]:
    """Returns the scores of a run by those of some metrics that it can be scored by."""
    try:
        return {name: score for name, score in run.score(names, num).items() if name in names}
    except UserError:
        parts = [scores_of(run, (name,), num) for name in names if len(names) > 1]
        return {name: score for part in parts for name, score in part.items()}


def seconds_to_goal(arena: Arena, workdir: Path, final: float) -> float | None:
    """Returns the seconds of the first checkpoint that reaches the goal; None if none does."""
    lines = read_metrics(workdir)
    *earlier, last = directory.steps_in(workdir / "checkpoints")
    for step in (*earlier, last):
        value = (
            final
            if step == last
            else gj.load(workdir, step=step).score(arena.quality, arena.num)[arena.quality]["value"]
        )
        if arena.better * value >= arena.better * arena.goal:
            return float(np.interp(step, [line["step"] for line in lines], [line["seconds"] for line in lines]))
    return None


def meeting(arena: Arena, flags: Any, minutes: float, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Measures the families of an arena, and returns what is measured of each: one entry a seed."""
    members = {**arena.members, **added(flags.add)}
    slugs = [slug(name) for name in members]
    chosen = [choose("member", name, slugs) for name in flags.members.split(",")] if flags.members else slugs
    found = {}
    for name in members:
        place = folder / slug(name)
        for seed in range(flags.seeds):
            path = place / f"{seed}.json"
            if slug(name) in chosen and not path.exists():
                print(f"{arena.title}: {name}, seed {seed}", flush=True)
                configured = partial(experiment, arena, members[name], data_dir=flags.data_dir)
                steps = members[name].steps or affordable_steps(configured, place, minutes)
                entry = measured(arena, configured(seed, steps), place / str(seed))
                files.write_json(path, {**entry, "config": members[name].config})
                shown = {key: value["value"] for key, value in entry["scores"].items()} | entry["figures"]
                print(
                    "  " + ", ".join(f"{key} {value:.4g}" for key, value in shown.items() if value is not None),
                    flush=True,
                )
            if path.exists():
                found.setdefault(name, []).append(json.loads(path.read_text()))
        jax.clear_caches()
    return found


def slug(name: str) -> str:
    """Returns the name of a family as that of a folder and of a result."""
    return name.replace(", ", "_").replace(" ", "_").lower()


def added(text: str | None) -> dict[str, Member]:
    """Returns the family that a user adds, by NAME=CONFIG."""
    if not text:
        return {}
    name, equals, path = text.partition("=")
    if not (name and equals and Path(path).is_file()):
        raise UserError(f"--add is {text!r}; expected NAME=CONFIG with a config file, as in mine=my_config.py")
    return {name: Member(str(Path(path).resolve()))}


def record(arena: Arena, found: Mapping[str, list[dict]], minutes: float) -> dict[str, Any]:
    """Returns what was measured of an arena as a measured result, in the schema of `results/README.md`."""
    scores = {name: score for entries in found.values() for name, score in entries[0]["scores"].items()}
    measures = {
        name: result_file.measure(name, score) | {"protocol": protocol_of(score)} for name, score in scores.items()
    }
    if arena.true_nll is not None:
        test = gj.data.open(**arena.data)
        value = arena.true_nll(test.rows("test", test.spec.sizes["test"])["x"])
        measures["nll"] |= {"oracle": float(f"{value:.4g}"), "oracle_is": "the true density"}
    for name, (title, unit) in COSTS.items():
        measures[name] = {"title": title, "unit": unit, "better": None if name == "steps" else "lower"}
    seeds = max(map(len, found.values()))
    return {
        "title": f"{arena.title}: every family",
        "measured_by": "benchmarks/atlas.py",
        "protocol": (
            f"{minutes:g} minutes of training on two CPU cores; {arena.num:,} samples. The goal is {arena.quality} "
            f"{'at least' if arena.better > 0 else 'at most'} {arena.goal:g}, at a quarter, a half, three quarters or the end "
            "of the run. Memory is the largest of the process that learns. A family that is done earlier ends earlier."
        ),
        "hardware": result_file.hardware(),
        "software": {"jax": jax.__version__, "numpy": np.__version__},
        "shared": {"flags": "", "data": arena.data.get("name", arena.data.get("path")), "seeds": seeds, "time": None},
        "measures": measures,
        "results": {slug(name): entry_of(name, each) for name, each in found.items()},
        "note": None,
    }


def protocol_of(score: Mapping[str, Any]) -> str:
    """Returns the protocol of a measure in one line."""
    return ", ".join(f"{name} {value}" for name, value in score["protocol"].items() if name not in ("shape", "content"))


def entry_of(name: str, entries: list[dict]) -> dict[str, Any]:
    """Returns what the seeds of a family measured as one result."""
    values: dict[str, list] = {}
    for entry in entries:
        for metric, score in entry["scores"].items():
            values.setdefault(metric, []).append(score["value"])
        for metric, value in entry["figures"].items():
            values.setdefault(metric, []).append(value)
    facts = entries[0]["facts"]
    likelihood = {"exact": "exact likelihood", "a bound": "bound of the likelihood", "none": "no likelihood"}
    given = f"given {', '.join(facts['given'])}" if facts["given"] else "no conditions"
    return {
        "label": f"`{name.partition(', ')[0]}`{''.join(name.partition(', ')[1:])}",
        "config": (Path("configs") / entries[0]["config"]).as_posix(),
        "commit": {"measured": ", ".join(sorted({entry["commit"] for entry in entries})), "stated": None},
        "metrics": {metric: summary(each) for metric, each in values.items() if None not in each},
        "note": None,
        "group": f"{likelihood[facts['likelihood']]}; {given}; {'has' if facts['encodes'] else 'no'} latents of rows",
    }


def summary(values: list[float]) -> dict[str, Any]:
    """Returns the mean of the seeds, with its standard error if there are several."""
    rounded = [figure(value) for value in values]
    if len(rounded) == 1:
        return {"value": rounded[0]}
    error = float(f"{np.std(values, ddof=1) / len(values) ** 0.5:.2g}")
    return {"value": figure(np.mean(values)), "error": error, "values": rounded}


def figure(value: float) -> float:
    """Returns a number with four significant digits; a whole number as it is."""
    return int(value) if float(value).is_integer() else float(f"{value:.4g}")


def picture(arena: Arena, found: Mapping[str, Any], folder: Path) -> Image.Image:
    """Draws the samples of all families side by side, each below its name."""
    columns = min(4, len(found))
    rows = -(-len(found) // columns)
    tiles = {name: fitted(tile_of(folder / slug(name) / "0")) for name in found}
    height = LINE + GAP + max(tile.height for tile in tiles.values())
    sheet = Image.new("RGB", (columns * (SIDE + GAP) + GAP, rows * height + GAP), "white")
    for place, (name, tile) in enumerate(tiles.items()):
        row, column = divmod(place, columns)
        left, top = GAP + column * (SIDE + GAP), GAP + row * height
        sheet.paste(tile, (left, top + LINE))
        ImageDraw.Draw(sheet).text((left, top + 2), name, "black")
    return sheet


def fitted(tile: Image.Image) -> Image.Image:
    """Returns a picture whose longer side has `SIDE` pixels."""
    scale = SIDE / max(tile.size)
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return tile.resize((round(tile.width * scale), round(tile.height * scale)), method)


def tile_of(workdir: Path) -> Image.Image:
    """Returns the picture of the samples of a run; of a text its first lines."""
    if (workdir / "atlas.png").exists():
        return Image.open(workdir / "atlas.png").convert("RGB")
    text = (workdir / "atlas.txt").read_text()
    tile = Image.new("RGB", (SIDE, SIDE), "white")
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, SIDE // 7) or [""]]
    ImageDraw.Draw(tile).multiline_text((4, 4), "\n".join(lines[: SIDE // 16]), "black")
    return tile


def main(argv: list[str]) -> None:
    flags = command_line.parse(
        argv,
        {
            "only": (",".join(ARENAS), "names of data, separated by commas"),
            "members": (None, "families, such as gan,autoregressive_lstm; by default all"),
            "minutes": ("5", "of training"),
            "seeds": (1, "of each family"),
            "add": (None, "NAME=CONFIG: a family of yours beside the others"),
            "data_dir": (None, "folder of prepared TFDS data sets"),
            "out": ("runs/atlas", "folder of the runs"),
            "record": (None, "file results/NAME.json for the figures of one arena; it is replaced"),
            "picture": (None, "picture of the samples of one arena"),
        },
        required=None,
    )
    names = [choose("data", name, ARENAS) for name in flags.only.split(",")]
    if len(names) > 1 and (flags.record or flags.picture):
        raise UserError(f"--only is {flags.only}; expected one name beside --record or --picture")
    check_whole("--seeds", flags.seeds)
    startup.start()
    minutes = command_line.number("minutes", flags.minutes)
    for name in names:
        folder = Path(flags.out) / f"{minutes:g}" / name
        found = meeting(ARENAS[name], flags, minutes, folder)
        if flags.record:
            files.write_json(Path(flags.record), record(ARENAS[name], found, minutes))
        if flags.picture:
            picture(ARENAS[name], found, folder).quantize(128).save(flags.picture, optimize=True)


if __name__ == "__main__":
    command(main)
