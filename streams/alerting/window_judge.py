"""Judges closed windows by the rules on KPIs, and keeps the last verdicts of each rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from models.alerts import Alert, Correction, Ended, Held, alert_id
from models.campaigns.campaign import Campaign
from models.campaigns.campaign_change import Change
from models.events import SourceKind
from models.kpi.definition import Catalogue, Kpi, KpiValue
from models.rule_status import NotJudged, RuleStatus, ScopeStatus
from models.scope import Scope, ScopeKind
from models.window import ShownWindow, WindowName
from streams.alerting.alert_book import AlertBook
from streams.alerting.alert_segments import OpenAlert
from streams.alerting.learning import Learners, Learning, about_of
from streams.alerting.machine import resumed
from streams.alerting.rule_status import StatusCollector, alert_status, not_judged
from streams.alerting.rule_text import explain
from streams.alerting.rules.protocol import (
    AlertFacts,
    Coverage,
    Earlier,
    Finding,
    JudgeContext,
    KnownScopes,
    Verdict,
)
from streams.alerting.rules.registry import RuleBook
from streams.alerting.rules.rule import Rule
from streams.alerting.usual.learned_series import About, LearnedSeries
from streams.alerting.usual.local_clock import LocalClock
from streams.analysis.peer_outliers import PeerGroup, group_of, peer_groups
from streams.engine.steps import Steps, in_groups
from streams.kpis.judging import EarlierPeriod, EarlierPeriods
from streams.kpis.view import Evaluation, Silence

SCOPES_A_STEP = 100
"""Scopes that one rule judges in one step, 1 to 2 ms."""
SCOPES_GROUPED_A_STEP = 5_000
"""Scopes that are grouped by kind in one step, 1 ms."""
_HOLDS: Mapping[Verdict, bool | None] = {
    Verdict.BROKEN: False,
    Verdict.HOLDS: True,
    Verdict.BETWEEN: True,
    Verdict.NO_JUDGEMENT: None,
}
"""Whether a corrected value is no reason to alert; None if it can't be judged."""


class _Judging(NamedTuple):
    """A rule and the window that it judges."""

    rule: Rule
    kpi: Kpi
    evaluation: Evaluation
    coverage: Coverage
    had_value: Set[Scope]
    least_n: int
    earlier: Evaluation | None
    past: Sequence[Evaluation | None]
    learning: Learning | None
    peers: Mapping[str, PeerGroup]


class WindowJudge:
    """Judges closed windows by a book of rules.

    While a source of a rule's KPI is silent, that rule is not judged, and its open alerts are
    `Alert.held`.

    Args:
        rules: the rule book.
        book: the alerts.
        catalogue: the KPIs that the rules are about.
        campaign_of: returns a campaign by its id, None if it is unknown. Rules about too few
            events hold for a campaign that does not run in all of the window.
        currency: the reporting currency, for the sentences that explain the rules.
        clock: the local clock, by which rules learn what is usual at a time of the week.
        changes: the last reported changes of campaigns, whose values are expected to shift.
    """

    def __init__(
        self,
        rules: RuleBook,
        book: AlertBook,
        *,
        catalogue: Catalogue,
        campaign_of: Callable[[str], Campaign | None],
        currency: str,
        clock: LocalClock,
        changes: Iterable[Change],
    ) -> None:
        self._book = book
        self._clock = clock
        self._learning = Learners(clock, changes)
        self._rules: dict[str, Rule] = {rule.name: rule for rule in rules.rules}
        self._rules_about: defaultdict[ShownWindow, list[Rule]] = defaultdict(list)
        for rule in rules.rules:
            self._rules_about[rule.window].append(rule)
        self._campaign_of = campaign_of
        self._catalogue = catalogue
        self._facts: dict[str, AlertFacts] = {
            rule.name: rule.facts(explain(rule, catalogue[rule.kpi], currency=currency))
            for rule in rules.rules
        }
        self._had_value: defaultdict[str, set[Scope]] = defaultdict(set)
        """By rule about too few, the scopes with a value when its window was judged last."""
        self._status = {
            rule.name: RuleStatus(
                rule=rule.name,
                not_judged=NotJudged.WAITING,
                least_n=rule.least(catalogue[rule.kpi]).n,
            )
            for rule in rules.rules
        }

    @property
    def windows(self) -> frozenset[WindowName]:
        """The windows that rules are about."""
        return frozenset(rule.window for rule in self._rules.values())

    @property
    def regular_windows(self) -> Mapping[WindowName, int]:
        """The intervals of ends that are closed also if nothing came, in ms, by window."""
        found: dict[WindowName, int] = {}
        for rule in self._rules.values():
            if rule.regular_ms is not None:
                found[rule.window] = min(rule.regular_ms, found.get(rule.window, rule.regular_ms))
        return found

    @property
    def statuses(self) -> Sequence[RuleStatus]:
        """The last verdicts of each rule, in the order of the rules."""
        return tuple(self._status.values())

    def references(self, window: WindowName, end_ms: int) -> Mapping[EarlierPeriod, Set[ScopeKind]]:
        """Return the earlier periods that rules about a window refer to at an end of it.

        Args:
            window: the window.
            end_ms: its end, event time in ms.

        Returns:
            The kinds of scope of these rules, by reference.
        """
        found: defaultdict[EarlierPeriod, set[ScopeKind]] = defaultdict(set)
        for rule in self._rules_about.get(window, ()):
            if not rule.is_judged_at(end_ms, self._clock.day):
                continue
            if rule.reference is not None:
                found[rule.reference].add(rule.scope)
            for number in range(1, rule.windows_before + 1):
                found[number].add(rule.scope)
        return found

    def closed(self, evaluation: Evaluation, earlier: EarlierPeriods) -> Steps[None]:
        """Judge all rules about a closed window; leave out those whose KPI is incomplete in it.

        A rule that refers to an earlier period is judged where ``earlier`` has the period.
        """
        rules = [
            rule
            for rule in self._rules_about.get(evaluation.window, ())
            if rule.is_judged_at(evaluation.end_ms, self._clock.day)
            and (rule.reference is None or rule.reference in earlier)
        ]
        scopes_of: defaultdict[ScopeKind, list[Scope]] = defaultdict(list)
        if evaluation.complete and rules:
            scopes_of = yield from _by_kind(evaluation)
        for rule in rules:
            silences = evaluation.silences_of(self._catalogue[rule.kpi])
            if not evaluation.complete:
                yield from self._leave_out(rule, evaluation)
            elif silences:
                held = _held(silences)
                yield from self._book.hold(rule.name, held)
                self._not_judged(rule, NotJudged.HELD, held=held)
            else:
                judging = yield from self._judging(rule, evaluation, earlier)
                yield from self._judge(judging, scopes_of[rule.scope])

    def _leave_out(self, rule: Rule, evaluation: Evaluation) -> Steps[None]:
        """Drop a rule's pending alerts, as the window lacks records."""
        dropped = yield from self._book.forget_pending(rule.name, at_ms=evaluation.end_ms)
        if rule.is_about_too_little(self._catalogue[rule.kpi]):
            self._had_value[rule.name].update(dropped)
        self._not_judged(rule, NotJudged.INCOMPLETE)

    def _not_judged(self, rule: Rule, why: NotJudged, *, held: Held | None = None) -> None:
        self._status[rule.name] = not_judged(self._status[rule.name], why, held=held)

    def _judging(
        self, rule: Rule, evaluation: Evaluation, earlier: EarlierPeriods
    ) -> Steps[_Judging]:
        kpi = self._catalogue[rule.kpi]
        then = None if rule.reference is None else _known(earlier.get(rule.reference), kpi)
        past = [_known(earlier.get(one), kpi) for one in range(1, rule.windows_before + 1)]
        learning = self._learning.of(rule, kpi, evaluation)
        peers: Mapping[str, PeerGroup] = {}
        if rule.peer_min_n is not None:
            peers = yield from peer_groups(
                evaluation.values, rule.scope, kpi.name, min_n=rule.peer_min_n
            )
        return _Judging(
            rule=rule,
            kpi=kpi,
            evaluation=evaluation,
            coverage=Coverage(
                start_ms=evaluation.start_ms,
                end_ms=evaluation.end_ms,
                observed=evaluation.observed,
                measured=rule.kpi not in evaluation.unmeasured,
                connected=rule.kpi not in evaluation.unconnected,
            ),
            had_value=self._had_value[rule.name] if learning is None else learning.scopes(),
            least_n=self._status[rule.name].least_n,
            earlier=then,
            past=past,
            learning=learning,
            peers=peers,
        )

    def _judge(self, judging: _Judging, present: Sequence[Scope]) -> Steps[None]:
        """Judge a rule in all scopes that it is about.

        Args:
            judging: the rule and the window.
            present: the scopes of its kind of scope that have values in the window.
        """
        rule, kpi, evaluation = judging.rule, judging.kpi, judging.evaluation
        known = KnownScopes(
            present=present,
            in_window=evaluation.values,
            with_alert=(one.alert.scope for one in self._book.open_of(rule.name)),
            had_value=judging.had_value,
        )
        have_value: set[Scope] = set()
        collector = StatusCollector(rule, kpi)
        for scopes in in_groups(rule.scopes(kpi, known), of=SCOPES_A_STEP):
            judged = []
            for one in self._judged(judging, filter(rule.match.matches, scopes)):
                judged.append(one)
                if judging.learning is not None:
                    yield  # The first points of a series take up to 40 ms to be learned.
            collector.add(status for status, _ in judged)
            have_value.update(status.scope for status, has_value in judged if has_value)
            yield
        self._status[rule.name] = collector.status(
            judged_ms=evaluation.end_ms, before=self._status[rule.name]
        )
        if rule.is_about_too_little(kpi) and judging.learning is None:
            self._had_value[rule.name] = have_value

    def _judged(
        self, judging: _Judging, scopes: Iterable[Scope]
    ) -> Iterator[tuple[ScopeStatus, bool]]:
        """Judge scopes; yield the last verdict on each, and whether it has a value."""
        book, rule = self._book, judging.rule
        facts, at_ms = self._facts[rule.name], judging.evaluation.end_ms
        for scope in scopes:
            key = alert_id(rule.name, scope)
            context = self._context(judging, scope, book.get(key))
            if judging.learning is not None:
                context = context._replace(usual=judging.learning.observe(context))
            finding = book.judge(rule, context, facts, key=key, scope=scope, at_ms=at_ms)
            status = _status(judging, context, finding, book.get(key))
            yield status, context.value is not None

    def _context(self, judging: _Judging, scope: Scope, known: OpenAlert | None) -> JudgeContext:
        values = judging.evaluation.values.get(scope)
        paused_ms = 0
        if known is not None:
            standing = resumed(known.standing, at_ms=judging.coverage.end_ms)
            paused_ms = standing.no_data_paused_ms
        return JudgeContext(
            scope=scope,
            kpi=judging.kpi,
            value=None if values is None else values.get(judging.rule.kpi),
            coverage=judging.coverage,
            present=values is not None,
            had_value=scope in judging.had_value,
            campaign=self._campaign_of(scope.campaign),
            before=None if known is None else known.alert,
            no_data_paused_ms=paused_ms,
            earlier=_earlier(judging.earlier, scope, judging),
            past=[_earlier(one, scope, judging) for one in judging.past],
            exhausted_ms=judging.evaluation.exhausted_ms.get(scope.campaign),
            peers=_peers_of(scope, judging) if judging.peers else None,
        )

    def awaits_correction(self, window: WindowName, end_ms: int) -> bool:
        """Return whether an alert fired on that window: late data may change its evidence."""
        return next(self._book.fired_on(window, end_ms), None) is not None

    def corrected(self, evaluation: Evaluation, earlier: EarlierPeriods) -> Steps[None]:
        """Update the alerts that fired on a window which late data changed.

        Each gets a `Correction`: the new value, and whether the rule would have held with it, if
        it can be judged.
        Alerts whose value did not change are left as they are.
        """
        judgings: dict[str, _Judging] = {}
        for alert in list(self._book.fired_on(evaluation.window, evaluation.end_ms)):
            rule = self._rules.get(alert.rule)
            if rule is None or not rule.is_about(alert):
                continue
            if rule.name not in judgings:
                judgings[rule.name] = yield from self._judging(rule, evaluation, earlier)
            self._correct(alert, judgings[rule.name])
            yield

    def _correct(self, alert: Alert, judging: _Judging) -> None:
        context = self._context(judging, alert.scope, None)
        finding = judging.rule.judge(context._replace(before=alert, usual=alert.usual))
        value = finding.evidence.value
        number = None if value is None else float(value.value)
        if number == (alert.correction.value if alert.correction else alert.fired_value):
            return
        correction = Correction(
            value=number,
            n=0 if value is None else value.n,
            # What was learned of the window is not learned again.
            holds=_HOLDS[finding.verdict] if judging.learning is None else None,
        )
        self._book.replace(alert, alert.model_copy(update={"correction": correction}))

    @property
    def learned(self) -> LearnedSeries:
        """The series that rules have learned."""
        return self._learning.series

    def is_learning(self, about: About, scope: Scope) -> bool:
        """Return whether a rule as it is now learns a series."""
        rule = self._rules.get(about.rule)
        if rule is None or scope.kind != rule.scope or not rule.match.matches(scope):
            return False
        kpi = self._catalogue[rule.kpi]
        learner = rule.learner(kpi)
        return learner is not None and about == about_of(rule, kpi, learner)

    def why_over(self, alert: Alert) -> Ended | None:
        """Return why a saved alert on a KPI is over; None if it is about a rule as it is now."""
        rule = self._rules.get(alert.rule)
        if rule is None:
            return "rule_removed"
        return None if rule.is_about(alert) else "rule_changed"

    def restore_status(self) -> None:
        """Take the last verdicts from the open alerts, until windows are judged again."""
        for rule in self._rules.values():
            known = list(self._book.open_of(rule.name))
            if not known:
                continue
            collector = StatusCollector(rule, self._catalogue[rule.kpi])
            collector.add(
                alert_status(rule, *one, value=_value_of(one.alert), usual=one.alert.usual)
                for one in known
            )
            judged_ms = max(one.alert.updated_ms for one in known)
            status = collector.status(judged_ms=judged_ms, before=None)
            self._status[rule.name] = not_judged(status, NotJudged.WAITING)


def _known(evaluation: Evaluation | None, kpi: Kpi) -> Evaluation | None:
    """Return an earlier period if a KPI is known in all of it."""
    if evaluation is None or kpi.name in evaluation.unmeasured:
        return None
    return evaluation if evaluation.complete_for(kpi) else None


def _earlier(evaluation: Evaluation | None, scope: Scope, judging: _Judging) -> Earlier | None:
    if evaluation is None:
        return None
    values = evaluation.values.get(scope, {})
    return Earlier(evaluation.start_ms, evaluation.end_ms, values.get(judging.kpi.name))


def _peers_of(scope: Scope, judging: _Judging) -> PeerGroup | None:
    within = group_of(scope)
    return None if within is None else judging.peers.get(within)


def _by_kind(evaluation: Evaluation) -> Steps[defaultdict[ScopeKind, list[Scope]]]:
    """Return the scopes that have values in a window, by kind."""
    scopes_of: defaultdict[ScopeKind, list[Scope]] = defaultdict(list)
    for scopes in in_groups(evaluation.values, of=SCOPES_GROUPED_A_STEP):
        for scope in scopes:
            scopes_of[scope.kind].append(scope)
        yield
    return scopes_of


def _status(
    judging: _Judging, context: JudgeContext, finding: Finding, known: OpenAlert | None
) -> ScopeStatus:
    """Return why a rule fires in a scope now, or does not."""
    value, scope, usual = finding.evidence.value, context.scope, context.usual
    if known is not None:
        return alert_status(judging.rule, *known, value=value, usual=usual)
    assert finding.why is not None
    broken = finding.evidence.windows_broken
    if value is None:
        return ScopeStatus(scope, finding.why, usual=usual, windows_broken=broken)
    needed = judging.rule.needed_n(judging.kpi, value, finding.why, least_n=judging.least_n)
    return ScopeStatus(scope, finding.why, value, needed, usual=usual, windows_broken=broken)


def _value_of(alert: Alert) -> KpiValue | None:
    if alert.value is None:
        return None
    return KpiValue(alert.value, alert.low, alert.high, alert.n)


def _held(silences: Mapping[SourceKind, Silence]) -> Held:
    """Return why alerts are held: the first start of the silences, and the last end of all."""
    ends = [silence.until_ms for silence in silences.values()]
    return Held(
        sources=tuple(sorted(silences)),
        since_ms=min(silence.since_ms for silence in silences.values()),
        until_ms=None if None in ends else max(end for end in ends if end is not None),
    )
