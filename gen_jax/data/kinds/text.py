"""Text [T] as tokens: the vocabulary, rows of tokens, and tokens as text.

Tokens are characters, bytes, words in lower case, symbols between spaces such as phonemes, or subwords. Only the text file of a user is opened here.
"""

import codecs
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds import subwords
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.source import Source
from gen_jax.data.spec import Spec, sequences
from gen_jax.errors import UserError, choose

UNSEEN = "\ufffd"  # symbol for every character, or word, that the training split lacks
SYMBOLS = "symbols"  # vocabulary of symbols between spaces
VOCABULARIES = ("characters", "bytes", "words", SYMBOLS, "subwords")
OPEN_ENDED = {"words": True, SYMBOLS: SYMBOLS}  # vocabulary whose tokens are numbered as they are found -> its fact
WORD = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]")  # a word, or a punctuation mark
BEFORE_MARK = re.compile(r" (?=[,.:;!?])")  # space that is not written
END_NAME = "<end>"  # name of the symbol that ends a text, which no text has
KNOWN = "known_subwords"  # entry of the options with the subwords of a run, by which a user's file is read
SUBWORDS = 4000  # number of subwords, unless `data.subwords` is set
BREAK = re.compile(r"[\t\r\n]")
LINE = "\n" + "-" * 80 + "\n"  # separates texts
SHARES = {"train": 0.9, "validation": 0.95, "test": 1.0}  # ends of the splits of a user's text, as in tiny Shakespeare


def text_source(
    name: str,
    documents: Callable[[str], Sequence[bytes]],
    splits: Sequence[str],
    options: Mapping[str, Any],
    text_hash: str,
    corpus: Sequence[str] = (),
) -> Source:
    """Returns documents as rows of tokens. Rows have a `length`, which counts their END if `data.end` is set.

    Args:
      name: name of the data.
      documents: function from a split to its texts in UTF-8 (any bytes if `data.vocabulary` is "bytes").
      splits: names of the splits.
      options: the `data` section of a config.
      text_hash: hash of the texts.
      corpus: texts from which subwords are learnt; by default the documents of the training split.

    Raises:
      UserError: for an unknown vocabulary, a training split without text, or bytes that are not UTF-8.
    """
    kind = choose("data.vocabulary", options.get("vocabulary") or VOCABULARIES[0], VOCABULARIES)
    train = choose(f"data.split of {name}:", options["split"], splits)
    model = None
    if kind == "subwords":
        texts = [_decoded(name, each) for each in documents(train) if each]
        _refuse_empty(name, train, texts)
        num = SUBWORDS if options.get("subwords") is None else options["subwords"]
        model = options.get(KNOWN) or subwords.learnt(name, corpus or texts, num)
    numbers = {UNSEEN: 0}  # word -> its code
    codes = {split: [_codes(name, kind, each, numbers, model) for each in documents(split) if each] for split in splits}
    _refuse_empty(name, train, codes[train])
    train_codes, unseen_code = _codes_of_symbols(kind, codes[train], numbers, model)
    symbols = train_codes if kind in ("bytes", "subwords") else np.union1d(train_codes, [unseen_code])
    vocabulary: list[Any] = _names(kind, symbols, numbers, model)
    end = None
    if options.get("end"):
        end = len(symbols) if model is None else subwords.END
        vocabulary += [256 if kind == "bytes" else END_NAME] if model is None else []
    dtype = np.min_scalar_type(len(vocabulary) - 1)
    sizes_of_texts = {split: np.array([len(text) for text in each], int) for split, each in codes.items()}
    lengths = {split: sizes + (end is not None) for split, sizes in sizes_of_texts.items()}
    longest = max(int(each.max(initial=0)) for each in lengths.values())

    @cache
    def tokens(split: str) -> np.ndarray:
        flat = np.concatenate([*codes[split], np.empty(0, np.uint32)])
        return np.searchsorted(symbols, np.where(np.isin(flat, train_codes), flat, unseen_code)).astype(dtype)

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        sizes, row_lengths = sizes_of_texts[split], lengths[split][indices]
        x = np.zeros((len(indices), longest), dtype)
        for row, (stop, size) in enumerate(zip(np.cumsum(sizes)[indices], sizes[indices])):
            x[row, :size] = tokens(split)[stop - size : stop]
        if end is not None:
            x[np.arange(len(indices)), row_lengths - 1] = end
        return {"x": x, "length": row_lengths.astype(np.int32)}

    unseen = {split: int((~np.isin(np.concatenate(each), train_codes)).sum()) for split, each in codes.items() if each}
    info = {
        "vocabulary": vocabulary,
        **({"words": OPEN_ENDED[kind]} if kind in OPEN_ENDED else {}),
        **({"subwords": model} if model is not None else {}),
        **({"end": end} if end is not None else {}),
        "unseen": {split: count for split, count in unseen.items() if count},
        "ragged": True,
    }
    sizes = {split: len(each) for split, each in lengths.items()}
    facts = [fact for fact in (end, model) if fact is not None]
    content = content_hash(text_hash, kind, vocabulary if kind in OPEN_ENDED else symbols.tolist(), *facts)
    limits = (0, len(vocabulary) - 1)
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


def has_words(spec: Spec) -> bool:
    """Returns whether the symbols of the vocabulary are words, or symbols between spaces.

    Args:
      spec: facts of the data.
    """
    return bool(spec.info.get("words", False))


def words_of(text: str, symbols: bool = False) -> list[str]:
    """Returns the words and punctuation marks of a text, in lower case.

    Args:
      text: the text.
      symbols: whether to return the symbols between spaces instead; by default False.
    """
    return text.split() if symbols else WORD.findall(text.lower())


def characters(spec: Spec) -> list[str]:
    """Returns the symbols of the vocabulary that are characters or words; empty if the symbols are bytes.

    Args:
      spec: facts of the data.
    """
    return [symbol for symbol in spec.vocabulary if isinstance(symbol, str)]


def read_text(spec: Spec, tokens: np.ndarray) -> str:
    """Returns tokens as text, up to the symbol that ends it.

    Args:
      spec: facts of the data.
      tokens: tokens [T].
    """
    tokens = np.asarray(tokens)
    if spec.end is not None and (tokens == spec.end).any():
        tokens = tokens[: int((tokens == spec.end).argmax())]
    letters = characters(spec)
    if spec.subwords is not None:
        return b"".join(subwords.decoded(spec.subwords, tokens.tolist())).decode("utf-8", "replace")
    if has_words(spec):
        spaced = " ".join(letters[token] for token in tokens)
        return spaced if spec.info["words"] == SYMBOLS else BEFORE_MARK.sub("", spaced)
    if letters:
        return "".join(letters[token] for token in tokens)
    return bytes(np.asarray(tokens, np.uint8)).decode("utf-8", "replace")


def text(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns texts with a line between them, as the bytes of a file.

    A text with a condition that is a text stands below it, and above the true text if that is known.

    Args:
      samples: `x` [N, T], and `length` [N] if their lengths differ; also `c` and `truth`, with their lengths.
      spec: facts of the data.
    """
    parts = [*columns_of_texts(samples, spec).values()]
    return LINE.join("\n".join(texts) for texts in zip(*parts)).encode() + b"\n"


def text_table(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns texts as the bytes of a TSV file with a header: condition, sample and truth, as far as they are known.

    A tab or the end of a line within a text becomes a space.

    Args:
      samples: as those of `text`.
      spec: facts of the data.
    """
    columns = columns_of_texts(samples, spec)
    rows = [[*columns], *zip(*columns.values())]
    return "".join("\t".join(BREAK.sub(" ", text) for text in row) + "\n" for row in rows).encode()


def columns_of_texts(samples: dict[str, np.ndarray], spec: Spec) -> dict[str, list[str]]:
    """Returns the texts of samples, with their conditions and their true texts if these are known.

    Args:
      samples: as those of `text`.
      spec: facts of the data.
    """
    condition = spec.condition
    columns = {}
    if "c" in samples and condition is not None and condition.kind == spec.kind:
        columns["condition"] = [read_text(condition, c) for c in sequences(samples, "c")]
    columns["sample"] = [read_text(spec, x) for x in sequences(samples)]
    if "truth" in samples:
        columns["truth"] = [read_text(spec, x) for x in sequences(samples, "truth")]
    return columns


def reader(spec: Spec) -> Callable[[int], str]:
    """Returns a function that takes one token after the other, and returns the text that the token completes.

    Args:
      spec: facts of the data.
    """
    text_of, ends = _token_reader(spec), False

    def before_end(token: int) -> str:
        nonlocal ends
        ends = ends or token == spec.end
        return "" if ends else text_of(token)

    return before_end


def _token_reader(spec: Spec) -> Callable[[int], str]:
    letters = characters(spec)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    if spec.subwords is not None:
        meaning = subwords.byte_numbers(spec.subwords)
        return lambda token: decoder.decode(meaning[int(token)])
    if has_words(spec):
        return _word_reader(letters)
    if letters:
        return letters.__getitem__
    return lambda token: decoder.decode(bytes([token]))


def tokens_of(spec: Spec, text: str) -> np.ndarray:
    """Returns text as tokens [T] int32.

    Args:
      spec: facts of the data.
      text: the text.

    Raises:
      UserError: with the first character, or all words, that the vocabulary lacks.
    """
    letters = characters(spec)
    if spec.subwords is not None:
        return np.array(subwords.encoded(spec.subwords, text), np.int32)
    if not letters:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
    numbers = {symbol: number for number, symbol in enumerate(letters)}
    if has_words(spec):
        words = words_of(text, spec.info["words"] == SYMBOLS)
        refuse_unknown_words(spec, text, words)
        return np.array([numbers[word] for word in words], np.int32)
    for character in text:
        if character not in numbers:
            seen = "".join(symbol for symbol in letters if symbol.isprintable() and symbol not in (UNSEEN, END_NAME))
            raise UserError(
                f"character {character!r} of {text!r} is not in the vocabulary of {spec.name}; expected characters of "
                f"{seen}"
            )
    return np.array([numbers[character] for character in text], np.int32)


def refuse_unknown_words(spec: Spec, text: str, words: Sequence[str]) -> None:
    """Refuses words that the vocabulary lacks.

    Args:
      spec: facts of the data.
      text: the text of the words, for the error.
      words: words in lower case.

    Raises:
      UserError: with such words, and the nearest words of the vocabulary.
    """
    vocabulary = [symbol for symbol in characters(spec) if symbol not in (UNSEEN, END_NAME)]
    members = {*vocabulary}
    unknown = [word for word in dict.fromkeys(words) if word not in members]
    hints = []
    for word in unknown[:3]:
        near = difflib.get_close_matches(word, vocabulary, 3)
        hints.append(f"{word!r} (nearest: {', '.join(near) or 'none'})")
    if hints:
        raise UserError(
            f"text {text!r} has unknown words {', '.join(hints)}; expected the {len(vocabulary):,} words of {spec.name}"
        )


def _word_reader(words: Sequence[str]) -> Callable[[int], str]:
    """Returns a function from one token after the other to its word, with a space before it if one is written."""
    started = False

    def text_of(token: int) -> str:
        nonlocal started
        text = BEFORE_MARK.sub("", f" {words[token]}") if started else words[token]
        started = True
        return text

    return text_of


def _refuse_empty(name: str, split: str, texts: Sequence[Any]) -> None:
    if not texts:
        raise UserError(f"split {split!r} of {name} has no text; expected at least one character")


def _codes(name: str, kind: str, text: bytes, numbers: dict[str, int], model: str | None) -> np.ndarray:
    """Returns the code points, the bytes, or the numbers of the words or subwords of a text.

    New words are added to `numbers`.
    """
    if kind == "bytes":
        return np.frombuffer(text, np.uint8)
    letters = _decoded(name, text)
    if model is not None:
        return np.array(subwords.encoded(model, letters), np.uint32)
    if kind in OPEN_ENDED:
        words = words_of(letters, kind == SYMBOLS)
        return np.array([numbers.setdefault(word, len(numbers)) for word in words], np.uint32)
    return np.frombuffer(letters.encode("utf-32-le"), np.uint32)


def _decoded(name: str, text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"byte {error.start} of {name} is not UTF-8 text; expected UTF-8. Set --config.data.vocabulary=bytes, "
            "which takes any file"
        ) from None


def _codes_of_symbols(
    kind: str, train: Sequence[np.ndarray], numbers: Mapping[str, int], model: str | None
) -> tuple[np.ndarray, int]:
    """Returns the codes that texts may have, in order, and the code of what the training split lacks."""
    if kind in ("bytes", "subwords"):
        return np.arange(256 if model is None else len(subwords.symbols(model))), 0
    return np.unique(np.concatenate(train)), numbers[UNSEEN] if kind in OPEN_ENDED else ord(UNSEEN)


def _names(kind: str, symbols: np.ndarray, numbers: Mapping[str, int], model: str | None) -> list[Any]:
    """Returns the symbols of a vocabulary: bytes as numbers, characters, words, or subwords."""
    if kind == "bytes":
        return symbols.tolist()
    if model is not None:
        return subwords.symbols(model)
    if kind in OPEN_ENDED:
        words = [*numbers]
        return [words[code] for code in symbols]
    return [chr(code) for code in symbols]


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
    options=("window", "vocabulary", "subwords", "end"),
    read={".txt": text_file},
    hold=texts_in_memory,
    recognises=are_texts,
    write={".txt": text, ".tsv": text_table},
    tokens=tokens_of,
    read_tokens=read_text,
    stream=reader,
)
