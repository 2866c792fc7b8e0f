"""Samples as files: arrays, and the files that the kind of the data writes (pictures, text, music, sound, tables)."""

import io

import numpy as np

from gen_jax.data.domain import named_labels
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.pictures import picture
from gen_jax.data.spec import Spec
from gen_jax.errors import choose


def arrays(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns samples as the bytes of an .npz file.

    Args:
      samples: samples in the domain of the data.
      spec: facts of the data.
    """
    buffer = io.BytesIO()
    if "y" in samples:
        samples = {**samples, "y": named_labels(spec.classes, spec.label_type, samples["y"])}
    np.savez_compressed(buffer, **samples)  # type: ignore[arg-type]  # no array is named allow_pickle
    return buffer.getvalue()


def encode(samples: dict[str, np.ndarray], spec: Spec, suffix: str) -> dict[str, bytes]:
    """Returns samples in the domain of the data as files: suffix -> bytes.

    Args:
      samples: `x` [N, *shape], with `y` and `length` if the data have them.
      spec: the facts of the data.
      suffix: suffix of the file. If the file cannot be looked at, such as .mid, a picture is written with it.

    Raises:
      UserError: for a suffix that samples of this kind cannot have.
    """
    kind = kind_of(spec)
    choose(f"file type of samples of {spec.kind} data", suffix, (".npz", *kind.suffixes))
    writers = {".npz": arrays, ".png": picture, **kind.write}
    suffixes = [suffix]
    if suffix in kind.write and kind.picture:
        suffixes.append(".png")
    return {suffix: writers[suffix](samples, spec) for suffix in suffixes}
