"""Grafana dashboards as code, their generated JSON, and Prometheus rules about the monitor."""
