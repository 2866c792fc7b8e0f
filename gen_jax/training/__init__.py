"""How a model is trained: what is prepared, the loop, and what it leaves to be read."""
