"""Scorecards: indicators, their weights, and the points they give."""
