"""Prometheus metrics: their declarations, their samples and the text of a scrape."""
