"""Replacements for parts of Faust: transport, table store and instance fencing."""
