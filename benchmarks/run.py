"""The project beside its peers: the pairs of `pairs/`, each program in a process of its own, by turns.

    make bench [DEVICE=gpu]
    python benchmarks/run.py [--only dcgan,mlp_vae] [--rounds 5] [--device gpu] [--data ../shared/data]
    python benchmarks/run.py --table       # what was measured before, as Markdown
    python benchmarks/run.py --record results/speed_cpu.json       # the same as a measured result, for `make tables`

A program builds what it needs, does a first round, which compiles, and then one round when its turn comes. Of each pair this prints
and keeps in runs/bench/NAME.json: medians, half of the range between quartiles, their ratios, the seconds that the first
round took longer than the median one, the largest memory of a process, the machine and the versions. What the programs
print goes to runs/bench/log.txt. On a GPU training steps are scanned in one dispatch, in float32 (TF32 allowed) and bfloat16.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from measurements import OURS, figure, keep, kept, machine, record, summary, table
from pairs import Pair, Program, Setting

from gen_jax.cli.process import command
from gen_jax.devices import startup
from gen_jax.errors import UserError, choose

OUT = Path("runs/bench")
QUIET = 0.05  # seconds between turns, in which the threads of the last one go to sleep
ROUNDS = 5


def all_pairs() -> dict[str, Pair]:
    """Every pair by its name."""
    files = sorted(Path(__file__).with_name("pairs").glob("[a-z]*.py"))
    modules = [importlib.import_module(f"pairs.{file.stem}") for file in files]
    return {name: pair for module in modules for name, pair in getattr(module, "PAIRS", {}).items()}


def serve(pipe: Connection, name: str, label: str, setting: Setting) -> None:
    """One program in its process: sends the seconds of a unit in each round it is asked for, then its memory; or a line."""
    log = os.open(OUT / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    print(f"{name}: {label}", flush=True)
    try:
        run = build(name, label, setting)
        while True:
            began = time.perf_counter()
            units = run()
            pipe.send(((time.perf_counter() - began) / units, units))
            if not pipe.recv():
                break
        pipe.send(memory(setting))
    except ModuleNotFoundError as error:
        pipe.send(f"{error.name} is not installed")
    except Exception as error:  # noqa: BLE001, whatever it is the others go on
        traceback.print_exc()
        pipe.send(f"{type(error).__name__}: " + " ".join(str(error).split())[:200])


def build(name: str, label: str, setting: Setting) -> Any:
    """What a program's rounds run. Ours starts as the commands do, but for the cache, which would hide what compiles."""
    pair = all_pairs()[name]
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # of a GPU that the programs share
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
    if setting.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    if label == OURS or label in pair.others:
        import jax

        startup.start()
        jax.config.update("jax_enable_compilation_cache", False)
    return programs(pair)[label](setting)


def programs(pair: Pair) -> dict[str, Program]:
    """The programs of a pair by their labels, ours first."""
    return {OURS: pair.ours, **pair.peers, **pair.others}


def memory(setting: Setting) -> int:
    """Largest memory of this process or of one that it started, bytes; on a GPU what its library took there."""
    if setting.device == "gpu" and "jax" in sys.modules:
        import jax

        return jax.devices()[0].memory_stats()["peak_bytes_in_use"]
    if setting.device == "gpu":
        import torch

        return torch.cuda.max_memory_allocated()
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return 1024 * max(resource.getrusage(kind).ru_maxrss for kind in kinds)


@contextmanager
def program(name: str, label: str, setting: Setting) -> Iterator[Connection]:
    """A program in a process of its own, which ends with the body."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, name, label, setting))
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()
        process.join(10)
        process.kill()


def heard(label: str, pipe: Connection) -> Any:
    """What a program says; None, and a line to the reader, where it has failed."""
    try:
        value = pipe.recv()
    except EOFError:
        value = f"it has ended; see {OUT / 'log.txt'}"
    if not isinstance(value, str):
        return value
    print(f"\n  {label}: {value}", flush=True)
    return None


def measure(name: str, pair: Pair, setting: Setting, rounds: int) -> dict:
    """Runs the programs of a pair by turns; those that fail are named and left out."""
    load, found = os.getloadavg()[0], {}
    print(f"{name}, {pair.work}: ", end="", flush=True)
    with ExitStack() as stack:
        for label in programs(pair):
            pipe = stack.enter_context(program(name, label, setting))
            first = heard(label, pipe)
            if first is not None:
                found[label] = pipe, first, []
        for number in range(rounds):
            start = number % max(len(found), 1)  # another one begins each round
            for label in [*found][start:] + [*found][:start]:
                pipe, _, seconds = found[label]
                time.sleep(QUIET)
                pipe.send(True)
                value = heard(label, pipe)
                if value is None:
                    del found[label]
                else:
                    seconds.append(value[0])
            print(".", end="", flush=True)
        for pipe, *_ in found.values():
            pipe.send(False)
        summaries = {label: summary(*each, heard(label, pipe)) for label, (pipe, *each) in found.items()}
    print()
    for label, each in summaries.items():
        each["ratio"] = each["median"] / summaries[OURS]["median"] if OURS in summaries else None
        times = "" if each["ratio"] is None else f", {each['ratio']:.2f} times ours"
        print(f"  {label} {figure(each['median'], pair.rate)}{times}", flush=True)
    facts = {
        "name": name,
        "work": pair.work,
        "rate": pair.rate,
        "device": setting.device,
        "precision": setting.precision,
    }
    facts |= {"date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "load": [load, os.getloadavg()[0]]}
    return {**facts, "programs": summaries, "peers": list(pair.peers)}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of pairs, with commas between; all but slow ones where unset")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, default=Setting().data, help="holds tabular/ and networks/")
    parser.add_argument("--table", action="store_true", help="only print what was measured before")
    parser.add_argument("--record", type=Path, help="only write what was measured before to this file of results/")
    flags = parser.parse_args(argv[1:])
    pairs = all_pairs()
    wanted = flags.only.split(",") if flags.only else [name for name in pairs if not pairs[name].slow]
    names = [choose("pair", name, pairs) for name in wanted]
    choose("device", flags.device, ("cpu", "gpu"))
    if flags.rounds < 1:
        raise UserError(f"--rounds is {flags.rounds}; expected at least 1")
    if flags.device == "gpu" and not Path("/proc/driver/nvidia").exists():
        raise UserError("--device gpu: this machine has no NVIDIA GPU; run the CPU set")
    if flags.table:
        print(table(kept(OUT, names)))
        return
    if flags.record:
        flags.record.write_text(json.dumps(record(kept(OUT, names)), indent=1, ensure_ascii=False) + "\n")
        return
    OUT.mkdir(parents=True, exist_ok=True)
    where, results = machine(), []
    for name in names:
        for precision in pairs[name].gpu if flags.device == "gpu" else ("fp32",):
            setting = Setting(flags.device, precision, flags.data.resolve())
            result = {**measure(name, pairs[name], setting, flags.rounds), **where}
            if flags.device == "gpu":
                result["name"] += f"-gpu-{precision}"
            keep(OUT, result)
            results.append(result)
    print("\n" + table(results))
    failed = [each["name"] for each in results if OURS not in each["programs"]]
    if failed:
        raise UserError(f"{OURS} failed in {', '.join(failed)}: see {OUT / 'log.txt'}")


if __name__ == "__main__":
    command(main)
