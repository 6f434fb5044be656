"""The alert book: open alerts, those resolved lately, and what changed.

There is at most one open alert for a rule and scope. The book knows rules by their `AlertFacts`
and findings only, so it keeps the alerts of any kind of rule, of any part of the campaigns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final, TypeVar

from models.alerts import Alert, AlertState, Ended, Held
from models.scope import Scope
from models.window import ShownWindow
from streams.alerting.alert_factory import described, ended_alert, why_over
from streams.alerting.alert_segments import AlertSegments, OpenAlert, decode
from streams.alerting.machine import Standing, pause, step
from streams.alerting.rules.protocol import AlertFacts, Finding, RuleKind
from streams.engine.steps import Steps, in_groups
from streams.kpis.storage.bucket import Segment

Context = TypeVar("Context")

RESOLVED_KEPT = 20
"""Number of resolved alerts that stay in view."""
ALERTS_A_STEP = 200
"""Alerts that are held or paused in one step, 1 to 2 ms."""
_RANK: Final = {"critical": 0, "warning": 1, "info": 2}


class AlertBook:
    """The alerts of a job."""

    def __init__(self) -> None:
        self._open: dict[str, OpenAlert] = {}
        self._of_rule: defaultdict[str, dict[str, None]] = defaultdict(dict)
        """The ids of the open alerts of each rule, in the order in which they began."""
        self._resolved: list[Alert] = []
        self._changes: list[Alert] = []
        self._segments = AlertSegments()

    def get(self, key: str) -> OpenAlert | None:
        """Return the open alert with an id; None if there is none."""
        return self._open.get(key)

    def is_firing(self, key: str) -> bool:
        """Return whether the alert with an id fires."""
        known = self._open.get(key)
        return known is not None and known.alert.state is AlertState.FIRING

    def open_of(self, rule: str) -> Iterator[OpenAlert]:
        """Yield the open alerts of a rule; alerts may change meanwhile."""
        for key in list(self._of_rule[rule]):
            if (known := self._open.get(key)) is not None:
                yield known

    def fired_on(self, window: ShownWindow, end_ms: int) -> Iterator[Alert]:
        """Yield the open alerts, then those resolved lately, that fired on a window."""
        opened = (known.alert for known in self._open.values())
        for alert in chain(opened, self._resolved):
            if alert.fired_at_ms == end_ms and alert.window == window:
                yield alert

    @property
    def changed(self) -> int:
        """Number of changes since `take_changes`."""
        return len(self._changes)

    def take_changes(self) -> Sequence[Alert]:
        """Return the alerts that changed since the last call.

        They became pending, firing or resolved, were corrected, held, or judged again. A pending
        alert that ended without firing is resolved, without `Alert.fired_at_ms`.
        """
        changes, self._changes = self._changes, []
        return changes

    def shown(self, *, inhibited: bool) -> Sequence[Alert]:
        """Return open alerts, then those resolved lately, the newest first.

        Of the open ones, alerts about data health come first, then the most severe.

        Args:
            inhibited: whether alerts on KPIs are inhibited by one about the data.
        """
        opened = sorted(
            (known.alert.category == "kpi", _RANK[known.alert.severity], key)
            for key, known in self._open.items()
        )
        shown = []
        for of_kpi, _, key in opened:
            alert = self._open[key].alert
            hidden = inhibited and of_kpi
            shown.append(alert.model_copy(update={"inhibited": True}) if hidden else alert)
        return [*shown, *reversed(self._resolved)]

    def judge(
        self,
        kind: RuleKind[Context],
        context: Context,
        facts: AlertFacts,
        *,
        key: str,
        scope: Scope,
        at_ms: int,
    ) -> Finding:
        """Judge a scope by a rule, and move its alert by the finding.

        Args:
            kind: the rule.
            context: what it judges.
            facts: what all alerts of the rule have in common.
            key: id of the alert.
            scope: the scope.
            at_ms: time of the verdict: event time for rules on KPIs, else broker time.
        """
        finding = kind.judge(context)
        known = self._open.get(key)
        after = step(
            None if known is None else known.standing,
            finding.verdict,
            at_ms=at_ms,
            for_ms=facts.for_ms,
            keep_firing_for_ms=facts.keep_firing_for_ms,
        )
        if after is not None:
            self._move(key, known, after, facts, scope, finding, at_ms=at_ms)
        elif known is not None:
            self._drop(key)
            ended = why_over(finding)
            self._changes.append(ended_alert(known.alert, ended, at_ms=at_ms))
        return finding

    def _move(
        self,
        key: str,
        known: OpenAlert | None,
        after: Standing,
        facts: AlertFacts,
        scope: Scope,
        finding: Finding,
        *,
        at_ms: int,
    ) -> None:
        if finding.no_data_since_ms is None:
            after = replace(after, no_data_paused_ms=0)
        before = None if known is None else known.alert
        alert = described(facts, scope, finding, after, before=before, at_ms=at_ms)
        if after.state is AlertState.RESOLVED:
            alert = alert.model_copy(update={"ended": finding.ended})
            self._drop(key)
            self._keep_resolved([*self._resolved, alert])
        else:
            self._put(key, OpenAlert(alert, after))
        was_held = before is not None and before.held is not None
        if known is None or known.standing.state is not after.state or was_held:
            self._changes.append(alert)

    def forget_pending(self, rule: str, *, at_ms: int) -> Steps[list[Scope]]:
        """Drop a rule's pending alerts, so that ``for`` begins again; stop the other clocks.

        Args:
            rule: the rule, whose KPI is incomplete in a window.
            at_ms: end of the window, event time in ms.

        Returns:
            The scopes of the dropped alerts.
        """
        ended = []
        for keys in in_groups(list(self._of_rule[rule]), of=ALERTS_A_STEP):
            for key in keys:
                alert, standing = self._open[key]
                if alert.state is AlertState.PENDING:
                    self._drop(key)
                    self._changes.append(ended_alert(alert, "not_judged", at_ms=at_ms))
                    ended.append(alert.scope)
                else:
                    self._pause(key, alert, standing)
            yield
        return ended

    def hold(self, rule: str, held: Held) -> Steps[None]:
        """Mark a rule's open alerts as held, and stop their clocks at their last verdict."""
        for keys in in_groups(list(self._of_rule[rule]), of=ALERTS_A_STEP):
            for key in keys:
                alert, standing = self._open[key]
                if alert.held != held:
                    alert = alert.model_copy(update={"held": held})
                    self._changes.append(alert)
                    self._put(key, OpenAlert(alert, standing))
                self._pause(key, alert, standing)
            yield

    def pause(self) -> None:
        """Stop the clocks of all open alerts of rules on KPIs at their last verdict."""
        for key, (alert, standing) in list(self._open.items()):
            if alert.category == "kpi":
                self._pause(key, alert, standing)

    def _pause(self, key: str, alert: Alert, standing: Standing) -> None:
        paused = pause(standing, judged_ms=alert.updated_ms)
        if paused is not standing:
            self._put(key, OpenAlert(alert, paused))

    def replace(self, before: Alert, after: Alert) -> None:
        """Put an alert in the place of another, open or resolved; it is a change."""
        known = self._open.get(before.id)
        if known is not None and known.alert is before:
            self._put(before.id, OpenAlert(after, known.standing))
        else:
            self._keep_resolved([after if one is before else one for one in self._resolved])
        self._changes.append(after)

    def _put(self, key: str, opened: OpenAlert) -> None:
        self._open[key] = opened
        self._of_rule[opened.alert.rule][key] = None
        self._segments.put(key, opened.alert.rule)

    def _drop(self, key: str) -> None:
        known = self._open.pop(key, None)
        if known is not None:
            del self._of_rule[known.alert.rule][key]
            self._segments.drop(key)

    def _keep_resolved(self, alerts: Sequence[Alert]) -> None:
        self._resolved = list(alerts[-RESOLVED_KEPT:])
        self._segments.resolved()

    def take_segments(self) -> Iterator[Segment]:
        """Yield the segments that changed since the last call, and removals of the old ones."""
        yield from self._segments.take(self._open, self._resolved)

    @property
    def live_segments(self) -> Sequence[int]:
        """The numbers of the segments that hold the book, after `take_segments`."""
        return self._segments.live

    def restore(
        self,
        data: bytes,
        segments: Mapping[bytes, bytes],
        *,
        live: Iterable[int],
        over: Callable[[Alert], Ended | None],
    ) -> Steps[None]:
        """Restore saved alerts, and end those that are not about a rule as it is now.

        Args:
            data: all alerts, as a version wrote them that had no segments; else an empty list.
            segments: the stored segments of alerts.
            live: the numbers of those that belong to the head.
            over: returns why an open alert ends; None if it goes on.

        Raises:
            StateError: a segment is missing.
        """
        rows = decode(data)
        rows += yield from self._segments.read(segments, live=live)
        resolved = []
        for group in in_groups(rows, of=ALERTS_A_STEP):
            for saved in group:
                alert = saved.alert
                if alert.state is AlertState.RESOLVED:
                    resolved.append(alert)
                elif (why := over(alert)) is None:
                    self._put(alert.id, saved.opened)
                else:
                    ended = ended_alert(alert, why, at_ms=alert.updated_ms)
                    self._changes.append(ended)
                    if alert.state is AlertState.FIRING:
                        resolved.append(ended)
            yield
        if resolved:
            self._keep_resolved(resolved)
