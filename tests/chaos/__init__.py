"""The fault harness: a known log through the real path while faults are injected."""
