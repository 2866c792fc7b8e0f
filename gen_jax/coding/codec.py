"""Images to words and back, by an integer network and asymmetric numeral systems: a stack, last in, first out.

An image x costs -log2 p(x|z) - log2 p(z) + log2 q(z|x) bits. The encoder draws the latent z by decoding bits from the
stack, and the decoder puts these bits back (bits back; Townsend, Bird and Barber 2019, arXiv 1901.04866).

If the stack is too short to draw z, z is the rounded posterior mean and costs its full -log2 P(z). Thus no seed is
needed, and a small set of images costs few bits.
"""

from collections.abc import Callable

import constriction
import numpy as np

from gen_jax.coding import integer
from gen_jax.coding.integer import LATENT, LATENT_BITS, Network
from gen_jax.errors import UserError

ENCODED = 256  # batch size of the encoder; does not change the bits
DIRECT = 2.0**-6  # probability of an image without bits back
SYMBOL = 24  # most bits that a symbol takes off the stack: the precision of the coder
DRY = 2  # fewest words of a stack that never ran dry; a dry stack only returns the least symbol
UNIT = 1 << LATENT_BITS  # steps of the latent grid per standard deviation of the prior

AnsCoder = constriction.stream.stack.AnsCoder
_flag = constriction.stream.model.Bernoulli(DIRECT, perfect=False)
_pixel = constriction.stream.model.Categorical(perfect=False)
_posterior = constriction.stream.model.QuantizedGaussian(-LATENT, LATENT)
_prior = constriction.stream.model.QuantizedGaussian(-LATENT, LATENT, 0.0, float(UNIT))
_coarse = constriction.stream.model.QuantizedGaussian(-LATENT // UNIT, LATENT // UNIT, 0.0, 1.0)


def encode(network: Network, symbols: np.ndarray, progress: Callable[[int], None] = lambda num: None) -> np.ndarray:
    """Encodes images as words. The last image is encoded first, so that `decode` returns the images in order.

    Args:
      network: the integer network.
      symbols: images as symbols [N, pixels] uint8.
      progress: function that is called with the number of images encoded since the last call.

    Returns:
      Words [W] uint32.
    """
    coder = AnsCoder()
    deep = -(-SYMBOL * network.decoder[0].kernel.shape[0] // 32) + 2  # number of words that a draw of z never uses up
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
    """Decodes the images that `encode` made into words.

    Args:
      network: the integer network.
      words: words [W] uint32.
      num: number of images.
      progress: function that is called with the number of images decoded since the last call.

    Returns:
      Images as symbols [num, pixels] uint8.

    Raises:
      UserError: for words that `encode` did not make of this number of images.
    """
    symbols = np.empty((num, int(np.prod(network.shape))), np.uint8)
    latents = network.decoder[0].kernel.shape[0]
    try:
        coder = AnsCoder(words)
        for x in symbols:
            if coder.is_empty():
                raise UserError("the bits ran out; expected the bits of all images")
            direct = coder.decode(_flag)
            z = coder.decode(_coarse if direct else _prior, latents)
            x[:] = coder.decode(_pixel, _weights(network, z, direct))
            if not direct:
                mean, scale = integer.posterior(network, x[None])
                coder.encode_reverse(z, _posterior, mean[0], scale[0])
            progress(1)
        surplus = not coder.is_empty()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 (a panic of Rust is no Exception)
        raise UserError(f"the coder stopped ({error}); expected bits that it has written") from None
    if surplus:
        raise UserError("bits are left over; expected none")
    return symbols


def _weights(network: Network, z: np.ndarray, direct: bool) -> np.ndarray:
    """Returns weights [pixels, levels] of the symbols at a latent z [Z].

    z counts steps of the latent grid, or whole standard deviations if `direct`.
    """
    return integer.likelihood(network, z[None] * (UNIT if direct else 1))[0]
