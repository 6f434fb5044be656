"""Stage 1: bytes to events, events to panes, panes to reports."""
