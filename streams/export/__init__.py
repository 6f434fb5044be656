"""What people and Prometheus see: metrics, the live page, its API."""
