"""Lets ``python -m streams`` be the command."""

from streams.cli import main

main()
