"""Stage 4: alerts to their receivers; one file a receiver."""
