"""Completeness of the data: the frontier, observation, gaps and silent sources."""
