"""What runs jobs: batches in, checkpoints out, poison records set aside."""
