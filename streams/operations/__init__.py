"""What people run beside the worker: feeding files or a synthetic campaign, dead letters."""
