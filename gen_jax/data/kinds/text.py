"""Text [T] as tokens: the vocabulary, rows of tokens, and tokens as text.

Only the text file of a user is opened here.
"""

import codecs
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.source import Source
from gen_jax.data.spec import Spec, sequences
from gen_jax.errors import UserError, choose

UNSEEN = "\ufffd"  # symbol for every character that the training split lacks
VOCABULARIES = ("characters", "bytes")
LINE = "\n" + "-" * 80 + "\n"  # separates texts
SHARES = {"train": 0.9, "validation": 0.95, "test": 1.0}  # ends of the splits of a user's text, as in tiny Shakespeare


def text_source(
    name: str,
    documents: Callable[[str], Sequence[bytes]],
    splits: Sequence[str],
    options: Mapping[str, Any],
    text_hash: str,
) -> Source:
    """Returns documents as rows of tokens. Rows have a `length`.

    Args:
      name: name of the data.
      documents: function from a split to its texts in UTF-8 (any bytes if `data.vocabulary` is "bytes").
      splits: names of the splits.
      options: the `data` section of a config.
      text_hash: hash of the texts.

    Raises:
      UserError: for an unknown vocabulary, a training split without text, or bytes that are not UTF-8.
    """
    kind = choose("data.vocabulary", options.get("vocabulary") or VOCABULARIES[0], VOCABULARIES)
    codes = {split: [_codes(name, kind, each) for each in documents(split) if each] for split in splits}
    train = choose(f"data.split of {name}:", options["split"], codes)
    if not codes[train]:
        raise UserError(f"split {train!r} of {name} has no text; expected at least one character")
    train_codes = np.arange(256) if kind == "bytes" else np.unique(np.concatenate(codes[train]))
    symbols = train_codes if kind == "bytes" else np.union1d(train_codes, [ord(UNSEEN)])
    dtype = np.min_scalar_type(len(symbols) - 1)
    lengths = {split: np.array([len(text) for text in each], int) for split, each in codes.items()}
    longest = max(int(each.max(initial=0)) for each in lengths.values())

    @cache
    def tokens(split: str) -> np.ndarray:
        flat = np.concatenate([*codes[split], np.empty(0, np.uint32)])
        return np.searchsorted(symbols, np.where(np.isin(flat, train_codes), flat, ord(UNSEEN))).astype(dtype)

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        ends, row_lengths = np.cumsum(lengths[split]), lengths[split][indices]
        x = np.zeros((len(indices), longest), dtype)
        for row, (end, length) in enumerate(zip(ends[indices], row_lengths)):
            x[row, :length] = tokens(split)[end - length : end]
        return {"x": x, "length": row_lengths.astype(np.int32)}

    unseen = {split: int(sum((~np.isin(each, train_codes)).sum() for each in codes[split])) for split in codes}
    info = {
        "vocabulary": symbols.tolist() if kind == "bytes" else [chr(code) for code in symbols],
        "unseen": {split: count for split, count in unseen.items() if count},
        "ragged": True,
    }
    sizes = {split: len(each) for split, each in lengths.items()}
    content, limits = content_hash(text_hash, kind, symbols.tolist()), (0, len(symbols) - 1)
    return Source(name, "text", (longest,), dtype, sizes, rows, content, (), limits, info, lengths.__getitem__)


def text_file(path: Path, options: Mapping[str, Any], file_hash: str) -> Source:
    """Opens a user's text file. Its first 90 % are the training split, the next 5 % validation, and the rest test.

    Args:
      path: the file.
      options: the `data` section of a config.
      file_hash: hash of the content of the file.

    Raises:
      UserError: for a file that is empty or cannot be read, and in the cases of `text_source`.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"data.path {path} is not readable ({error.strerror}); expected a text file") from None
    if not text.strip():
        raise UserError(f"data.path {path} holds no text; expected at least one character")
    ends = [_whole(text, round(len(text) * share)) for share in (0.0, *SHARES.values())]
    parts = {split: text[start:stop] for split, start, stop in zip(SHARES, ends, ends[1:])}
    return text_source(path.stem, lambda split: [parts[split]], list(SHARES), options, file_hash)


def are_texts(x: Any) -> bool:
    """Returns whether values are texts: a text, or a sequence that begins with a text.

    Args:
      x: the values.
    """
    if isinstance(x, str | bytes):
        return True
    one_axis = isinstance(x, Sequence) or getattr(x, "ndim", 0) == 1
    return one_axis and len(x) > 0 and isinstance(next(iter(x)), str | bytes)


def texts_in_memory(name: str, parts: Mapping[str, Any], options: Mapping[str, Any]) -> Source:
    """Opens texts of a program. A row is a text.

    Args:
      name: name of the data.
      parts: texts of each split, str or bytes in UTF-8.
      options: the `data` section of a config.

    Raises:
      UserError: for anything but sequences of texts, and in the cases of `text_source`.
    """
    encoded: dict[str, list[bytes]] = {}
    for split, texts in parts.items():
        if isinstance(texts, str | bytes) or not hasattr(texts, "__iter__"):
            raise UserError(
                f"{name}, {split}: {texts!r:.40} is no list of texts; expected such as ['a text', 'another']"
            )
        for row, text in enumerate(texts):
            if not isinstance(text, str | bytes):
                raise UserError(f"{name}, {split}: row {row} is of type {type(text).__name__}; expected a text")
        encoded[split] = [text.encode() if isinstance(text, str) else bytes(text) for text in texts]
    known = content_hash(*(part for split, texts in encoded.items() for part in ([split, *map(len, texts)], *texts)))
    return text_source(name, encoded.__getitem__, [*encoded], options, known)


def characters(spec: Spec) -> list[str]:
    """Returns the symbols of the vocabulary that are characters; empty if the symbols are bytes.

    Args:
      spec: facts of the data.
    """
    return [symbol for symbol in spec.vocabulary if isinstance(symbol, str)]


def read_text(spec: Spec, tokens: np.ndarray) -> str:
    """Returns tokens as text.

    Args:
      spec: facts of the data.
      tokens: tokens [T].
    """
    letters = characters(spec)
    if letters:
        return "".join(letters[token] for token in tokens)
    return bytes(np.asarray(tokens, np.uint8)).decode("utf-8", "replace")


def text(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns texts with a line between them, as the bytes of a file.

    Args:
      samples: `x` [N, T], and `length` [N] if their lengths differ.
      spec: facts of the data.
    """
    return LINE.join(read_text(spec, x) for x in sequences(samples)).encode() + b"\n"


def reader(spec: Spec) -> Callable[[int], str]:
    """Returns a function that takes one token after the other, and returns the text that the token completes.

    Args:
      spec: facts of the data.
    """
    letters = characters(spec)
    if letters:
        return letters.__getitem__
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return lambda token: decoder.decode(bytes([token]))


def tokens_of(spec: Spec, text: str) -> np.ndarray:
    """Returns text as tokens [T] int32.

    Args:
      spec: facts of the data.
      text: the text.

    Raises:
      UserError: with the first character that the vocabulary lacks.
    """
    letters = characters(spec)
    if not letters:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
    numbers = {symbol: number for number, symbol in enumerate(letters)}
    for character in text:
        if character not in numbers:
            seen = "".join(symbol for symbol in letters if symbol.isprintable() and symbol != UNSEEN)
            raise UserError(
                f"character {character!r} of {text!r} is not in the vocabulary of {spec.name}; expected characters of "
                f"{seen}"
            )
    return np.array([numbers[character] for character in text], np.int32)


def _codes(name: str, kind: str, text: bytes) -> np.ndarray:
    """Returns the code points, or the bytes, of a text."""
    if kind == "bytes":
        return np.frombuffer(text, np.uint8)
    try:
        return np.frombuffer(text.decode("utf-8").encode("utf-32-le"), np.uint32)
    except UnicodeDecodeError as error:
        raise UserError(
            f"byte {error.start} of {name} is not UTF-8 text; expected UTF-8. Set --config.data.vocabulary=bytes, "
            "which takes any file"
        ) from None


def _whole(text: bytes, end: int) -> int:
    """Returns the first place at or after `end` that does not cut a UTF-8 character."""
    while end < len(text) and text[end] & 0xC0 == 0x80:
        end += 1
    return end


TEXT = Kind(
    "text",
    "texts",
    "T",
    default_transform="none",
    scored_with_test=("validation",),
    options=("window", "vocabulary"),
    read={".txt": text_file},
    hold=texts_in_memory,
    recognises=are_texts,
    write={".txt": text},
    tokens=tokens_of,
    read_tokens=read_text,
    stream=reader,
)
