"""Judges windows and the health of the data, and keeps one alert for each rule and scope.

Alerts are part of the saved state, so they survive restarts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

from models.alerts import Alert, Ended
from models.campaigns.campaign import Campaign
from models.campaigns.campaign_change import Change
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import Catalogue
from models.rule_status import NotJudged, RuleStatus
from models.scope import ScopeKind
from models.window import WindowName
from streams.alerting.alert_book import AlertBook
from streams.alerting.health_judge import HealthJudge
from streams.alerting.rule_status import not_judged
from streams.alerting.rules.registry import RuleBook
from streams.alerting.usual.local_clock import LocalClock
from streams.alerting.window_judge import WindowJudge
from streams.engine.steps import Steps
from streams.kpis.judging import ALERTS_PREFIX, EarlierPeriod, EarlierPeriods, LiveSegments
from streams.kpis.storage.bucket import Segment
from streams.kpis.view import Evaluation, Health


class AlertJudge:
    """Judges closed windows by a book of rules, and the health of the data.

    While a data-health alert inhibits KPI rules (`held_back`), the caller does not have windows
    judged. Open alerts keep their state and are marked as inhibited. While a source of a rule's KPI
    is silent, that rule is not judged, and its open alerts are `Alert.held`. Both stop the clocks
    of ``for`` and ``keep_firing_for``.

    Args:
        rules: the rule book.
        lag_limit_s: the lag above which the data are late, in s.
        catalogue: the KPIs that the rules are about.
        campaign_of: returns a campaign by its id, None if it is unknown. Rules about too few
            events hold for a campaign that does not run in all of the window.
        currency: the reporting currency, for the sentences that explain the rules.
        clock: the local clock, by which rules learn what is usual at a time of the week; UTC if
            left out.
        changes: the last reported changes of campaigns, whose values are expected to shift.
    """

    def __init__(
        self,
        rules: RuleBook,
        *,
        lag_limit_s: float,
        catalogue: Catalogue = CATALOGUE,
        campaign_of: Callable[[str], Campaign | None] = lambda _: None,
        currency: str = "CNY",
        clock: LocalClock | None = None,
        changes: Iterable[Change] = (),
    ) -> None:
        self._book = AlertBook()
        self._health = HealthJudge(self._book, lag_limit_s=lag_limit_s)
        self._windows = WindowJudge(
            rules,
            self._book,
            catalogue=catalogue,
            campaign_of=campaign_of,
            currency=currency,
            clock=clock or LocalClock(),
            changes=changes,
        )

    def references(self, window: WindowName, end_ms: int) -> Mapping[EarlierPeriod, Set[ScopeKind]]:
        """Return the earlier periods that rules refer to, with their kinds of scope."""
        return self._windows.references(window, end_ms)

    def closed(self, evaluation: Evaluation, earlier: EarlierPeriods) -> Steps[None]:
        """Judge all rules about a closed window; leave out those whose KPI is incomplete in it."""
        return self._windows.closed(evaluation, earlier)

    def awaits_correction(self, window: WindowName, end_ms: int) -> bool:
        """Return whether an alert fired on that window: late data may change its evidence."""
        return self._windows.awaits_correction(window, end_ms)

    def corrected(self, evaluation: Evaluation, earlier: EarlierPeriods) -> Steps[None]:
        """Update the alerts that fired on a window which late data changed."""
        return self._windows.corrected(evaluation, earlier)

    @property
    def windows(self) -> frozenset[WindowName]:
        """The windows that rules are about."""
        return self._windows.windows

    @property
    def regular_windows(self) -> Mapping[WindowName, int]:
        """The intervals of ends that are closed also if nothing came, in ms, by window."""
        return self._windows.regular_windows

    def health(self, health: Health) -> bool:
        """Judge the rules about the data themselves; return whether an alert changed its state."""
        before = self._book.changed
        self._health.judge(health)
        return self._book.changed > before

    @property
    def held_back(self) -> bool:
        """Whether a data-health alert fires that inhibits KPI rules."""
        return self._health.held_back

    def alerts(self) -> Sequence[Alert]:
        """Return open alerts, then those resolved lately, the newest first.

        Of the open ones, alerts about data health come first, then the most severe.
        """
        return self._book.shown(inhibited=self.held_back)

    def rule_statuses(self) -> Sequence[RuleStatus]:
        """Return the last verdicts of each rule, in the order of the rules."""
        statuses = self._windows.statuses
        if not self.held_back:
            return statuses
        return [not_judged(status, NotJudged.HELD_BACK) for status in statuses]

    def take_changes(self) -> Sequence[Alert]:
        """Return the alerts that changed since the last call."""
        return self._book.take_changes()

    def take_segments(self) -> Iterator[Segment]:
        """Yield the segments that changed since the last call, and removals."""
        yield from self._book.take_segments()
        yield from self._windows.learned.take_segments()

    @property
    def live_segments(self) -> LiveSegments:
        """The numbers of the segments that hold alerts and what was learned."""
        return LiveSegments(self._book.live_segments, self._windows.learned.live_segments)

    def restore(
        self, data: bytes, segments: Mapping[bytes, bytes], *, live: LiveSegments
    ) -> Steps[bool]:
        """Restore saved alerts and what was learned, as far as it is about a rule as it is now.

        Args:
            data: all alerts, as a version wrote them that had no segments; else an empty list.
            segments: the stored segments.
            live: the numbers of those that belong to the head.

        Returns:
            Whether an alert ended.

        Raises:
            StateError: a segment is missing.
        """
        alerts: dict[bytes, bytes] = {}
        learned: dict[bytes, bytes] = {}
        for key, value in segments.items():
            (alerts if key.startswith(ALERTS_PREFIX) else learned)[key] = value
        yield from self._book.restore(data, alerts, live=live.alerts, over=self._why_over)
        yield from self._windows.learned.restore(
            learned, live=live.learned, is_known=self._windows.is_learning
        )
        self._windows.restore_status()
        return self._book.changed > 0

    def _why_over(self, alert: Alert) -> Ended | None:
        if alert.category == "kpi":
            return self._windows.why_over(alert)
        return self._health.why_over(alert)
