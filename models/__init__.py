"""The values that packages exchange: mostly frozen, without I/O and without Faust."""
