"""Densities p(x | parameters) with their draws, and the linear algebra that they share. No networks, no families."""
