"""An .npz file of recordings, or a folder of .wav files, as a source of rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash, files_hash
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.audio import ENCODINGS, Recordings, source_of_recordings
from gen_jax.data.limits import ask
from gen_jax.data.npz_files import read_archive
from gen_jax.data.source import Source
from gen_jax.data.sources.array_file import checked_labels
from gen_jax.data.sources.array_file import classes_of as classes_of_labels
from gen_jax.data.sources.fields import condition_options, paired, text_field, texts_in
from gen_jax.data.sources.image_folder import classes_of, split_roots, top_folder, visible_files
from gen_jax.data.sources.records import SPLIT, read_whole_text
from gen_jax.data.sources.splits import held_out, splits_by_name
from gen_jax.errors import UserError, choose, readable

RATE = "rate"  # the array that tells recordings from other arrays
LABEL = "y"  # the array of labels, unless `data.label` names another
METADATA, SOUNDS = "metadata.csv", "wavs"  # texts and recordings of a folder, in the form of LJSpeech


def encoding_of(options: Mapping[str, Any]) -> str:
    """Returns the encoding that the options ask for.

    Args:
      options: the `data` section of a config.
    """
    return options.get("encoding") or ENCODINGS[0]


def held_out_share(options: Mapping[str, Any], divided: bool) -> list[float]:
    """Returns what the hash of the content says of the held-out rows: the share, unless it is that of earlier versions.

    Args:
      options: the `data` section of a config.
      divided: whether rows are held out by a share.
    """
    share = options.get("holdout") or 0.0
    return [share] if divided and share != 0.1 else []


def type_and_shape(array: np.ndarray) -> str:
    """Returns the type and the shape of an array as a text.

    Args:
      array: the array.
    """
    return f"{array.dtype}{[*array.shape]}"


def recordings_file(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens an .npz file with `rate`, samples a second, and recordings: `x` [N, T], or `audio` [sum of the lengths].

    Samples are mu-law tokens uint8, whole numbers of 16 bits, or amplitudes in [-1, 1]. `length` [N] says how many samples a
    recording has; all T of `x` without it. `split` [N] names the split of a recording. The array that `data.label`
    names, by default `y`, holds the labels. If they are whole numbers, `classes` may name them. The array that
    `data.condition` names holds the texts of the recordings.

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
    if label is not None:
        named = {name for name, array in arrays.items() if array.shape == (num,)} - {"length", SPLIT}
        choose("data.label", label, sorted(named))
    labels, classes = labels_of(f"data.path {path}", arrays, label or LABEL, num)
    if SPLIT in arrays:
        if arrays[SPLIT].shape != (num,) or arrays[SPLIT].dtype.kind != "U":
            raise UserError(
                f"split of data.path {path} is {type_and_shape(arrays[SPLIT])}; expected {num} names of splits"
            )
        places = splits_by_name(arrays[SPLIT].tolist())
    else:
        places = held_out(f"data.path {path}", [str(row) for row in range(num)], options, "recordings")
    recorded = Recordings(path.stem, sounds, int(arrays[RATE].ravel()[0]), places, labels, classes, label or "")
    share = held_out_share(options, SPLIT not in arrays)
    content = content_hash(options.get("content") or files_hash([path]), encoding_of(options), label or LABEL, *share)
    source = source_of_recordings(recorded, options, content)
    name = options.get("condition")
    if name is None:
        return source
    texts = {key: texts_of(arrays, key, num) for key in arrays}
    choose(f"data.condition of {path}:", name, sorted(key for key in texts if texts[key]))
    return with_texts(source, f"{path}, {name!r}", texts[name], places, options)


def texts_of(arrays: Mapping[str, np.ndarray], name: str, num: int) -> list[str]:
    """Returns the texts of an array; none if it holds anything but a text for each recording.

    Args:
      arrays: arrays by name.
      name: name of the array.
      num: number of recordings.
    """
    return texts_in(arrays[name]) if arrays[name].shape == (num,) and name != SPLIT else []


def with_texts(
    source: Source, origin: str, texts: Sequence[str], places: Mapping[str, np.ndarray], options: Mapping[str, Any]
) -> Source:
    """Returns recordings with their texts as the condition. The tokens are characters unless `data.vocabulary` is set.

    Args:
      source: the recordings.
      origin: place of the texts, for errors.
      texts: text of each recording.
      places: split -> numbers of its recordings.
      options: the `data` section of a config.

    Raises:
      UserError: for a recording without text, or a series with fewer frames than its text has symbols.
    """
    settings = {**condition_options(options), "vocabulary": options.get("vocabulary") or "characters"}
    condition = text_field(source.name, origin, texts, places, settings)
    for split, rows in places.items() if kind_of(source).columns else ():
        assert source.lengths is not None and condition.lengths is not None  # because both have lengths
        frames, symbols = source.lengths(split), condition.lengths(split)
        for row in np.flatnonzero(symbols > frames):
            raise UserError(
                f"recording {rows[row] + 1} of {origin} has {frames[row]} frames and {symbols[row]} symbols "
                f"{texts[rows[row]][:40]!r}; expected as many frames as symbols, or more. Set a smaller hop, such as "
                "--config.data.mel=hop=64"
            )
    return paired(source, condition, content_hash(source.content, condition.content, [*texts]))


def spoken_folder(path: Path, options: Mapping[str, Any]) -> Source:
    """Opens a folder with recordings in `wavs/` and their texts in `metadata.csv`, in the form of LJSpeech.

    A line of `metadata.csv` is `NAME|TEXT`, or `NAME|TEXT|NORMALISED`, whose last text is read. `wavs/NAME.wav` is the
    recording. The recordings with the smallest hashes of their names are held out.

    Args:
      path: the folder.
      options: the `data` section of a config. `condition` may be `text` alone.

    Raises:
      UserError: for a line of another form, a recording that does not exist, or files of different rates.
    """
    choose(f"data.condition of {path}:", options["condition"], ("text",))
    with readable(f"{path / METADATA}", "a text file"):
        lines = [line.split("|") for line in read_whole_text(path / METADATA).splitlines() if line.strip()]
    for number, cells in enumerate(lines):
        if len(cells) not in (2, 3):
            raise UserError(
                f"line {number + 1} of {path / METADATA} has {len(cells)} cells; expected NAME|TEXT, or NAME|TEXT|NORMALISED"
            )
    files = [path / SOUNDS / f"{cells[0].strip()}.wav" for cells in lines]
    for number, file in enumerate(files):
        if not file.is_file():
            raise UserError(
                f"{file} of line {number + 1} of {METADATA} does not exist; expected a recording of each text"
            )
    ask(sum(file.stat().st_size for file in files), f"data.path {path}")
    rate, sounds = sounds_of_files(files)
    texts = [cells[-1].strip() for cells in lines]
    places = held_out(f"data.path {path}", [file.stem for file in files], options, "recordings")
    content = options.get("content") or files_hash([path / METADATA, *files])
    content = content_hash(content, encoding_of(options), *held_out_share(options, True))
    source = source_of_recordings(Recordings(path.name, sounds, rate, places), options, content)
    return with_texts(source, f"{path / METADATA}", texts, places, options)


def sounds_of_files(files: Sequence[Path]) -> tuple[int, list[np.ndarray]]:
    """Returns the rate of .wav files, and the samples [T] of each.

    Args:
      files: the files.

    Raises:
      UserError: for a file that cannot be read, or files of different rates.
    """
    sounds = [wav_sound(file) for file in files]
    for file, (rate, _) in zip(files, sounds, strict=True):
        if rate != sounds[0][0]:
            raise UserError(f"{file} has {rate} Hz and {files[0].name} has {sounds[0][0]} Hz; expected one rate")
    return sounds[0][0], [sound for _, sound in sounds]


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
    rate, sounds = sounds_of_files(files)
    if len(parts) > 1:
        places = {split: np.array(each) for split, each in parts.items()}
    else:
        places = held_out(f"data.path {path}", [str(file.relative_to(path)) for file in files], options, "recordings")
    recorded = Recordings(path.name, sounds, rate, places, labels, classes)
    known = [str(file.relative_to(path)) for file in files]
    content = options.get("content") or content_hash(files_hash(files), known)
    content = content_hash(content, encoding_of(options), *held_out_share(options, len(parts) == 1))
    return source_of_recordings(recorded, options, content)


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
    if rate.dtype.kind not in "iu" or int(rate.ravel()[0]) < 1:
        raise UserError(f"rate of data.path {path} is {rate.ravel()[0]}; expected a whole number of samples a second")
    if samples is None or samples.dtype.str[1:] not in ("u1", "i2", "f4", "f8"):
        found = ", ".join(arrays) if samples is None else f"samples of type {samples.dtype}"
        raise UserError(
            f"data.path {path} has a rate and holds {found}; expected x [N, T] or audio [T] of uint8 (mu-law), int16 or "
            "real numbers"
        )
    if samples.dtype.kind == "f" and not (np.abs(samples) <= 1).all():
        raise UserError(f"data.path {path} holds amplitudes up to {np.abs(samples).max():g}; expected at most 1")
    lengths = arrays.get("length")
    if lengths is None and samples.ndim == 2:
        lengths = np.full(len(samples), samples.shape[1])
    whole = lengths is not None and lengths.ndim == 1 and lengths.dtype.kind in "iu" and len(lengths) > 0
    if lengths is not None and whole and (lengths >= 1).all():
        if samples.ndim == 2 and len(lengths) == len(samples) and (lengths <= samples.shape[1]).all():
            return [row[:length] for row, length in zip(samples, lengths, strict=True)]
        if samples.ndim == 1 and lengths.sum() == len(samples):
            return np.split(samples, np.cumsum(lengths)[:-1])
    raise UserError(
        f"data.path {path} holds samples {[*samples.shape]} and {'no' if lengths is None else [*lengths.shape]} lengths; "
        "expected x [N, T] with lengths up to T, or audio of one axis with lengths that add up to it"
    )


def labels_of(
    origin: str, arrays: Mapping[str, np.ndarray], name: str, num: int
) -> tuple[Sequence[str], Sequence[str]]:
    """Returns the label of each recording, and the labels in their order; both are empty without labels.

    Args:
      origin: name of the file, for errors.
      arrays: the arrays of the file.
      name: name of the array of labels.
      num: number of recordings.

    Raises:
      UserError: for labels of another shape or type, or names that do not fit them.
    """
    if name not in arrays:
        return [], []
    values = checked_labels(origin, arrays[name], num)
    names = arrays.get("classes") if name == LABEL else None
    if names is None:
        classes, codes = classes_of_labels(values)
        return [classes[code] for code in codes], classes
    if names.ndim != 1 or names.dtype.kind != "U" or values.dtype.kind not in "iu":
        raise UserError(
            f"classes of {origin} are {type_and_shape(names)} and y is {type_and_shape(values)}; expected a name for each number"
        )
    if not 0 <= values.min() <= values.max() < len(names):
        raise UserError(f"y of {origin} goes from {values.min()} to {values.max()}; expected 0 to {len(names) - 1}")
    return [names[value] for value in values], names.tolist()
