"""Windows: which are due, their evaluation, corrections and comparisons."""
