"""Buckets of panes, quarters and days; what is seldom read is spilled to disk."""
