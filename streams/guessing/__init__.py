"""Guesses how files of rows become events, and writes a project from the guesses."""
