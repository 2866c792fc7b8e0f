"""Measures of texts, recordings and series."""
