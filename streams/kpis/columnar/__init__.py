"""Cells of many scopes as columns."""
