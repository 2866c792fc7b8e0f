"""The likelihood of pieces of voices by a rule that hears each voice alone: it holds its pitch, or it jumps."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.voices import BEAT
from gen_jax.data.spec import levels, sequences
from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.row_functions import LOG_PROB

PSEUDO = 0.1  # pseudo-count of each event


class HoldOrJump:
    """Counts how often a voice holds at each place in the beat, and to which pitch it jumps, in training pieces."""

    def __init__(self, pieces: list[np.ndarray], values: int):
        """Counts the pieces.

        Args:
          pieces: symbols [T, V] of each piece.
          values: number of symbols.
        """
        voices = pieces[0].shape[1]
        self.first = np.full((voices, values), PSEUDO)
        self.holds = np.full((voices, BEAT, 2), PSEUDO)
        self.jumps = np.full((voices, values, values), PSEUDO)
        self.jumps[:, range(values), range(values)] = 0  # because a jump leaves the pitch
        for piece in pieces:
            voice, before, after, place = transitions(piece)
            np.add.at(self.first, (np.arange(voices), piece[0]), 1)
            np.add.at(self.holds, (voice, place, (before == after).astype(int)), 1)
            np.add.at(self.jumps, (voice, before, after), before != after)

    def log_prob(self, piece: np.ndarray) -> float:
        """Returns the log-probability of a piece in nats.

        Args:
          piece: symbols [T, V].
        """
        first, holds, jumps = (
            np.log(c / c.sum(-1, keepdims=True), where=c > 0, out=np.zeros_like(c))
            for c in (self.first, self.holds, self.jumps)
        )
        voice, before, after, place = transitions(piece)
        held = (before == after).astype(int)
        moves = holds[voice, place, held] + np.where(held, 0, jumps[voice, before, after])
        return float(first[np.arange(piece.shape[1]), piece[0]].sum() + moves.sum())


def transitions(piece: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns voice, symbol before, symbol after and place in the beat of each step of a piece, [(T - 1) V] each.

    Args:
      piece: symbols [T, V].
    """
    frames, voices = piece.shape
    place = np.repeat(np.arange(1, frames) % BEAT, voices)
    return np.tile(np.arange(voices), frames - 1), piece[:-1].ravel(), piece[1:].ravel(), place


def hold_or_jump(real: Real) -> Computation | None:
    """Prepares the likelihood of the test pieces by the rule."""
    spec, test = real.spec, real.test
    voices = kind_of(spec).time and len(spec.shape) == 2 and levels(spec) > 0
    if not voices or spec.pieces or test is None or not spec.sizes.get(test):
        return None

    def values(log_prob: object) -> Mapping[str, Any]:
        rule = HoldOrJump(pieces_of(real.whole(real.train)), levels(spec))
        pieces = pieces_of(real.whole(test))
        total = sum(rule.log_prob(piece) for piece in pieces)
        return {"nats_per_token_hold": -total / sum(piece.size for piece in pieces)}

    return Computation(values, lambda: {"split": test, "pseudo_count": PSEUDO, "fitted_to": real.train})


def pieces_of(rows: Rows) -> list[np.ndarray]:
    """Returns the symbols [T, V] of each piece.

    Args:
      rows: raw rows.
    """
    return [piece.astype(int) for piece in sequences(rows)]


HOLD_OR_JUMP = Measure(
    (
        Metric(
            "nats_per_token_hold",
            "nats_per_token of a rule: a voice holds its pitch, by the place in the beat, or jumps, by its pitch",
            better=-1,
        ),
    ),
    hold_or_jump,
    data="whole pieces of voices and a test split",
    reading=LOG_PROB,
)
