"""Generates the reference pages of docs/ from the code. Not part of the wheel."""
