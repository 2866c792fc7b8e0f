"""Draws which frames of a recording belong to which symbols of its text."""

import io
from collections.abc import Mapping

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.drawing import image_of, new_panels
from gen_jax.data.spec import Spec, sequences, to_data, to_model
from gen_jax.keys import root
from gen_jax.model import Model, State
from gen_jax.verbs.given import Request

SHOWN = 8  # recordings of a picture


def alignment_of_request(model: Model, state: State, spec: Spec, request: Request) -> bytes | None:
    """Returns a picture of the true rows of a request with their alignments; None for a model without alignments.

    Args:
      model: the model.
      state: the state.
      spec: facts of the data.
      request: conditions, with true rows.
    """
    if "alignment" not in model.extras or request.truth is None:
        return None
    rows = {**(request.given or {}), "x": to_model(spec, request.truth)}
    if request.truth_length is not None:
        rows["length"] = request.truth_length
    frames, symbols = (np.array([*map(len, sequences(rows, name))]) for name in ("x", "c"))
    fits = frames >= symbols
    rows = {name: np.asarray(value)[fits][:SHOWN] for name, value in rows.items()}
    durations = np.asarray(model.extras["alignment"](root(0, "codes"), state, rows))
    return alignment_picture(spec, {**rows, "x": to_data(spec, rows["x"])}, durations) if len(durations) else None


def alignment_picture(spec: Spec, rows: Mapping[str, np.ndarray], durations: np.ndarray) -> bytes:
    """Returns a PNG of at most `SHOWN` recordings. Each symbol stands below its frames, with a line at their end.

    Args:
      spec: facts of the data.
      rows: recordings `x` [N, T, D] in the domain of the data with their texts `c`, and the lengths of both.
      durations: number of frames of each symbol [N, S].
    """
    condition = spec.condition
    assert condition is not None  # because a model with alignments reads a text
    text_of = kind_of(condition).read_tokens
    assert text_of is not None
    num = min(SHOWN, len(durations))
    figure, panels = new_panels(num, across=1, size=(8.0, 1.5))
    low, high = float(np.min(spec.low)), float(np.max(spec.high))
    series, texts = sequences({**rows}), sequences({**rows}, "c")
    for panel, x, tokens, counts in zip(panels, series, texts, durations):
        ends = np.cumsum(counts[: len(tokens)])
        panel.imshow(x.T, cmap="gray_r", vmin=low, vmax=high, aspect="auto", origin="lower", interpolation="nearest")
        for end in ends[:-1]:
            panel.axvline(end - 0.5, color="tab:red", linewidth=0.6)
        symbols = [
            text_of(condition, tokens[place : place + 1]).replace(" ", "\N{OPEN BOX}") for place in range(len(tokens))
        ]
        panel.set_xticks(ends - counts[: len(tokens)] / 2 - 0.5, symbols, fontsize=7)
        panel.tick_params(length=0)
        panel.set_yticks([])
    buffer = io.BytesIO()
    image_of(figure).save(buffer, "PNG")
    return buffer.getvalue()
