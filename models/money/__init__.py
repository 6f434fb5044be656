"""Amounts in exact units, and exchange rates."""
