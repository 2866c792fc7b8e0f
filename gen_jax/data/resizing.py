"""Resizes photos with the bicubic filter of MATLAB's `imresize`, and converts them to luminance as its `rgb2ycbcr`.

The tables of super-resolution are defined by these two functions. Their weights differ from the resizing of other
libraries: OpenCV's filter has no antialiasing and another kernel.
"""

from functools import lru_cache

import numpy as np

LUMINANCE = np.array([65.481, 128.553, 24.966]) / 255  # weights of red, green and blue in 8 bits (ITU-R BT.601)
BLACK = 16  # luminance of black; white has 235


def cubic(distance: np.ndarray) -> np.ndarray:
    """Returns the weights of the cubic convolution kernel with a = -0.5 (Keys 1981, equation 15).

    Args:
      distance: distances in pixels, of any shape.
    """
    x = np.abs(distance)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@lru_cache(maxsize=256)
def bicubic_matrix(size: int, new_size: int) -> np.ndarray:
    """Returns the matrix [new_size, size] of float64 that resizes one axis of an image.

    If the axis shrinks, the kernel is stretched, so that the image is not aliased. Pixels beyond the border are the
    pixels inside, mirrored.

    Args:
      size: number of pixels.
      new_size: number of pixels after the resizing.
    """
    ratio = new_size / size
    stretch = min(ratio, 1.0)
    centres = (np.arange(new_size) + 0.5) / ratio - 0.5  # places of the new pixels among the old pixels
    reach = int(np.ceil(2 / stretch)) + 1
    places = np.floor(centres)[:, None].astype(int) + np.arange(-reach, reach + 1)  # [new_size, K]
    weights = cubic((centres[:, None] - places) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = places % (2 * size)
    mirrored = np.minimum(mirrored, 2 * size - 1 - mirrored)
    matrix = np.zeros((new_size, size))
    np.add.at(matrix, (np.arange(new_size)[:, None], mirrored), weights)
    matrix.flags.writeable = False  # because the matrix is shared by all callers
    return matrix


def bicubic(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns an image [height, width, C] float64, resized by the filter of `bicubic_matrix`.

    Values may be outside the range of the values of `x`.

    Args:
      x: image [H, W, C].
      height: new height in pixels.
      width: new width in pixels.
    """
    rows, columns = bicubic_matrix(x.shape[0], height), bicubic_matrix(x.shape[1], width)
    return np.einsum("wv,hvc->hwc", columns, np.tensordot(rows, x.astype(np.float64), 1), optimize=True)


def shrunk(x: np.ndarray, scale: int) -> np.ndarray:
    """Returns an image of 8 bits [H / scale, W / scale, C], shrunk and rounded to 8 bits.

    Args:
      x: image of 8 bits [H, W, C], whose sides are multiples of `scale`.
      scale: ratio of the sides.
    """
    return to_bytes(bicubic(x, x.shape[0] // scale, x.shape[1] // scale))


def enlarged(x: np.ndarray, scale: int) -> np.ndarray:
    """Returns an image of 8 bits [scale H, scale W, C], enlarged and rounded to 8 bits.

    Args:
      x: image of 8 bits [H, W, C].
      scale: ratio of the sides.
    """
    return to_bytes(bicubic(x, x.shape[0] * scale, x.shape[1] * scale))


def to_bytes(x: np.ndarray) -> np.ndarray:
    """Returns numbers rounded to the nearest whole number of 8 bits, halves upwards as MATLAB does.

    Args:
      x: numbers of any shape.
    """
    return np.clip(np.floor(x + 0.5), 0, 255).astype(np.uint8)


def luminance(x: np.ndarray) -> np.ndarray:
    """Returns the luminance Y [H, W, 1] of 8 bits of an image; a grey image is returned as it is.

    Args:
      x: image of 8 bits [H, W, C] with 1 or 3 channels.
    """
    return x if x.shape[-1] == 1 else to_bytes(x @ LUMINANCE + BLACK)[..., None]


def cropped(x: np.ndarray, scale: int) -> np.ndarray:
    """Returns an image without the last rows and columns beyond a multiple of `scale`.

    Args:
      x: image [H, W, C].
      scale: the number that divides the sides of the result.
    """
    return x[: x.shape[0] // scale * scale, : x.shape[1] // scale * scale]
