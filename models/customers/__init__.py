"""The entries in the logs of customers."""
