"""Delivers alerts to Prometheus' Alertmanager, through its API v2.

Alertmanager expects firing alerts to be sent repeatedly. One that is not repeated ends by
itself, so that a monitor that died leaves no alert behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp

from models.alerts import Alert, AlertState, Correction, Held
from streams.alerting.links import Links

log = logging.getLogger(__name__)

REPEAT_S = 15.0
"""Time after which a firing alert is sent again, in s."""
ENDS_AFTER_S = 90.0
"""Time after which a firing alert that is not sent again ends in Alertmanager, in s."""
TIMEOUT_S = 5.0
_CORRECTED = {
    True: "would have held",
    False: "is broken all the same",
    None: "can no longer be judged",
}


def payload(alert: Alert, *, now_ms: int, links: Links) -> dict[str, Any]:
    """Return an alert in the form of Alertmanager's API.

    Args:
        alert: the alert.
        now_ms: broker time; a firing alert ends `ENDS_AFTER_S` later.
        links: where the alert can be looked at.
    """
    labels = {
        "alertname": alert.rule,
        "category": alert.category,
        "severity": alert.severity,
        "scope": alert.scope.kind,
        **alert.scope.labels,
        "kpi": alert.kpi,
        "window": alert.window,
        "owner": alert.owner,
    }
    annotations = {
        "summary": alert.summary_en,
        "summary_zh": alert.summary_zh,
        "rule": alert.meaning_en,
        "evidence": evidence(alert),
        "corrected": corrected(alert),
        "no_data": "" if alert.no_data_since_ms is None else _no_data(alert.no_data_since_ms),
        "held": held(alert),
        "ended": "" if alert.ended in {None, "recovered"} else str(alert.ended),
        "next_step": alert.next_step,
        "next_step_zh": alert.next_step_zh,
        "board_url": links.board_of(alert),
        "runbook_url": links.runbook_of(alert),
    }
    ends_at_ms = alert.resolved_at_ms
    if ends_at_ms is None:
        ends_at_ms = now_ms + int(ENDS_AFTER_S * 1000)
    starts_at_ms = alert.fired_at_ms or alert.active_since_ms
    return {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": _rfc3339(min(starts_at_ms, ends_at_ms)),
        "endsAt": _rfc3339(ends_at_ms),
        "generatorURL": links.page_of(alert),
    }


def evidence(alert: Alert) -> str:
    """Return the value, interval, limit and n of an alert in one line."""
    if alert.value is None:
        return f"no value in a complete window ({alert.window})" if alert.window else "no value"
    text = f"{alert.kpi or 'value'} {alert.value:.6g}"
    if alert.low is not None and alert.high is not None:
        text += f" (95 % interval {alert.low:.6g} to {alert.high:.6g})"
    if alert.threshold is not None:
        text += f", limit {alert.threshold:.6g}"
    if alert.earlier is not None:
        text += f", {alert.earlier:.6g} in the earlier period"
    if alert.usual is not None and alert.usual.expected is not None:
        text += f", {alert.usual.expected:.6g} expected"
        if alert.usual.windows > 1:
            text += f", unusual over {alert.usual.windows} windows together"
    if alert.median is not None:
        text += f", median of its peers {alert.median:.6g}"
    if alert.windows_broken is not None:
        text += f", beyond it in {alert.windows_broken} of the last windows"
    if alert.exhausted_ms is not None:
        text += f", budget exhausted at {_rfc3339(alert.exhausted_ms)} at this pace"
    if alert.window:
        text += f", window {alert.window}, n={alert.n}"
    return text


def corrected(alert: Alert) -> str:
    """Return in one line how late data changed the evidence; an empty string if they did not."""
    correction = alert.correction
    if correction is None:
        return ""
    text = "none" if correction.value is None else f"{correction.value:.6g}"
    fired = "none" if alert.fired_value is None else f"{alert.fired_value:.6g}"
    return (
        f"late data changed the value it fired on from {fired} to {text}: the rule "
        f"{_CORRECTED[correction.holds]}"
    )


def held(alert: Alert) -> str:
    """Return in one line which silent sources an alert waits for; an empty string if it does not.

    Example: ``orders silent since 2026-11-11T12:03:00+00:00 (event time); not judged meanwhile``.
    """
    if alert.held is None:
        return ""
    when = f"since {_rfc3339(alert.held.since_ms)}"
    if alert.held.until_ms is not None:
        when = f"from {_rfc3339(alert.held.since_ms)} to {_rfc3339(alert.held.until_ms)}"
    return f"{', '.join(alert.held.sources)} silent {when} (event time); not judged meanwhile"


def _no_data(since_ms: int) -> str:
    return f"no value to judge since {_rfc3339(since_ms)} (event time)"


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


class AlertmanagerDelivery:
    """Sends alerts when they change, and firing ones every `REPEAT_S`.

    Pending alerts are not sent. An inhibited alert goes on being sent: it would end in Alertmanager
    otherwise, and be new afterwards. Alertmanager's configuration mutes it.

    Args:
        url: base URL of Alertmanager.
        links: returns the links of alerts.
        alerts: returns the alerts in view, or None while this worker judges none.
        now_ms: returns the broker time, in ms.
    """

    def __init__(
        self,
        url: str,
        *,
        links: Callable[[], Links],
        alerts: Callable[[], Sequence[Alert] | None],
        now_ms: Callable[[], int],
    ) -> None:
        self._endpoint = url.rstrip("/") + "/api/v2/alerts"
        self._links = links
        self._alerts = alerts
        self._now_ms = now_ms
        self._sent: dict[tuple[str, int], tuple[_Told, float]] = {}
        self.delivered = 0
        self.failures = 0

    def due(self, alerts: Sequence[Alert], *, now_s: float) -> list[Alert]:
        """Return the alerts that must be sent now.

        Args:
            alerts: the alerts in view.
            now_s: broker time, in s.
        """
        fire = {alert.id for alert in alerts if alert.state is AlertState.FIRING}
        due = [
            alert
            for alert in alerts
            if self._is_due(alert, now_s)
            and not (alert.id in fire and alert.ended in {"rule_removed", "rule_changed"})
        ]
        # Of two with the same labels, Alertmanager takes the last.
        return sorted(due, key=lambda alert: alert.state is AlertState.FIRING)

    def _is_due(self, alert: Alert, now_s: float) -> bool:
        if alert.state is AlertState.PENDING:
            return False
        sent = self._sent.get(_identity(alert))
        if sent is None:
            # A worker before this one may have sent an alert whose rule is gone. The end of any
            # other alert that was never sent while it fired is of no interest.
            told_before = alert.ended in {"rule_removed", "rule_changed"}
            return told_before or alert.state is AlertState.FIRING
        known, sent_at_s = sent
        if known != _told(alert):
            return True
        return alert.state is AlertState.FIRING and now_s - sent_at_s >= REPEAT_S

    def record_sent(self, alerts: Sequence[Alert], *, now_s: float) -> None:
        """Record what was sent at ``now_s``, broker time in s."""
        for alert in alerts:
            self._sent[_identity(alert)] = (_told(alert), now_s)
        self.delivered += len(alerts)

    def forget(self, *, in_view: Sequence[Alert]) -> None:
        """Forget what was sent of alerts that are not in view any more."""
        kept = {_identity(alert) for alert in in_view}
        self._sent = {identity: sent for identity, sent in self._sent.items() if identity in kept}

    async def run(self) -> None:
        """Deliver alerts for ever; try again while Alertmanager does not take them."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                now_ms = self._now_ms()
                in_view = self._alerts()
                if in_view is not None:
                    self.forget(in_view=in_view)
                due = self.due(in_view or (), now_s=now_ms / 1000)
                if due and await self._post(session, due, now_ms=now_ms):
                    self.record_sent(due, now_s=now_ms / 1000)
                await asyncio.sleep(0.5)

    async def _post(
        self, session: aiohttp.ClientSession, alerts: Sequence[Alert], *, now_ms: int
    ) -> bool:
        body = [payload(alert, now_ms=now_ms, links=self._links()) for alert in alerts]
        try:
            async with session.post(self._endpoint, json=body) as response:
                if response.status < 300:
                    return True
                why = f"HTTP {response.status}"
        except (aiohttp.ClientError, TimeoutError) as error:
            why = type(error).__name__
        self.failures += 1
        log.warning("Alertmanager did not take %d alerts (%s); trying again", len(alerts), why)
        return False


_Told = tuple[AlertState, Correction | None, Held | None]


def _told(alert: Alert) -> _Told:
    """Return the part of an alert whose change makes it due again."""
    return alert.state, alert.correction, alert.held


def _identity(alert: Alert) -> tuple[str, int]:
    return alert.id, alert.active_since_ms
