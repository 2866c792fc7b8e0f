"""Data sets: sources of rows, the facts of these rows, and batches that are a pure function of (seed, step); no JAX.

`open_source` opens a source, `load` the data set of a run, and `reader` reads the raw rows of a split.
"""

from gen_jax.data.feed.load import Data, load, reader
from gen_jax.data.sources.opening import open_source

__all__ = ["Data", "load", "open_source", "reader"]
