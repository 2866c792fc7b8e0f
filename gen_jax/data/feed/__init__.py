"""How rows come to a model: in which order, from memory or streamed."""
