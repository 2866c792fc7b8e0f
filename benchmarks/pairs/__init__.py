"""What a pair of programs is, and what the files beside this one share. Libraries are imported inside the programs."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from gen_jax.errors import UserError


class Setting(NamedTuple):
    """Where and how a program runs."""

    device: str = "cpu"  # or gpu
    precision: str = "fp32"  # or bf16, of the activations on a gpu
    data: Path = Path("../shared/data")


Run = Callable[[], int]  # does a round's work, waits for its results, and says how many units it was
Program = Callable[[Setting], Run]  # builds; it imports its libraries itself


class Pair(NamedTuple):
    """The same work in the project and in its peers."""

    work: str  # a unit of it in words; where there is a `rate`, many
    ours: Program
    peers: Mapping[str, Program]
    others: Mapping[str, Program] = MappingProxyType({})  # timed in turn, and no peers: obvious forms, limits
    rate: str = ""  # what a unit is, where units a second say more than milliseconds
    gpu: tuple[str, ...] = ()  # the precisions in which it runs there
    slow: bool = False  # whether it runs only where it is asked for by name


def spec_of(kind: str, shape: tuple[int, ...], low: float = -1.0, high: float = 1.0, dtype: str = "float32", **more):
    """A spec of made-up data that is already in model space."""
    from gen_jax.data.spec import Spec

    return Spec("noise", kind, shape, dtype, 0.0, 1.0, low, high, (), {}, "", more)


def picks(rows: int, size: int, num: int) -> np.ndarray:
    """Row numbers [num, size] of so many batches."""
    return np.random.default_rng(1).integers(0, rows, (num, size)).astype(np.int32)


def training(model: Any, rows: Any, batches: np.ndarray, setting: Setting) -> Run:
    """Training steps of a model over the batches that `batches` [steps, B] names; the state goes on.

    `rows` are the rows `x`, or a dictionary of `x` and the conditions.

    On a CPU each step is one dispatch, as in `gen_jax.train`; on a GPU all are scanned in one.
    """
    import jax

    init_key, key = jax.random.split(jax.random.key(0))
    arrays = jax.device_put(rows if isinstance(rows, dict) else {"x": rows})

    def batch_of(arrays: dict, pick: Any) -> dict:
        return {name: values[pick] for name, values in arrays.items()}

    held = [jax.jit(model.init)(init_key, batch_of(arrays, slice(batches.shape[1]))), 0]

    def step(number: jax.Array, state: Any, arrays: dict, pick: jax.Array) -> tuple:
        return model.step(jax.random.fold_in(key, number), state, batch_of(arrays, pick))

    def scanned(number: jax.Array, state: Any, arrays: dict, all_picks: jax.Array) -> tuple:
        numbers = number + jax.numpy.arange(len(all_picks))
        return jax.lax.scan(lambda state, each: step(each[0], state, arrays, each[1]), state, (numbers, all_picks))

    together = setting.device == "gpu"
    compiled = jax.jit(scanned if together else step, donate_argnums=1)

    def run() -> int:
        for pick in [batches] if together else batches:
            held[0], metrics = compiled(np.int32(held[1]), held[0], arrays, pick)
            held[1] += len(batches) if together else 1
        jax.block_until_ready((held, metrics))
        return len(batches)

    return run


def torch_device(setting: Setting) -> str:
    """The device's name in PyTorch, which then may use what JAX does on it: TF32 in float32."""
    import torch

    if setting.device == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise UserError("PyTorch finds no GPU")
    torch.set_float32_matmul_precision("high")
    return "cuda"


def autocast(setting: Setting) -> Any:
    """The context in which PyTorch's forward passes run."""
    import torch

    return torch.autocast("cuda", torch.bfloat16, enabled=setting.precision == "bf16")


def torch_training(setting: Setting, loss: Any, optimizer: Any, x: Any, order: Any, clip: float | None = None) -> Run:
    """PyTorch's training steps by an optimizer of one group, over the batches of rows of `x` that `order` [steps, B] names."""
    from torch.nn.utils import clip_grad_norm_

    def run() -> int:
        for pick in order:
            with autocast(setting):
                value = loss(x[pick])
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            if clip is not None:
                clip_grad_norm_(optimizer.param_groups[0]["params"], clip)
            optimizer.step()
        value.item()
        return len(order)

    return run


def eager_and_compiled(program: Callable[..., Run], label: str = "PyTorch") -> dict[str, Program]:
    """A program of PyTorch, or of a library on it, as it is, and by `torch.compile`; it takes the setting and `compiled`."""
    return {label: partial(program, compiled=False), f"{label} compiled": partial(program, compiled=True)}
