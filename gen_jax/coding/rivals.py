"""Sizes of the same images in standard formats."""

import bz2
import io
import lzma
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from gen_jax.coding.chunks import pack, to_symbols
from gen_jax.coding.images import to_png


def rivals(chunks: Iterable[np.ndarray], levels: int) -> dict[str, int]:
    """Computes the number of bytes that images take in each standard format. With two levels a pixel has 1 bit.

    Raw bytes, gzip, bz2 and LZMA read all images as one stream; PNG is one file per image.

    Args:
      chunks: images in chunks [n, H, W, C] uint8.
      levels: number of levels.

    Returns:
      Number of bytes by format.
    """
    streams: dict[str, Any] = {  # objects with compress and flush
        "gzip -9": zlib.compressobj(9, wbits=31),
        "bz2 -9": bz2.BZ2Compressor(9),
        "LZMA -9e": lzma.LZMACompressor(preset=9 | lzma.PRESET_EXTREME),
    }
    sizes = Counter(dict.fromkeys(["raw", *streams, "PNG"], 0))
    for pixels in chunks:
        symbols, _ = to_symbols(pixels, levels)
        plain = pack(symbols, levels)
        sizes["raw"] += len(plain)
        for name, stream in streams.items():
            sizes[name] += len(stream.compress(plain))
        bilevel = levels == 2 and pixels.shape[-1] == 1
        for image in pixels.astype(bool) if bilevel else pixels:
            buffer = io.BytesIO()
            to_png(image, buffer, optimize=True)
            sizes["PNG"] += len(buffer.getvalue())
    for name, stream in streams.items():
        sizes[name] += len(stream.flush())
    return dict(sizes)
