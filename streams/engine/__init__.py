"""Runs stream jobs on Faust: record batches, checkpoints with their offsets, a watchdog."""
