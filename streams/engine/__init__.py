"""Faust made fast and safe: batches, state that knows its offsets, a watchdog."""
