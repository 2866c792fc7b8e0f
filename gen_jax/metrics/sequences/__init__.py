"""Measures of texts, sounds and series."""
