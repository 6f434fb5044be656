"""What is measured: cells, sets of users, distributions, and the reports that carry them."""
