"""Losses, one equation per function. Networks and optimizers live in other rooms."""
