"""Scorecards: indicators, their target values and their weights."""
