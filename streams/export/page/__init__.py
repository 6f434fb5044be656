"""The live page: its HTML, its snapshot as JSON, and the share of it through Redis."""
