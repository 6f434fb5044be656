"""Aggregates: cells, sets of distinct users, histograms, and the reports that carry them."""
