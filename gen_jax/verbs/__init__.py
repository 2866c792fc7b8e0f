"""Functions of a model, its state and the spec of its data, which commands, the training loop and notebooks share."""
