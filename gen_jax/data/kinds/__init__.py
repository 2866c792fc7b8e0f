"""Kinds of data: how each is read, drawn and written."""
