"""The web side of a worker: metrics for Prometheus, the live page and its API."""
