"""The fault harness: real workers read a log of known truth while faults are injected."""
