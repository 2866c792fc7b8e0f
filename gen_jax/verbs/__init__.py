"""Functions of a model, its state and the spec of its data, which commands, the loop and notebooks share."""
