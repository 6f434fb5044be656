"""Limits of the data's health: one table for alerts, live page, boards and rules of Prometheus."""

from __future__ import annotations

from typing import Final, NamedTuple


class Limits(NamedTuple):
    """Two limits of a quantity.

    Args:
        warning: above it the page and the boards are yellow; rules of Prometheus about what lasts
            for minutes warn above it.
        alert: above it the page and the boards are red, and the monitor's own alert fires.
    """

    warning: float
    alert: float


LAG_S: Final = Limits(10, 30)
"""Age of the oldest record that is not read, in s. KPI_LAG_ALERT_S sets another alert limit."""
FRONTIER_AGE_S: Final = Limits(120, 600)
"""Age of the frontier, in s."""
DEAD_LETTER_SHARE: Final = Limits(0.01, 0.05)
"""Share of the records that can't be counted."""
