"""The events of one file or several, sorted and merged by time."""
