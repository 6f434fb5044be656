"""Runs jobs: feeds them batches, writes their checkpoints, sets poison records aside."""
