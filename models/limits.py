"""Limits of the data's health: one table for alerts, live page, boards and rules of Prometheus."""

from __future__ import annotations

from typing import Final, NamedTuple


class Limits(NamedTuple):
    """Two limits of a quantity; the constants say who uses which."""

    warning: float
    alert: float


LAG_S: Final = Limits(10, 30)
"""Age of the oldest record that is not read, in s.

Page and board are yellow above the first and red above the second. ``data-lagging`` fires above the
second, or KPI_LAG_ALERT_S, which the page follows too. ``KpiMonitorLagging`` of Prometheus warns if
it lasts for 5 min.
"""
FRONTIER_AGE_S: Final = Limits(120, 600)
"""Age of the frontier, in s.

Page and board are yellow above the first; the board is red above the second.
"""
DEAD_LETTER_SHARE: Final = Limits(0.01, 0.05)
"""Share of the records that can't be counted.

The page is yellow above the first, and ``KpiMonitorDeadLetterShareHigh`` of Prometheus warns.
``data-dead-letters`` fires above the second.
"""
ORDERS_WITHOUT_TOUCH: Final = Limits(100, 100)
"""Orders of a business day without a single click of their customers.

Above it, the page is yellow and ``data-unjoined`` fires: that many are no coincidence.
"""
