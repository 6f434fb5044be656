"""Intake of reports: the ledger, and counters, shares and rates of what was read."""
