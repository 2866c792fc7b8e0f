"""The R3 training step in the forms of `nets/r3.py` and in the obvious ones, alternating in one process.

    python benchmarks/r3_forms.py [--side 28] [--rounds 5]

The obvious forms are XLA's grouped convolution for the 3x3 in groups, and a depthwise (transposed) convolution for the
low-pass resampling. Both compute the same map; the first losses are compared.
"""

import argparse
import statistics
from unittest import mock

import jax
import numpy as np
from alternate import times

from gen_jax.data.spec import Spec
from gen_jax.models.gan import gan
from gen_jax.nets import r3

NET = {"name": "r3", "channels": (64, 32, 16), "blocks": 1, "expansion": 2, "group_width": 16}
KERNEL = np.outer(r3.LOW_PASS, r3.LOW_PASS).astype(np.float32)


def depthwise(x: jax.Array, kernel: np.ndarray, **options) -> jax.Array:
    kernel = np.broadcast_to(kernel[..., None, None], (4, 4, 1, x.shape[-1])).astype(x.dtype)
    return jax.lax.conv_general_dilated(
        x, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=x.shape[-1], **options
    )


OBVIOUS = {
    "grouped_convolve": r3.convolve,
    "upsample": lambda x: depthwise(
        x, 4 * KERNEL, window_strides=(1, 1), padding=[(2, 2), (2, 2)], lhs_dilation=(2, 2)
    ),
    "downsample": lambda x: depthwise(x, KERNEL, window_strides=(2, 2), padding=[(1, 1), (1, 1)]),
}


def make_step(side: int):
    spec = Spec("noise", "image", (side, side, 1), "float32", 0.0, 1.0, -1.0, 1.0, None, {}, "", {})
    model = gan(spec, NET, NET)
    x = np.random.default_rng(0).normal(size=(128, side, side, 1)).astype(np.float32)
    state = jax.jit(model.init)(jax.random.key(0), {"x": x})
    step = jax.jit(lambda state: model.step(jax.random.key(1), state, {"x": x})[1])
    loss = float(step(state)["d_loss"])
    return lambda: jax.block_until_ready(step(state)), loss


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    ours, loss = make_step(given.side)
    with mock.patch.multiple(r3, **OBVIOUS):
        obvious, same = make_step(given.side)
    assert abs(loss - same) < 1e-4, (loss, same)
    fast, slow = (statistics.median(each) for each in times({"ours": ours, "obvious": obvious}, given.rounds).values())
    print(f"{given.side}x{given.side}, 64 + 64 rows: {fast:.1f} ms a step against {slow:.1f} in the obvious forms")
    print(f"ratio of medians {slow / fast:.1f}")


if __name__ == "__main__":
    main()
