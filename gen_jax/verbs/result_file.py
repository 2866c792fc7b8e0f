"""Writes the scores of a run as a measured result, whose schema `results/README.md` describes."""

import platform
import shlex
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from gen_jax import files
from gen_jax.config import flat, load_file, plain
from gen_jax.errors import UserError
from gen_jax.metrics import catalogue
from gen_jax.metrics.scores import sample_count
from gen_jax.models import default_settings
from gen_jax.storage.metrics_file import read_metrics
from gen_jax.verbs.evaluation import Evaluation

LIBRARIES = ("jax", "flax", "optax", "numpy")


def check_result(path: Path, workdir: Path, config: str | None) -> None:
    """Refuses a result that could not be written, before the run is scored.

    Args:
      path: file of the result.
      workdir: directory of the run.
      config: the config file; None: `configs/NAME.py` of the directory's name, if that exists.

    Raises:
      UserError: for a file that exists, another suffix than `.json`, or a config file that does not exist.
    """
    if path.suffix != ".json":
        raise UserError(f"suffix of --record {path} is {path.suffix!r}; expected a name such as results/gan.json")
    if path.exists():
        raise UserError(f"--record {path} exists; expected a new name. Remove the file to measure again")
    if config is not None and not Path(config).is_file():
        raise UserError(f"--config {config} does not exist; expected the config that {workdir} was trained by")


def write_result(path: Path, evaluation: Evaluation, replica: int | None = None, config: str | None = None) -> None:
    """Writes the scores of a run as a measured result.

    Args:
      path: file of the result.
      evaluation: the scores.
      replica: the replica that was scored; None: all.
      config: the config file; None: as in `check_result`.

    Raises:
      UserError: as `check_result`, and for a file that cannot be written.
    """
    workdir = evaluation.loaded.workdir
    check_result(path, workdir, config)
    files.write_json(path, result(evaluation, replica, config))


def result(evaluation: Evaluation, replica: int | None, config: str | None) -> dict[str, Any]:
    """Returns a measured result as plain data; see `write_result`."""
    loaded, scores = evaluation.loaded, evaluation.scores
    num = sample_count(scores)
    settings = loaded.config
    file = config_file(loaded.workdir, config)
    seeds = [settings["seed"] + index for index in range(settings["replicas"])]
    logged = read_metrics(loaded.workdir)
    entry = {
        "label": f"`{file.name}`" if file else f"`{loaded.workdir.name}`",
        "group": None,
        "config": None if file is None else file.as_posix(),
        "flags": "unknown" if file is None else changed_flags(file, settings),
        "data": loaded.spec.name,
        "commit": {"measured": commit(), "stated": None},
        "seeds": seeds if replica is None else [seeds[replica]],
        "time": {"value": logged[-1]["seconds"]} if logged else None,
        "metrics": {name: figure(score) for name, score in scores.items()},
        "note": f"Step {loaded.step}.",
    }
    return {
        "title": f"{loaded.workdir.name} on {loaded.spec.name}",
        "measured_by": "python -m gen_jax.evaluate",
        "protocol": (f"{num:,} samples. " if num else "") + "Each measure states its protocol in this file.",
        "hardware": hardware(),
        "software": {name: version(name) for name in LIBRARIES},
        "shared": {},
        "measures": {name: measure(name, score) for name, score in scores.items()},
        "results": {loaded.workdir.name.replace(".", "_"): entry},
        "note": None,
    }


def figure(score: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the value of a metric with its standard error over replicas and their values."""
    names = {"value": "value", "standard_error": "error", "values": "values", "last": "last"}
    return {new: score[old] for old, new in names.items() if old == "value" or score.get(old) is not None}


def measure(name: str, score: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the facts of a metric: its direction, its protocol and the score of real data."""
    metric = catalogue.metrics().get(name)
    direction = {1: "higher", -1: "lower"}.get(metric.better if metric else 0)
    facts = {"title": name, "unit": "", "better": direction, "oracle": score["oracle"]}
    if score.get("standard_error") is not None:
        facts["error_is"] = "standard error over the seeds"
    return {**facts, "protocol": plain(dict(score["protocol"]))}


def config_file(workdir: Path, config: str | None) -> Path | None:
    """Returns the config file of a run; None if none is named, and `configs/` has none of the directory's name."""
    path = Path(config) if config else Path("configs") / f"{workdir.name}.py"
    return path if path.is_file() else None


def changed_flags(file: Path, settings: Mapping[str, Any]) -> str:
    """Returns the settings of a run that differ from its config file, as flags of a command line."""
    original = plain(load_file(file))
    original["model"] = {**plain(default_settings(original["model"].get("name"))), **original["model"]}
    before, after = flat(original), flat(settings)
    changed = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    values = [tuple(after[name]) if isinstance(after.get(name), list) else after.get(name) for name in changed]
    return shlex.join(f"--config.{name}={value}" for name, value in zip(changed, values))


def hardware() -> dict[str, Any]:
    """Returns the names of the processor and of the accelerator of this process; the cores are those of the machine."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    device = jax.devices()[0]
    accelerator = None if device.platform == "cpu" else f"{jax.device_count()} x {device.device_kind}"
    processor = names[0] if names else platform.processor() or "unknown"
    return {"processor": processor, "accelerator": accelerator, "cores": f"{len(names)} cores" if names else None}


def commit() -> str:
    """Returns the commit of the code that scores, `-changed` behind it for uncommitted changes; unknown without git."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():  # an installed package may lie in a repository of something else
        return "unknown"
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty=-changed", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
