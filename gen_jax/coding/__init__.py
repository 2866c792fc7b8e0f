"""Lossless compression by an exact integer network and an entropy coder. No JAX, no model family, no run."""
