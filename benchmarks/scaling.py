"""What a step of two configs costs on many accelerators, on paper: the figures of `docs/guides/scaling.md`.

    python benchmarks/scaling.py [--only r3gan_cifar10 ladder_vae]

Counted: floating-point operations of the whole step, by XLA's analysis of what is lowered; numbers of the state, by their
shapes; for the ladder what 8 simulated devices exchange, by the compiled program, and its step on this CPU. All else is
computed by `step_time` from the assumptions in `MACHINES` and `SHARE`. Nothing is trained.
"""

import argparse
import os
import re
import time
from pathlib import Path
from typing import NamedTuple
from unittest import mock

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

import jax
import numpy as np

from gen_jax.config import load_file, plain
from gen_jax.data.spec import Spec
from gen_jax.devices import placement, replicas
from gen_jax.models import build_model
from gen_jax.nets import r3

CONFIGS, KEY = Path(__file__).parents[1] / "configs", jax.random.key(0)
SHAPES = {"r3gan_cifar10": (32, 32, 3), "ladder_vae": (8, 8, 1)}
L40 = 181e12  # bfloat16 operations a second, dense, of the GPU whose days the R3GAN paper states
PAPER = 4 * 86400 / 488_000  # seconds a step of 1,024 rows on 8 of them
HOP = 5e-6  # seconds until a collective's next message starts, assumed


class Machine(NamedTuple):
    """One accelerator and its way to the others, in units a second; the makers' figures, assumed."""

    peak: float  # bfloat16 operations, dense
    memory: float  # bytes from and to its own memory
    link: float  # bytes to a neighbour in a ring over all


MACHINES = {
    "H100, 400 Gbit/s each": Machine(989e12, 3.35e12, 50e9),
    "TPU v5e, its torus": Machine(197e12, 0.819e12, 100e9),
}


class Cost(NamedTuple):
    """Of one step."""

    rows: int  # of the config's batch
    parts: int  # disjoint ones that a step splits it into
    gathers: int  # with fsdp, of all parameters in a step
    operations: float  # for all rows
    params: int  # numbers whose gradients are summed over devices
    arrays: int  # that these are
    state: int  # bytes of the whole state


def built(name: str, rows: int) -> tuple:
    """The model of a config, and a batch's shapes."""
    shape, config = SHAPES[name], load_file(CONFIGS / f"{name}.py")
    grey, classes = name == "ladder_vae", () if name == "ladder_vae" else tuple("0123456789")
    domain = {"dtype": "uint8", "low": 0, "high": 16} if grey else {"dtype": "float32", "low": 0.0, "high": 1.0}
    facts = {"shift": 0.0, "scale": 1.0, "classes": classes, "sizes": {"train": rows}, "content": "", "info": {}}
    spec = Spec("noise", "image", shape, **domain, **facts)
    numbers = {"x": (rows, *shape), "weight": (rows,)}
    batch = {each: jax.ShapeDtypeStruct(size, np.float32) for each, size in numbers.items()}
    batch |= {"y": jax.ShapeDtypeStruct((rows,), np.int32)} if classes else {}
    return build_model(plain(config.model), spec), batch, config.batch_size


def sizes(tree) -> list[int]:
    return [int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree)]


def counted(name: str) -> Cost:
    """By XLA's analysis of the lowered step, for the config's own batch; grouped convolutions as on an accelerator."""
    rows = built(name, 8)[2]
    model, batch, _ = built(name, rows)
    with mock.patch.object(r3, "grouped_convolve", r3.convolve):
        state = jax.eval_shape(model.init, KEY, batch)
        lowered = jax.jit(model.step).lower(KEY, state, batch)
    learnt = [each for part, each in state._asdict().items() if part in ("params", "generator", "discriminator")]
    numbers = sizes(learnt)
    held = sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    parts, gathers = (2, 3) if name == "r3gan_cifar10" else (1, 2)
    return Cost(rows, parts, gathers, lowered.cost_analysis()["flops"], sum(numbers), len(numbers), held)


def step_time(cost: Cost, rows: int, devices: int, machine: Machine, share: float, fsdp: bool) -> dict[str, float]:
    """Seconds of one step of `rows` rows in all, and what they go to; nothing overlaps.

    A device has whole rows of each part. The state is read and written once: all of it by every device, or with `fsdp` its
    part. Gradients are summed in a ring, 2 (N - 1) / N of their float32 bytes; with `fsdp` they are scattered and
    parameters gathered, array by array: forward and backward, and of a GAN the discriminator's again once it has learnt.
    """
    busy = cost.parts * np.ceil(rows / cost.parts / devices)
    ring, gradients = (devices - 1) / devices, 4 * cost.params
    hops, passes = HOP * 2 * np.log2(devices), 1 + cost.gathers if fsdp else 2
    parts = {
        "compute": cost.operations * busy / cost.rows / (machine.peak * share),
        "memory": 2 * cost.state / (devices if fsdp else 1) / machine.memory,
        "traffic": passes * ring * gradients / machine.link + hops * (passes / 2 * cost.arrays if fsdp else 1),
    }
    return {**parts, "all": sum(parts.values())}


def r3_activations(channels: int = 768, blocks: int = 2, sides: tuple[int, ...] = (4, 8, 16, 32)) -> float:
    """Bytes of bfloat16 kept of one image on one way through an R3 net: a block's input and two hidden layers twice."""
    return 2 * blocks * sum(side**2 for side in sides) * (channels + 4 * 2 * channels)


def exchanged(name: str, fsdp: bool) -> dict[str, float]:
    """Bytes of each kind of collective in the step compiled for 8 devices, by what each puts out."""
    model, batch, rows = built(name, 8)
    model, batch, _ = built(name, rows)
    mesh = placement.make_mesh()
    state = placement.abstract_state(mesh, jax.eval_shape(model.init, KEY, batch), 1, fsdp)
    rows_at = placement.split(mesh)
    batch = {each: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=rows_at) for each, leaf in batch.items()}
    step = jax.jit(model.step, out_shardings=(replicas.places(state), None))
    found: dict[str, float] = {}
    for line in step.lower(KEY, state, batch).compile().as_text().splitlines():
        kind = re.search(r"\b(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?\(", line)
        if kind and " = " in line:
            shapes = re.findall(r"(?:f32|s32|u32)\[([\d,]*)\]", line[: kind.start()])
            size = sum(4 * int(np.prod([int(side) for side in each.split(",") if side])) for each in shapes)
            found[kind[1]] = found.get(kind[1], 0) + size
    return found


def cpu_seconds(name: str) -> float:
    """Processor seconds of a step here, by all threads: the median of 5."""
    model, shapes, rows = built(name, 8)
    model, shapes, _ = built(name, rows)
    batch = {each: np.zeros(leaf.shape, leaf.dtype) for each, leaf in shapes.items()}
    state, taken = jax.jit(model.init)(KEY, batch), []
    step = jax.jit(model.step)
    for _ in range(6):
        began = time.process_time()
        jax.block_until_ready(step(KEY, state, batch))
        taken.append(time.process_time() - began)
    return float(np.median(taken[1:]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", choices=SHAPES, default=[*SHAPES])
    names = parser.parse_args().only
    for name in names:
        cost = counted(name)
        share = cost.operations / (PAPER * 8 * L40) if name == "r3gan_cifar10" else 0.05
        print(f"{name}: {cost.operations:.3g} operations for {cost.rows} rows; share of peak {share:.3f};")
        print(f"  {cost.params:,} learnt numbers in {cost.arrays} arrays, state {cost.state / 1e6:,.1f} MB", flush=True)
        if name == "r3gan_cifar10":  # real and drawn images, thrice for the penalties' second derivatives
            print(f"  activations of all rows {6 * r3_activations() * cost.rows / cost.parts / 1e9:.0f} GB")
        if name == "ladder_vae":
            seconds = cpu_seconds(name)
            print(f"  on this CPU {1e3 * seconds:.1f} ms, {cost.operations / seconds / 1e9:.1f} GFLOP/s")
            for fsdp in (False, True):
                print(f"  8 devices, fsdp {fsdp}:", {k: f"{v / 1e6:.2f} MB" for k, v in exchanged(name, fsdp).items()})
        for (machine, facts), grows, fsdp in (
            (each, grows, fsdp) for each in MACHINES.items() for grows in (False, True) for fsdp in (False, True)
        ):
            for devices in (8, 256, 1024):
                rows = cost.rows * devices // 8 if grows else cost.rows
                found = step_time(cost, rows, devices, facts, share, fsdp)
                milliseconds = " | ".join(f"{1e3 * each:.2f}" for each in found.values())
                useful = cost.operations * rows / cost.rows / (facts.peak * share * devices) / found["all"]
                work = f"{rows:,} rows, {'fsdp' if fsdp else 'data'}"
                print(f"| {machine} | {devices} | {work} | {milliseconds} | {100 * useful:.0f} % |", flush=True)


if __name__ == "__main__":
    main()
