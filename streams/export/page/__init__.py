"""The live page: its snapshot, and how workers share it."""
