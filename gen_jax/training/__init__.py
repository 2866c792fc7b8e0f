"""Trains a model: the preparation of a run, the training loop, and the files that it writes."""
