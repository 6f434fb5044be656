"""Customers: attribution, the journal, and the store in Redis."""
