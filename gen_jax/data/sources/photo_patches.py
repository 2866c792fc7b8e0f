"""A folder of photos of any sizes as a source of square patches, with their shrunk patches as the condition."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ImageOps

from gen_jax.data.cache import content_hash, files_hash
from gen_jax.data.resizing import cropped, luminance, shrunk
from gen_jax.data.source import Source
from gen_jax.data.sources.image_folder import (
    MODES,
    WAY,
    channels_of,
    images_in,
    opened_image,
    sides_of,
)
from gen_jax.data.sources.splits import held_out
from gen_jax.errors import UserError, check_whole, choose, readable

CHANNELS = {"luminance": 1, "rgb": 3}  # value of `data.channels` -> number of channels
VALIDATION = "validation"  # name of the held-out photos beside a folder of test photos
DECODED = 4  # number of photos that stay decoded


class Cut(NamedTuple):
    """Describes how photos are cut.

    Attributes:
      side: side of a patch of a shrunk photo, in pixels of the shrunk photo.
      stride: distance between two such patches.
      scale: ratio of the sides of a photo and its shrunk photo; 1 without a condition.
      channels: a name in `CHANNELS`.
    """

    side: int
    stride: int
    scale: int
    channels: str


def photo_patches(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens a folder of photos, and its subfolders, as square patches.

    A whole photo is shrunk before it is cut, so that the border of a patch has the same pixels as the photo. The sides
    of a photo are cropped to a multiple of `data.shrink`. The last patches of a row and of a column end at the border.

    A share `data.holdout` of the photos is held out. They are the test split. If `data.test_path` names a folder of test
    photos, they are the validation split. The names of the photos of both are stored, so that whole photos can be scored.

    Args:
      path: the folder.
      options: the `data` section of a config. `content` in it is the hash of the content, if it is known.

    Raises:
      UserError: for faulty settings, photos that cannot be read, or a split without a photo that holds a patch.
    """
    files = files_of_splits(path, options)
    cut = cut_of(options, files[options["split"]][0])
    corners = {split: corners_of(photos, cut) for split, photos in files.items()}
    for split, patches in corners.items():
        if not len(patches):
            raise UserError(
                f"data.patch is {cut.side * cut.scale} and no photo of the split {split!r} of {path} is so large; "
                f"expected a smaller patch"
            )
    patch, num_channels = cut.side * cut.scale, CHANNELS[cut.channels]

    @lru_cache(DECODED)
    def decoded(file: Path) -> tuple[np.ndarray, np.ndarray]:
        photo = cropped(read_photo(file, cut.channels), cut.scale)
        return photo, shrunk(photo, cut.scale) if cut.scale > 1 else photo

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        photos, tops, lefts = corners[split][indices].T
        x = np.empty((len(indices), patch, patch, num_channels), np.uint8)
        c = np.empty((len(indices), cut.side, cut.side, num_channels), np.uint8)
        for row in np.argsort(photos, kind="stable"):
            large, small = decoded(files[split][photos[row]])
            top, left = tops[row], lefts[row]
            c[row] = small[top : top + cut.side, left : left + cut.side]
            x[row] = large[top * cut.scale :, left * cut.scale :][:patch, :patch]
        return {"x": x, "c": c} if cut.scale > 1 else {"x": x}

    hashes = options.get("content") or content_hash(
        *(content_hash(split, files_hash(photos), WAY) for split, photos in files.items()), list(cut)
    )
    held_out = {split: [str(file) for file in photos] for split, photos in files.items() if split != options["split"]}
    source = Source(
        name=path.name,
        kind="image",
        shape=(patch, patch, num_channels),
        dtype=np.dtype(np.uint8),
        sizes={split: len(patches) for split, patches in corners.items()},
        rows=rows,
        content=hashes,
        limits=(0, 255),
    )
    if cut.scale == 1:
        return source._replace(info={"photos": held_out, "channels": cut.channels})
    condition = source._replace(
        shape=(cut.side, cut.side, num_channels),
        rows=lambda split, indices: {"x": rows(split, indices)["c"]},
    )
    info = {"photos": held_out, "channels": cut.channels, "shrink": cut.scale}
    return source._replace(info=info, condition=condition)


def cut_of(options: Mapping[str, Any], first: Path) -> Cut:
    """Returns how photos are cut, by the settings `patch`, `shrink`, `stride` and `channels`.

    Args:
      options: the `data` section of a config.
      first: the first photo. Without `channels`, it decides whether patches have colours.

    Raises:
      UserError: for a number that is out of range, sides that the scale does not divide, or `data.resize`.
    """
    patch, scale = options["patch"], options.get("shrink") or 1
    stride = options.get("stride") or max(1, patch // scale // 2) * scale
    for name, value in (("patch", patch), ("shrink", scale), ("stride", stride)):
        check_whole(f"data.{name}", value)
        if value % scale:
            raise UserError(f"data.{name} is {value}; expected a multiple of data.shrink, {scale}")
    if options.get("resize") is not None:
        raise UserError(
            f"data.resize is {options['resize']} beside data.patch; expected one of the two, because patches keep their pixels"
        )
    channels = options.get("channels")
    if channels is None:
        with readable(f"{first}", "an image"), opened_image(first) as image:
            channels = "luminance" if channels_of(image) == 1 else "rgb"
    return Cut(patch // scale, stride // scale, scale, choose("data.channels", channels, CHANNELS))


def files_of_splits(path: Path, options: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Returns the photos of each split; see `photo_patches`.

    The held-out photos are the photos with the smallest hashes of their names, so that they do not depend on the order.

    Args:
      path: the folder.
      options: the `data` section of a config.

    Raises:
      UserError: for a folder without images, or a share that is out of range.
    """
    files, test_path, test_split = images_in(path), options.get("test_path"), options["test_split"]
    names = [str(file.relative_to(path)) for file in files]
    settings = {**options, "test_split": test_split if test_path is None else VALIDATION}
    places = held_out(f"data.path {path}", names, settings, "photos")
    splits = {split: [files[place] for place in numbers] for split, numbers in places.items()}
    if test_path is not None and test_split == options["split"]:
        raise UserError(
            f"data.test_split of data.test_path {test_path} is {test_split!r}, as is data.split; expected another split"
        )
    if test_path is not None:
        splits[test_split] = images_in(Path(test_path).expanduser(), "data.test_path")
    return splits


def corners_of(files: Sequence[Path], cut: Cut) -> np.ndarray:
    """Returns the number of the photo, the top and the left of each patch, [N, 3], in pixels of the shrunk photo.

    Args:
      files: the photos.
      cut: how photos are cut.
    """
    corners = [np.zeros((0, 3), int)]
    for number, file in enumerate(files):
        tops, lefts = (starts(side // cut.scale, cut.side, cut.stride) for side in sides_of(file))
        grid = np.stack(np.meshgrid(tops, lefts, indexing="ij"), -1).reshape(-1, 2)
        corners.append(np.insert(grid, 0, number, axis=1))
    return np.concatenate(corners)


def starts(length: int, side: int, stride: int) -> np.ndarray:
    """Returns the first pixels of the patches along one axis. The last patch ends at the last pixel.

    Args:
      length: number of pixels of the axis.
      side: number of pixels of a patch.
      stride: distance between two patches.
    """
    last = length - side
    regular = np.arange(0, last + 1, stride)
    return regular if not len(regular) or regular[-1] == last else np.append(regular, last)


def read_photo(file: Path, channels: str) -> np.ndarray:
    """Reads a photo [H, W, C] of 8 bits as an image viewer shows it.

    The luminance of a grey photo is its grey. The three colours of a grey photo are equal.

    Args:
      file: the file.
      channels: a name in `CHANNELS`.

    Raises:
      UserError: for a file that is not an image, or an image with transparency.
    """
    with readable(f"{file}", "an image"), opened_image(file) as image:
        num = channels_of(image)
        if num == 4:
            raise UserError(f"{file} has transparency; expected photos without. Save them as RGB or grey")
        x = np.asarray(ImageOps.exif_transpose(image).convert(MODES[num]))
    x = x if x.ndim == 3 else x[..., None]
    if channels == "luminance":
        return luminance(x)
    return np.repeat(x, 3, axis=-1) if num == 1 else x
