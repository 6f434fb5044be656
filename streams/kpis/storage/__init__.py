"""Cells in buckets, from 10 s to all time; buckets that are seldom read are spilled to disk."""
