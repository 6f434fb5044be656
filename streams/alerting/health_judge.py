"""Judges the rules about the health of the data, and says whether they hold KPI alerts back."""

from __future__ import annotations

from typing import Final

from models.alerts import Alert, Ended, alert_id
from models.scope import ALL
from streams.alerting.alert_book import AlertBook
from streams.alerting.rules.health import HEALTH_RULES, HOLDING, HealthContext
from streams.kpis.view import Health

_IDS: Final = {rule.name: alert_id(rule.name, ALL) for rule in HEALTH_RULES}
"""The ids of the alerts about the data, by rule."""


class HealthJudge:
    """Judges the health of the data.

    Args:
        book: the alerts.
        lag_limit_s: the lag above which the data are late, in s.
    """

    def __init__(self, book: AlertBook, *, lag_limit_s: float) -> None:
        self._book = book
        self._lag_limit_s = lag_limit_s
        self._started_ms: int | None = None

    @property
    def held_back(self) -> bool:
        """Whether an alert about the data fires that inhibits rules on KPIs."""
        return any(self._book.is_firing(_IDS[name]) for name in HOLDING)

    def judge(self, health: Health) -> None:
        """Judge all rules about the data; while one holds KPI rules back, their clocks stop."""
        if self._started_ms is None:
            self._started_ms = health.now_ms
        context = HealthContext(health, self._started_ms, self._lag_limit_s)
        for rule in HEALTH_RULES:
            self._book.judge(
                rule,
                context,
                rule.facts,
                key=_IDS[rule.name],
                scope=ALL,
                at_ms=health.now_ms,
            )
        if self.held_back:
            self._book.pause()

    @staticmethod
    def why_over(alert: Alert) -> Ended | None:
        """Return why a saved alert about the data is over; None if its rule still exists."""
        return None if alert.rule in _IDS else "rule_removed"
