"""One equation per function. No networks, no optimizers."""
