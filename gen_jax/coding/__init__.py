"""Lossless compression by an exact integer network and an entropy coder: no JAX, no model family, nothing of a run."""
