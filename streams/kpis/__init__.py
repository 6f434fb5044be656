"""Stage 2: merges reports into buckets, closes rolling windows and calculates their KPIs."""
