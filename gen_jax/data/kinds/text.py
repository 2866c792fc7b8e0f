"""Text [T] as tokens: the vocabulary, rows of tokens, and the way back. No file is opened here but a user's own text."""

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

UNSEEN = "\ufffd"  # stands for every character that the training split lacks
VOCABULARIES = ("characters", "bytes")
LINE = "\n" + "-" * 80 + "\n"  # between texts
SHARES = {"train": 0.9, "validation": 0.95, "test": 1.0}  # where the splits of a user's text end, as in Shakespeare's


def text_source(
    name: str,
    documents: Callable[[str], Sequence[bytes]],
    splits: Sequence[str],
    options: Mapping[str, Any],
    known: str,
) -> Source:
    """Returns documents as rows of tokens, each with its `length`.

    Args:
      documents: split -> its texts in UTF-8 (any bytes, where `data.vocabulary` is "bytes").
      known: hash of the texts.

    Raises:
      UserError: for an unknown vocabulary, a split without text, or bytes that are no UTF-8.
    """
    kind = choose("data.vocabulary", options.get("vocabulary") or VOCABULARIES[0], VOCABULARIES)
    codes = {split: [_codes(name, kind, each) for each in documents(split) if each] for split in splits}
    train = choose(f"data.split of {name}:", options["split"], codes)
    if not codes[train]:
        raise UserError(f"{name}: its split {train!r} has no text; expected at least one character")
    seen = np.arange(256) if kind == "bytes" else np.unique(np.concatenate(codes[train]))
    symbols = seen if kind == "bytes" else np.union1d(seen, [ord(UNSEEN)])
    dtype = np.min_scalar_type(len(symbols) - 1)
    lengths = {split: np.array([len(text) for text in each], int) for split, each in codes.items()}
    longest = max(int(each.max(initial=0)) for each in lengths.values())

    @cache
    def tokens(split: str) -> np.ndarray:
        flat = np.concatenate([*codes[split], np.empty(0, np.uint32)])
        return np.searchsorted(symbols, np.where(np.isin(flat, seen), flat, ord(UNSEEN))).astype(dtype)

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        ends, chosen = np.cumsum(lengths[split]), lengths[split][indices]
        x = np.zeros((len(indices), longest), dtype)
        for row, (end, length) in enumerate(zip(ends[indices], chosen)):
            x[row, :length] = tokens(split)[end - length : end]
        return {"x": x, "length": chosen.astype(np.int32)}

    unseen = {split: int(sum((~np.isin(each, seen)).sum() for each in codes[split])) for split in codes}
    info = {
        "vocabulary": symbols.tolist() if kind == "bytes" else [chr(code) for code in symbols],
        "unseen": {split: count for split, count in unseen.items() if count},
        "ragged": True,
    }
    sizes = {split: len(each) for split, each in lengths.items()}
    content, limits = content_hash(known, kind, symbols.tolist()), (0, len(symbols) - 1)
    return Source(name, "text", (longest,), dtype, sizes, rows, content, (), limits, info, lengths.__getitem__)


def text_file(path: Path, options: Mapping[str, Any], known: str) -> Source:
    """Opens a user's own text: its first 90 % train, the next 5 % validation, the rest test.

    Raises:
      UserError: for a file that is empty or cannot be read, and as `text_source`.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"data.path {path}: cannot be read ({error.strerror})") from None
    if not text.strip():
        raise UserError(f"data.path {path}: it holds no text; expected at least one character")
    ends = [_whole(text, round(len(text) * share)) for share in (0.0, *SHARES.values())]
    parts = {split: text[start:stop] for split, start, stop in zip(SHARES, ends, ends[1:])}
    return text_source(path.stem, lambda split: [parts[split]], list(SHARES), options, known)


def characters(spec: Spec) -> list[str]:
    """Returns the symbols of the vocabulary that are characters; an empty list if the symbols are bytes."""
    return [symbol for symbol in spec.vocabulary if isinstance(symbol, str)]


def read_text(spec: Spec, tokens: np.ndarray) -> str:
    """Returns tokens [T] as text."""
    letters = characters(spec)
    if letters:
        return "".join(letters[token] for token in tokens)
    return bytes(np.asarray(tokens, np.uint8)).decode("utf-8", "replace")


def text(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns texts `x` [N, T], each of its `length`, with a line between them."""
    return LINE.join(read_text(spec, x) for x in sequences(samples)).encode() + b"\n"


def reader(spec: Spec) -> Callable[[int], str]:
    """Returns a function from one token after the other to the text that the token completes."""
    letters = characters(spec)
    if letters:
        return letters.__getitem__
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return lambda token: decoder.decode(bytes([token]))


def tokens_of(spec: Spec, text: str) -> np.ndarray:
    """Returns text as tokens [T] int32.

    Raises:
      UserError: naming the first character that the vocabulary lacks.
    """
    letters = characters(spec)
    if not letters:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
    numbers = {symbol: number for number, symbol in enumerate(letters)}
    for character in text:
        if character not in numbers:
            seen = "".join(symbol for symbol in letters if symbol.isprintable() and symbol != UNSEEN)
            raise UserError(f"character {character!r} of {text!r} is not in the vocabulary of {spec.name}: {seen}")
    return np.array([numbers[character] for character in text], np.int32)


def _codes(name: str, kind: str, text: bytes) -> np.ndarray:
    """Returns the code points, or the bytes, of a text."""
    if kind == "bytes":
        return np.frombuffer(text, np.uint8)
    try:
        return np.frombuffer(text.decode("utf-8").encode("utf-32-le"), np.uint32)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}: byte {error.start} is not UTF-8 text; --config.data.vocabulary=bytes takes any file"
        ) from None


def _whole(text: bytes, end: int) -> int:
    """Returns the first place from `end` on that cuts no UTF-8 character."""
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
    write={".txt": text},
    tokens=tokens_of,
    stream=reader,
)
