"""How much of the data is there: frontier, observation, gaps, silent sources."""
