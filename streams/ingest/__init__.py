"""Stage 1: decodes records into events, folds events into panes, and sends panes as reports."""
