"""Images to words and back by an integer network and asymmetric numeral systems: a stack, what is put last comes first.

An image x costs -log2 p(x|z) - log2 p(z) + log2 q(z|x) bits where its latent z is drawn by taking bits off the stack,
which decoding puts back (bits back; Townsend, Bird and Barber 2019, arXiv 1901.04866). Where the stack is too short for
that, z is the rounded posterior mean and costs its full -log2 P(z): no seed is needed, and a few images cost few bits.
"""

from collections.abc import Callable

import constriction
import numpy as np

from gen_jax.coding import integer
from gen_jax.coding.integer import LATENT, LATENT_BITS, Network
from gen_jax.errors import UserError

ENCODED = 256  # images that the encoder reads at a time; changes no bit
DIRECT = 2.0**-6  # probability of an image without bits back
SYMBOL = 24  # bits that a symbol takes off the stack, at most: the precision of the coder
DRY = 2  # words that a stack holds that never ran dry; a dry one gives the least symbol, for ever
UNIT = 1 << LATENT_BITS  # steps of the grid in a standard deviation of the prior

AnsCoder = constriction.stream.stack.AnsCoder
_flag = constriction.stream.model.Bernoulli(DIRECT, perfect=False)
_pixel = constriction.stream.model.Categorical(perfect=False)
_posterior = constriction.stream.model.QuantizedGaussian(-LATENT, LATENT)
_prior = constriction.stream.model.QuantizedGaussian(-LATENT, LATENT, 0.0, float(UNIT))
_coarse = constriction.stream.model.QuantizedGaussian(-LATENT // UNIT, LATENT // UNIT, 0.0, 1.0)


def encode(network: Network, symbols: np.ndarray, progress: Callable[[int], None] = lambda num: None) -> np.ndarray:
    """The words [W] uint32 of images of symbols [N, pixels]; `progress` is told how many more are done.

    The last image is put first, so that `decode` gives them in order.
    """
    coder = AnsCoder()
    deep = -(-SYMBOL * network.decoder[0].kernel.shape[0] // 32) + 2  # words that a draw of z never uses up
    for stop in range(len(symbols), 0, -ENCODED):
        batch = symbols[max(0, stop - ENCODED) : stop]
        for x, mean, scale in reversed(list(zip(batch.astype(np.int32), *integer.posterior(network, batch)))):
            less = coder.clone() if coder.num_words() < deep else coder
            z = less.decode(_posterior, mean, scale)
            direct = less.num_words() < DRY
            if direct:
                z = np.rint(mean / UNIT).astype(np.int32)
            else:
                coder = less
            coder.encode_reverse(x, _pixel, _weights(network, z, direct))
            coder.encode_reverse(z, _coarse if direct else _prior)
            coder.encode_reverse(int(direct), _flag)
        progress(len(batch))
    return coder.get_compressed()


def decode(
    network: Network, words: np.ndarray, num: int, progress: Callable[[int], None] = lambda num: None
) -> np.ndarray:
    """The images of symbols [num, pixels] uint8 that `encode` put into words [W].

    Raises:
      UserError: for words that `encode` did not make of so many images.
    """
    symbols = np.empty((num, int(np.prod(network.shape))), np.uint8)
    latents = network.decoder[0].kernel.shape[0]
    try:
        coder = AnsCoder(words)
        for x in symbols:
            if coder.is_empty():
                raise UserError("the bits ran out")
            direct = coder.decode(_flag)
            z = coder.decode(_coarse if direct else _prior, latents)
            x[:] = coder.decode(_pixel, _weights(network, z, direct))
            if not direct:
                mean, scale = integer.posterior(network, x[None])
                coder.encode_reverse(z, _posterior, mean[0], scale[0])
            progress(1)
        left = not coder.is_empty()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 (a panic of Rust is no Exception)
        raise UserError(f"the coder stopped: {error}") from None
    if left:
        raise UserError("bits are left over")
    return symbols


def _weights(network: Network, z: np.ndarray, direct: bool) -> np.ndarray:
    """Weights [pixels, levels] of the symbols at a latent z [Z], in steps of the grid or, if `direct`, whole ones."""
    return integer.likelihood(network, z[None] * (UNIT if direct else 1))[0]
