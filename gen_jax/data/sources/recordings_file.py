"""An .npz file of recordings, or a folder of .wav files, as a source of rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash, files_hash
from gen_jax.data.kinds.audio import Recordings, source_of_recordings
from gen_jax.data.limits import ask
from gen_jax.data.npz_files import read_archive
from gen_jax.data.source import Source
from gen_jax.data.sources.image_folder import classes_of, split_roots, top_folder, visible_files
from gen_jax.data.sources.records import SPLIT
from gen_jax.data.sources.splits import held_out, splits_by_name
from gen_jax.errors import UserError, choose, readable

RATE = "rate"  # the array that tells recordings from other arrays


def recordings_file(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens an .npz file with `rate`, samples a second, and recordings: `x` [N, T], or `audio` [sum of the lengths].

    Samples are mu-law tokens uint8, whole numbers of 16 bits, or amplitudes in [-1, 1]. `length` [N] says how many samples a
    recording has; all T of `x` without it. `split` [N] names the split of a recording. The array that `data.label`
    names, by default `y`, holds the labels. If they are whole numbers, `classes` may name them.

    Args:
      path: the file.
      options: the `data` section of a config.

    Raises:
      UserError: for a file that cannot be read, or arrays that are no such recordings.
    """
    with readable(f"data.path {path}", "an array file"):
        arrays = read_archive(path)
    sounds = sounds_of(path, arrays)
    num, label = len(sounds), options.get("label")
    named = {name for name, array in arrays.items() if array.shape == (num,)} - {"length", SPLIT}
    if label is not None:
        choose("data.label", label, sorted(named))
    labels, classes = labels_of(arrays, (label or "y") if (label or "y") in named else None)
    splits = arrays.get(SPLIT)
    if splits is not None and splits.shape == (num,):
        places = splits_by_name([str(name) for name in splits])
    else:
        places = held_out(f"data.path {path}", [str(row) for row in range(num)], options, "recordings")
    recorded = Recordings(path.stem, sounds, int(arrays[RATE]), places, labels, classes)
    content = options.get("content") or files_hash([path])
    return source_of_recordings(recorded, options, content_hash(content, options.get("encoding"), label))


def recordings_folder(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens a folder of .wav files and its sub-folders.

    Sub-folders give the splits and the labels, as in a folder of images. Without splits, the files with the smallest
    hashes of their names are held out.

    Args:
      path: the folder.
      options: the `data` section of a config.

    Raises:
      UserError: for a file that cannot be read, or files of different rates.
    """
    files = visible_files(path, (".wav",))[0]
    ask(sum(file.stat().st_size for file in files), f"data.path {path}")
    roots = split_roots(path, files)
    parts = {split: [at for at, file in enumerate(files) if file.is_relative_to(root)] for split, root in roots.items()}
    names = {split: [top_folder(files[at], roots[split]) for at in each] for split, each in parts.items()}
    classes = classes_of(path, names, "recordings")
    folders = {at: name for split, each in parts.items() for at, name in zip(each, names[split], strict=True)}
    labels = [folders[at] for at in range(len(files))] if classes else []
    sounds = [wav_sound(file) for file in files]
    for file, (rate, _) in zip(files, sounds, strict=True):
        if rate != sounds[0][0]:
            raise UserError(f"{file} has {rate} Hz and {files[0].name} has {sounds[0][0]} Hz; expected one rate")
    if len(parts) > 1:
        places = {split: np.array(each) for split, each in parts.items()}
    else:
        places = held_out(f"data.path {path}", [str(file.relative_to(path)) for file in files], options, "recordings")
    recorded = Recordings(path.name, [sound for _, sound in sounds], sounds[0][0], places, labels, classes)
    known = [str(file.relative_to(path)) for file in files]
    content = options.get("content") or content_hash(files_hash(files), known)
    return source_of_recordings(recorded, options, content_hash(content, options.get("encoding")))


def wav_sound(file: Path) -> tuple[int, np.ndarray]:
    """Returns the rate and the samples [T] of a .wav file, whose channels are averaged.

    Args:
      file: the file.

    Raises:
      UserError: for a file that is no sound, or is empty.
    """
    from scipy.io import wavfile  # slow to import

    with readable(f"{file}", "a .wav file"):
        rate, sound = wavfile.read(file)
    if not sound.size:
        raise UserError(f"{file} is empty; expected a sound")
    if sound.dtype.kind == "u":
        sound = (sound.astype(np.float32) - 128) / 128
    elif sound.dtype != np.int16:
        scale = 1 if sound.dtype.kind == "f" else np.iinfo(sound.dtype).max + 1
        sound = np.clip(sound / scale, -1, 1).astype(np.float32)
    return int(rate), sound if sound.ndim == 1 else sound.mean(1).astype(sound.dtype)


def sounds_of(path: Path, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Returns the samples of each recording.

    Args:
      path: the file, for errors.
      arrays: its arrays.

    Raises:
      UserError: for arrays that are no recordings.
    """
    rate, samples = arrays[RATE], arrays.get("x", arrays.get("audio"))
    if rate.size != 1 or rate.dtype.kind not in "iu" or int(rate.ravel()[0]) < 1:
        raise UserError(f"rate of data.path {path} is {rate.tolist()}; expected one whole number of samples a second")
    if samples is None or samples.dtype.str[1:] not in ("u1", "i2", "f4", "f8"):
        found = ", ".join(arrays) if samples is None else f"samples of type {samples.dtype}"
        raise UserError(
            f"data.path {path} has a rate and holds {found}; expected x [N, T] or audio [T] of uint8 (mu-law), int16 or "
            "real numbers"
        )
    if samples.dtype.kind == "f" and not (np.abs(samples) <= 1).all():
        raise UserError(f"data.path {path} holds amplitudes up to {np.abs(samples).max():g}; expected at most 1")
    lengths = arrays.get("length")
    if samples.ndim == 2:
        lengths = np.full(len(samples), samples.shape[1]) if lengths is None else lengths
        if lengths.shape == (len(samples),) and (lengths >= 1).all() and (lengths <= samples.shape[1]).all():
            return [row[:length] for row, length in zip(samples, lengths, strict=True)]
    elif samples.ndim == 1 and lengths is not None and lengths.ndim == 1 and (lengths >= 1).all():
        if lengths.sum() == len(samples):
            return np.split(samples, np.cumsum(lengths)[:-1])
    raise UserError(
        f"data.path {path} holds samples {[*samples.shape]} and {'no' if lengths is None else [*lengths.shape]} lengths; "
        "expected x [N, T] with lengths up to T, or audio of one axis with lengths that add up to it"
    )


def labels_of(arrays: Mapping[str, np.ndarray], name: str | None) -> tuple[list[str], list[str]]:
    """Returns the label of each recording, and the labels in their order; both are empty without labels.

    Args:
      arrays: the arrays of the file.
      name: name of the array of labels, or None.
    """
    if name is None:
        return [], []
    values, names = arrays[name], arrays.get("classes")
    if (
        names is not None
        and name == "y"
        and values.dtype.kind in "iu"
        and 0 <= values.min() <= values.max() < len(names)
    ):
        return [str(names[value]) for value in values], [str(each) for each in names]
    return [str(value) for value in values], [str(each) for each in np.unique(values)]
