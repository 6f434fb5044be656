"""Boards as code, their generated JSON, and the rules that watch the monitor."""
