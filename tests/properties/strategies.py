"""Odd but valid inputs that the tests of several modules draw."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gen_jax.data.tables.networks import Network

SEEDS = st.integers(0, 2**31 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
ODD = st.sampled_from("\r\n\0\ufeff ,;|'\"{}()[]/*=?$%_-.0éß字😀")
TEXTS = st.text(ODD | st.characters(exclude_categories=("Cs",)), max_size=6)  # a file holds no lone surrogates


@st.composite
def networks(draw):
    """Draws a Bayesian network of up to four variables, some of one level, some of whose probabilities are 0."""
    count = draw(st.integers(1, 4))
    words = (TEXTS | ODD).filter(lambda text: '"' not in text)  # which BIF cannot hold
    names = draw(st.lists(words.filter(bool), min_size=count, max_size=count, unique=True))
    levels = [tuple(draw(st.lists(words, min_size=1, max_size=3, unique=True))) for _ in names]
    order = draw(st.permutations(range(count)))
    parents, tables = [()] * count, [None] * count
    for place, variable in enumerate(order):
        if place:
            parents[variable] = tuple(draw(st.lists(st.sampled_from(order[:place]), max_size=2, unique=True)))
        shape = [len(levels[each]) for each in (*parents[variable], variable)]
        weights = draw(arrays(np.float64, shape, elements=st.integers(0, 3)))
        weights[..., 0] += weights.sum(-1) == 0
        tables[variable] = weights / weights.sum(-1, keepdims=True)
    return Network(tuple(names), tuple(levels), tuple(parents), tuple(tables))
