"""The exact integer network of a compressor: made once from the weights of a model, and equal on every machine.

Weights and activations are integers held in float64. Because every sum stays below 2^53, sums are exact in any order.
Thus batch sizes, threads, instruction sets and libraries change nothing (Balle, Johnston and Minnen 2019, "Integer
Networks for Data Compression with Latent-Variable Models"). Values of exp and similar functions come from tables that
are part of the file.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gen_jax.data.npz_files import read_archive
from gen_jax.errors import UserError, choose, readable

FORMAT = 1  # format of the file; the constants below belong to it
ACTIVATION_BITS = 10  # an integer activation a stands for a 2^-10
LATENT_BITS = 6  # an integer latent z stands for z 2^-6
ROW_BITS = 5  # tables have one row per 2^-5
ACTIVATION = 1 << ACTIVATION_BITS + 10  # the largest activation, which stands for 1024
LATENT = 8 << LATENT_BITS  # the largest magnitude of a latent: 8 standard deviations of the prior
WEIGHT = 2**15 - 1  # the largest weight of a kernel, 16 bits
EXACT = 2.0**53  # float64 holds all whole numbers up to this one


class Description(NamedTuple):
    """A variational autoencoder as plain arrays: dense layers with ReLU, a N(0, I) prior, a diagonal posterior.

    A pixel is coded as a symbol s in 0 .. levels - 1. Pixels are in the order of `shape`, rows first.
    """

    encoder: list[tuple[np.ndarray, np.ndarray]]  # kernel [I, O], bias [O]; the last O = 2 Z: means, then log scales
    decoder: list[tuple[np.ndarray, np.ndarray]]  # the last O = P pixels: all first, then all second parameters
    likelihood: str  # bernoulli (P = 1: logits) or beta_binomial (P = 2: log alphas, then log betas)
    levels: int  # 2 for binary images, 256 for 8 bits
    shift: float  # the encoder reads (s - shift) / scale
    scale: float
    shape: tuple[int, int, int]  # H, W, C of an image


class Layer(NamedTuple):
    """A dense layer in whole numbers: floor((x kernel + bias) 2^-shift)."""

    kernel: np.ndarray  # [I, O] float64, whole numbers of 16 bits
    bias: np.ndarray  # [O] float64
    shift: int


class Network(NamedTuple):
    """The integer network that coding needs, and the content of `compressor.npz`."""

    shape: tuple[int, int, int]  # H, W, C of an image
    levels: int
    encoder: list[Layer]
    decoder: list[Layer]
    scales: np.ndarray  # [S] float64: posterior scales in steps of the latent grid, one for each log scale
    tables: np.ndarray  # [P, R, levels] float64: p(s) is the product of one row of each table, up to a factor


def make(description: Description) -> Network:
    """Returns the integer network of a model.

    Args:
      description: the model as plain arrays.

    Raises:
      UserError: for a likelihood without tables, weights that do not fit together, or sums that would not be exact.
    """
    tables = LIKELIHOODS[choose("likelihood to compress with", description.likelihood, LIKELIHOODS)](description.levels)
    (kernel, bias), *later_layers = description.encoder
    kernel = np.asarray(kernel, np.float64)
    bias = bias - kernel.sum(0) * (description.shift / description.scale)
    scales = np.exp(row_values(16 << ROW_BITS)) * 2**LATENT_BITS  # log scales within [-8, 8]
    height, width, channels = description.shape
    network = Network(
        (height, width, channels),
        description.levels,
        _rounded([(kernel / description.scale, bias), *later_layers], 0),
        _rounded(description.decoder, LATENT_BITS),
        scales,
        tables,
    )
    check(network)
    return network


def _rounded(layers: list[tuple[np.ndarray, np.ndarray]], bits: int) -> list[Layer]:
    """Returns integer layers whose first input stands for x 2^-bits, with kernels in the full precision of 16 bits."""
    rounded = []
    for kernel, bias in layers:
        kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise UserError("the weights are not finite; expected finite weights in a model that compresses")
        fine = int(np.floor(np.log2(WEIGHT / max(np.abs(kernel).max(initial=0), 2.0**-9))))
        rounded.append(
            Layer(np.rint(kernel * 2.0**fine), np.rint(bias * 2.0 ** (fine + bits)), fine + bits - ACTIVATION_BITS)
        )
        bits = ACTIVATION_BITS
    return rounded


def check(network: Network) -> None:
    """Refuses a network whose layers do not fit together, or whose sums might exceed the exact whole numbers.

    Args:
      network: the integer network.

    Raises:
      UserError: naming the layer and the largest sum. Also for weights that are no whole numbers, or tables that hold
        no probabilities.
    """
    numbers = np.isfinite(network.scales).all() and np.isfinite(network.tables).all()
    if not numbers or network.scales.min() <= 0 or network.tables.min() < 0:
        raise UserError(
            "the tables lack scales or probabilities; expected positive scales and probabilities of at least 0"
        )
    pixels, latents = int(np.prod(network.shape)), network.decoder[0].kernel.shape[0]
    for name, layers, ends, largest in (
        ("encoder", network.encoder, (pixels, 2 * latents), network.levels - 1),
        ("decoder", network.decoder, (latents, len(network.tables) * pixels), LATENT),
    ):
        sizes = [layers[0].kernel.shape[0], *(layer.kernel.shape[1] for layer in layers)]
        fit = all(layer.kernel.shape == (*size, *layer.bias.shape) for layer, size in zip(layers, zip(sizes)))
        if not fit or (sizes[0], sizes[-1]) != ends:
            raise UserError(f"the {name} has layers of {sizes}; expected {ends[0]} numbers in and {ends[1]} out")
        for place, layer in enumerate(layers):
            weights = np.rint(layer.kernel).clip(-WEIGHT - 1, WEIGHT)
            if not (np.array_equal(layer.kernel, weights) and np.array_equal(layer.bias, np.rint(layer.bias))):
                raise UserError(
                    f"layer {place} of the {name} has weights of another type; expected whole numbers of 16 bits"
                )
            total = (np.abs(layer.kernel).sum(0) * largest + np.abs(layer.bias)).max()
            if not total < EXACT:
                raise UserError(
                    f"layer {place} of the {name} has sums of up to {total:.3g}; expected less than {EXACT:.3g}, so "
                    "that sums are exact"
                )
            largest = ACTIVATION


def forward(layers: list[Layer], x: np.ndarray) -> np.ndarray:
    """Computes dense layers in whole numbers, with ReLU between them.

    Args:
      layers: the layers.
      x: whole numbers [N, I].

    Returns:
      Whole numbers [N, O] in units of 2^-10.
    """
    for layer in layers[:-1]:
        x = np.floor((x @ layer.kernel + layer.bias) * 2.0**-layer.shift).clip(0, ACTIVATION)
    return np.floor((x @ layers[-1].kernel + layers[-1].bias) * 2.0 ** -layers[-1].shift)


def posterior(network: Network, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the posterior of images.

    Args:
      network: the integer network.
      symbols: images as symbols [N, pixels].

    Returns:
      Mean and scale, [N, Z] each, in steps of the latent grid.
    """
    mean, log_scale = _parts(forward(network.encoder, symbols.astype(np.float64)), 2)
    mean = (mean * 2.0 ** (LATENT_BITS - ACTIVATION_BITS)).clip(-LATENT, LATENT)
    return mean, _rows(network.scales, log_scale)


def likelihood(network: Network, z: np.ndarray) -> np.ndarray:
    """Computes the weights of the symbols, which are proportional to their probabilities.

    Args:
      network: the integer network.
      z: latents [N, Z] in steps of the latent grid.

    Returns:
      Weights [N, pixels, levels].
    """
    first, *rest = zip(network.tables, _parts(forward(network.decoder, z.astype(np.float64)), len(network.tables)))
    weights = _rows(*first)
    for table, activation in rest:
        weights *= _rows(table, activation)
    return weights


def _parts(outputs: np.ndarray, num: int) -> list[np.ndarray]:
    """Returns outputs [N, O] as `num` arrays [N, O / num], ten times faster than np.split."""
    size = outputs.shape[1] // num
    return [outputs[:, place * size : (place + 1) * size] for place in range(num)]


def _rows(table: np.ndarray, activation: np.ndarray) -> np.ndarray:
    """Returns the row of a table [R, ...] for each activation; beyond the table, its first or last row."""
    row = np.floor(activation * 2.0 ** (ROW_BITS - ACTIVATION_BITS)) + len(table) // 2
    return table.take(row.astype(np.intp), axis=0, mode="clip")


def row_values(rows: int) -> np.ndarray:
    """Returns the middle of the interval that each row of a table stands for [R]; 0 is in the middle of the table.

    Args:
      rows: number of rows R.
    """
    return (np.arange(rows) - rows // 2 + 0.5) * 2.0**-ROW_BITS


def bernoulli(levels: int) -> np.ndarray:
    """Returns the probabilities of the symbols 0 and 1 for logits within [-16, 16].

    Args:
      levels: number of symbols, which must be 2.

    Returns:
      Table [1, R, 2].

    Raises:
      UserError: for another number of symbols.
    """
    if levels != 2:
        raise UserError(f"number of levels is {levels}; expected 2 for a bernoulli likelihood")
    logits = row_values(32 << ROW_BITS)
    return np.stack([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], axis=-1)[None]


def beta_binomial(levels: int) -> np.ndarray:
    """Returns two tables; the product of their rows is the beta-binomial of n = levels - 1, up to a factor.

    p(s | alpha, beta) is f(s, alpha) f(n - s, beta) / f(n, alpha + beta) with f(s, a) = Gamma(s + a) / (Gamma(a) s!).
    Thus one table of f serves both. Log alpha and log beta are within [-7, 7], where no product leaves the range of
    float64.

    Args:
      levels: number of symbols.

    Returns:
      Tables [2, R, levels].
    """
    a = np.exp(row_values(14 << ROW_BITS))[:, None]  # [R, 1]
    s = np.arange(1, levels)
    log_f = np.cumsum(np.log((s - 1 + a) / s), axis=1)  # for s = 1 .. n
    log_f = np.pad(log_f, ((0, 0), (1, 0)))
    f = np.exp(log_f - log_f.max(1, keepdims=True))
    return np.stack([f, f[:, ::-1]])


LIKELIHOODS: dict[str, Callable[[int], np.ndarray]] = {"bernoulli": bernoulli, "beta_binomial": beta_binomial}


def to_bytes(network: Network) -> bytes:
    """Returns a network as the content of an .npz file; equal networks give equal bytes.

    Args:
      network: the integer network.
    """
    arrays = {
        "format": np.asarray(FORMAT),
        "shape": np.asarray(network.shape),
        "scales": network.scales,
        "tables": network.tables,
    }
    for name in ("encoder", "decoder"):
        for place, layer in enumerate(getattr(network, name)):
            arrays[f"{name}_{place}_kernel"] = layer.kernel.astype(np.int16)
            arrays[f"{name}_{place}_bias"] = layer.bias.astype(np.int64)
            arrays[f"{name}_{place}_shift"] = np.asarray(layer.shift)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # because the stubs take every array for a flag
    return buffer.getvalue()


def from_bytes(content: bytes) -> Network:
    """Reads a network that `to_bytes` wrote.

    Args:
      content: content of the .npz file.

    Raises:
      UserError: for other content, or another format.
    """
    with readable("compressor.npz", "the file of a compressor"):
        arrays = read_archive(io.BytesIO(content))
        if arrays["format"] != FORMAT:
            raise UserError(
                f"format of the compressor is {arrays['format']}; expected {FORMAT}. Use the version of gen_jax that "
                "wrote it"
            )
        encoder, decoder = (_layers(arrays, name) for name in ("encoder", "decoder"))
        tables = arrays["tables"]
        height, width, channels = map(int, arrays["shape"])
        network = Network((height, width, channels), tables.shape[-1], encoder, decoder, arrays["scales"], tables)
        check(network)
    return network


def _layers(arrays: dict[str, np.ndarray], name: str) -> list[Layer]:
    layers: list[Layer] = []
    while f"{name}_{len(layers)}_kernel" in arrays:
        kernel, bias, shift = (arrays[f"{name}_{len(layers)}_{part}"] for part in Layer._fields)
        layers.append(Layer(kernel.astype(np.float64), bias.astype(np.float64), int(shift)))
    return layers
