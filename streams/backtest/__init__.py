"""Backtests: plays recorded events through the jobs of a worker, and lists when rules fired."""
