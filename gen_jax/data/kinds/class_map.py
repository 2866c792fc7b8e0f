"""Maps of classes [H, W]: the class of each pixel of an image, drawn in the colours of the classes."""

import colorsys

import numpy as np
from PIL import Image

from gen_jax.data.kinds.image import grid
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.spec import Spec, levels

UNLABELLED = (0, 0, 0)  # colour of a pixel without a class


def colours_of(spec: Spec) -> np.ndarray:
    """Returns the colours of the classes, and of pixels without a class, [K + 1, 3] uint8.

    Classes without colours of their own get hues at equal distances.

    Args:
      spec: facts of the data.
    """
    num = levels(spec)
    colours = spec.info.get("colours")
    if colours is None:
        hues = [colorsys.hsv_to_rgb(number / num, 0.65, 0.95) for number in range(num)]
        colours = [[round(255 * part) for part in hue] for hue in hues]
    return np.array([*colours[:num], UNLABELLED], np.uint8)


def picture(x: np.ndarray, spec: Spec, columns: int | None = None) -> Image.Image:
    """Returns maps in a grid, in the colours of their classes.

    Args:
      x: maps [N, H, W] of classes from 0; the number of classes stands for no class.
      spec: facts of the data.
      columns: number of maps in a row; by default the maps form a square.
    """
    return grid(colours_of(spec)[x], spec._replace(low=0, high=255), columns)


CLASS_MAP = Kind(
    "class_map", "class maps", "HW", default_transform="none", options=("resize", "width"), picture=picture
)
