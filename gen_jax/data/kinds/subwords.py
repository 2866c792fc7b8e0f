"""Subwords of text, learnt by byte-pair encoding, whose join is the text to the byte. The work is SentencePiece's.

Byte-pair encoding: Sennrich et al. 2016, arXiv 1508.07909. A character without a subword becomes its bytes.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from functools import lru_cache

import sentencepiece

from gen_jax.errors import UserError

SPACE = "\u2581"  # stands for a space in a subword, so that a text with this character needs its bytes
LEAST = 300  # number of subwords
FIXED = 258  # subwords that are no characters: the bytes, END, and a symbol of the library that is never used
LONGEST = 10_000  # characters of a line; a longer line is cut where subwords are learnt
END = 0  # number of the symbol that ends a text; it is in no text


def learnt(name: str, texts: Sequence[str], num: int) -> str:
    """Returns the subwords of a language, as text for `spec.json`. The same texts give the same subwords.

    Args:
      name: name of the data, for the error.
      texts: texts of the training split.
      num: number of subwords, with 256 bytes among them. Few texts have fewer.

    Raises:
      UserError: for a number below the number of characters of the texts and the bytes, or texts without letters.
    """
    if num < LEAST:
        raise UserError(f"data.subwords is {num}; expected at least {LEAST}, because 256 of them are bytes")
    lines = [
        line[start : start + LONGEST]
        for text in texts
        for line in text.split("\n")
        for start in range(0, len(line), LONGEST)
    ]
    characters = {*"".join(lines)} - {" ", SPACE}
    if num < FIXED + len(characters):
        raise UserError(
            f"data.subwords is {num} and the texts of {name} have {len(characters)} characters; expected at least "
            f"{FIXED + len(characters)}: the characters, 256 bytes and END. Set --config.data.vocabulary=bytes for fewer"
        )
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=num,
            hard_vocab_limit=False,
            character_coverage=1.0,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            max_sentence_length=8 * LONGEST,
            eos_id=END,
            unk_id=END + 1,
            bos_id=-1,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError:
        raise UserError(
            f"the texts of {name} hold no letters; expected texts from which subwords can be learnt. Set "
            "--config.data.vocabulary=bytes"
        ) from None
    return base64.b64encode(model.getvalue()).decode()


@lru_cache
def processor(model: str) -> sentencepiece.SentencePieceProcessor:
    """Returns the object that splits texts.

    Args:
      model: the subwords of `learnt`.
    """
    return sentencepiece.SentencePieceProcessor(model_proto=base64.b64decode(model))


def symbols(model: str) -> list[str]:
    """Returns the subwords by their numbers, as SentencePiece writes them.

    Args:
      model: the subwords of `learnt`.
    """
    return [processor(model).id_to_piece(number) for number in range(processor(model).vocab_size())]


@lru_cache
def byte_numbers(model: str) -> dict[int, bytes]:
    """Returns the bytes that each number stands for: those of a subword, a single byte, or none for END.

    Args:
      model: the subwords of `learnt`.
    """
    split, meaning = processor(model), {}
    for number, symbol in enumerate(symbols(model)):
        if split.is_byte(number):
            meaning[number] = bytes([int(symbol[1:-1], 16)])
        else:
            meaning[number] = b"" if split.is_control(number) else symbol.replace(SPACE, " ").encode()
    return meaning


def encoded(model: str, text: str) -> list[int]:
    """Returns the numbers of the subwords of a text.

    Args:
      model: the subwords of `learnt`.
      text: the text.
    """
    split, text = processor(model), text.encode("utf-8", "replace").decode()
    mark = [split.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE.encode()]
    numbers: list[int] = []
    for place, part in enumerate(text.split(SPACE)):
        numbers += [*(mark if place else ()), *split.encode(part)]
    return numbers


def decoded(model: str, numbers: Sequence[int]) -> Iterator[bytes]:
    """Yields the bytes of each number.

    Args:
      model: the subwords of `learnt`.
      numbers: numbers of subwords.
    """
    meaning = byte_numbers(model)
    for number in numbers:
        yield meaning[int(number)]
