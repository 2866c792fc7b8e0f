"""Feeds rows to a model: the order of the rows, and batches from memory or from a stream."""
