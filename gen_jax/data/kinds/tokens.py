"""Sequences [T] of tokens, which are whole numbers 0, 1, ... without an order. A file of samples has a sequence a line."""

from collections.abc import Callable

import numpy as np

from gen_jax.data.kinds.kind import Kind
from gen_jax.data.spec import Spec, levels, sequences
from gen_jax.errors import UserError, whole_number


def lines(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns sequences as the bytes of a file, a line for each sequence, with a space between tokens.

    Args:
      samples: `x` [N, T], and `length` [N] if their lengths differ.
      spec: facts of the data.
    """
    return "".join(" ".join(map(str, x.tolist())) + "\n" for x in sequences(samples)).encode()


def tokens_of(spec: Spec, text: str) -> np.ndarray:
    """Returns tokens [T] int32 that a user writes with a space between them.

    Args:
      spec: facts of the data.
      text: the tokens.

    Raises:
      UserError: with the first word that is no token of the data.
    """
    numbers = []
    for word in text.split():
        number = whole_number(word)
        if number is None or not 0 <= number < levels(spec):
            raise UserError(
                f"token {word!r} of {text!r} is unknown; expected whole numbers from 0 to {levels(spec) - 1}"
            )
        numbers.append(number)
    return np.array(numbers, np.int32)


def reader(spec: Spec) -> Callable[[int], str]:
    """Returns a function that takes one token after the other, and returns its text.

    Args:
      spec: facts of the data.
    """
    return "{} ".format


TOKENS = Kind(
    "tokens",
    "sequences of tokens",
    "T",
    symbols=True,
    default_transform="none",
    options=("window", "kind"),
    write={".txt": lines},
    tokens=tokens_of,
    stream=reader,
)
