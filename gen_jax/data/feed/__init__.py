"""The way of rows to a model: their order, and batches from memory or streamed."""
