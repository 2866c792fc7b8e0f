"""Measures of images and vectors."""
