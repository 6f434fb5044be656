"""Reports as they come in: the ledger, counters, paces."""
