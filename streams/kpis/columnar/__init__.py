"""Cells of many facets or scopes as NumPy arrays."""
