"""Densities p(x | parameters), drawn and scored, and the linear algebra that they share. No networks, no families."""
