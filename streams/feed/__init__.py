"""Rows of files become events: mapping, checks, sorting, and sending with a report."""
