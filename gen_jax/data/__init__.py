"""Data sets: sources of rows, the facts of these rows, and batches that are a pure function of (seed, step). No JAX.

`arrays` and `open` open the data set of a program. `open_source` opens a source, `load` opens the data set of a run,
and `reader` reads the raw rows of a split.
"""

from gen_jax.data.dataset import DataSet, arrays, open
from gen_jax.data.feed.load import Data, load, reader
from gen_jax.data.sources.opening import open_source

__all__ = ["Data", "DataSet", "arrays", "load", "open", "open_source", "reader"]
