"""Commands beside the worker: feeding files or a synthetic campaign, reading dead letters."""
