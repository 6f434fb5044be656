"""Judges windows and the health of the data, and keeps one alert for each rule and scope.

Alerts are part of the saved state, so they survive restarts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from pydantic import TypeAdapter

from models.alerts import Alert, AlertState, Correction, Ended, Held, alert_id
from models.campaigns.campaign import Campaign
from models.events import SourceKind
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import Catalogue, KpiValue
from models.rule_status import NotJudged, RuleStatus, ScopeStatus, Why
from models.scope import ALL, Scope, ScopeKind
from models.window import ShownWindow, WindowName
from streams.alerting.machine import Standing, pause, resumed, step
from streams.alerting.rule_status import StatusCollector, not_judged
from streams.alerting.rule_text import explain
from streams.alerting.rules.health import HEALTH_RULES, HOLDING, HealthContext
from streams.alerting.rules.protocol import (
    AlertFacts,
    Coverage,
    Finding,
    JudgeContext,
    KnownScopes,
    Verdict,
)
from streams.alerting.rules.registry import RuleBook
from streams.alerting.rules.rule import Rule
from streams.engine.steps import Steps, in_groups
from streams.kpis.view import Evaluation, Health, Silence

RESOLVED_KEPT = 20
"""Number of resolved alerts that stay in view."""
SCOPES_A_STEP = 100
"""Scopes that one rule judges in one step, 1 to 2 ms."""
_HOLDS: Mapping[Verdict, bool | None] = {
    Verdict.BROKEN: False,
    Verdict.HOLDS: True,
    Verdict.BETWEEN: True,
    Verdict.NO_JUDGEMENT: None,
}
"""Whether a corrected value is no reason to alert; None if it can't be judged."""
_HOLDING_ALERTS = [alert_id(rule, ALL) for rule in HOLDING]


class _SavedAlert(NamedTuple):
    """An alert in the saved state, with what `Standing` knows besides."""

    alert: Alert
    held_since_ms: int | None = None
    paused_ms: int = 0
    unjudged_since_ms: int | None = None
    no_data_paused_ms: int = 0


_alerts = TypeAdapter(list[_SavedAlert])


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
    """

    def __init__(
        self,
        rules: RuleBook,
        *,
        lag_limit_s: float,
        catalogue: Catalogue = CATALOGUE,
        campaign_of: Callable[[str], Campaign | None] = lambda _: None,
        currency: str = "CNY",
    ) -> None:
        self._rules = rules
        self._rules_about: dict[ShownWindow, list[Rule]] = {}
        for rule in rules.rules:
            self._rules_about.setdefault(rule.window, []).append(rule)
        self._campaign_of = campaign_of
        self._catalogue = catalogue
        self._lag_limit_s = lag_limit_s
        self._facts = {
            rule.name: rule.facts(explain(rule, catalogue[rule.kpi], currency=currency))
            for rule in rules.rules
        }
        self._open: dict[str, tuple[Alert, Standing]] = {}
        self._resolved: list[Alert] = []
        self._changes: list[Alert] = []
        self._started_ms: int | None = None
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

    def closed(self, evaluation: Evaluation) -> Steps[None]:
        """Judge all rules about a closed window; leave out those whose KPI is incomplete in it."""
        scopes_of: defaultdict[ScopeKind, list[Scope]] = defaultdict(list)
        rules = self._rules_about.get(evaluation.window, ())
        for scope in evaluation.values if rules else ():
            scopes_of[scope.kind].append(scope)
        yield
        for rule in rules:
            silences = evaluation.silences_of(self._catalogue[rule.kpi])
            if not evaluation.complete:
                self._forget_pending(rule, at_ms=evaluation.end_ms)
                self._pause(rule)
                self._not_judged(rule, NotJudged.INCOMPLETE)
                continue
            if silences:
                held = _held(silences)
                self._hold(rule, held)
                self._not_judged(rule, NotJudged.HELD, held=held)
                continue
            have_value: set[Scope] = set()
            collector = StatusCollector(rule, self._catalogue[rule.kpi])
            for scopes in in_groups(
                self._scopes(rule, evaluation, scopes_of[rule.scope]), of=SCOPES_A_STEP
            ):
                judged: list[ScopeStatus] = []
                for scope in filter(rule.match.matches, scopes):
                    judged.append(self._judge(rule, scope, evaluation))
                    if evaluation.values.get(scope, {}).get(rule.kpi) is not None:
                        have_value.add(scope)
                collector.add(judged)
                yield
            self._status[rule.name] = collector.status(
                judged_ms=evaluation.end_ms, before=self._status[rule.name]
            )
            if self._about_too_little(rule):
                self._had_value[rule.name] = have_value

    def _not_judged(self, rule: Rule, why: NotJudged, *, held: Held | None = None) -> None:
        self._status[rule.name] = not_judged(self._status[rule.name], why, held=held)

    def _scope_status(self, rule: Rule, scope: Scope, finding: Finding) -> ScopeStatus:
        """Return why a rule fires in a scope now, or does not."""
        value = finding.evidence.value
        known = self._open.get(alert_id(rule.name, scope))
        if known is not None:
            return _alert_status(rule, *known, value=value)
        assert finding.why is not None
        if value is None:
            return ScopeStatus(scope, finding.why)
        needed = rule.needed_n(
            self._catalogue[rule.kpi],
            value,
            finding.why,
            least_n=self._status[rule.name].least_n,
        )
        return ScopeStatus(scope, finding.why, value, needed)

    def _forget_pending(self, rule: Rule, *, at_ms: int) -> None:
        """Drop a rule's pending alerts, so that ``for`` begins again after an incomplete window."""
        for key, (alert, _) in list(self._open.items()):
            if alert.rule == rule.name and alert.state is AlertState.PENDING:
                del self._open[key]
                self._changes.append(_ended(alert, "not_judged", at_ms=at_ms))
                if self._about_too_little(rule):
                    self._had_value[rule.name].add(alert.scope)

    def _hold(self, rule: Rule, held: Held) -> None:
        """Mark a rule's open alerts as held, and stop their clocks at their last verdict."""
        self._pause(rule)
        for key, (alert, standing) in list(self._open.items()):
            if alert.rule == rule.name and alert.held != held:
                marked = alert.model_copy(update={"held": held})
                self._changes.append(marked)
                self._open[key] = (marked, standing)

    def _pause(self, rule: Rule | None = None) -> None:
        """Stop the clocks of a rule's open alerts, or of all, at their last verdict."""
        for key, (alert, standing) in self._open.items():
            of_rule = alert.category == "kpi" if rule is None else alert.rule == rule.name
            if of_rule:
                self._open[key] = (alert, pause(standing, judged_ms=alert.updated_ms))

    def _scopes(
        self, rule: Rule, evaluation: Evaluation, present: Sequence[Scope]
    ) -> Iterable[Scope]:
        """Return the scopes that a rule may be about, those that do not match among them."""
        known = KnownScopes(
            present=present,
            in_window=evaluation.values,
            with_alert=[one.scope for one, _ in self._open.values() if one.rule == rule.name],
            had_value=self._had_value[rule.name],
        )
        return rule.scopes(self._catalogue[rule.kpi], known)

    def _about_too_little(self, rule: Rule) -> bool:
        return rule.is_about_too_little(self._catalogue[rule.kpi])

    def awaits_correction(self, window: WindowName, end_ms: int) -> bool:
        """Return whether an alert fired on that window: late data may change its evidence."""
        return any(
            alert.window == window and alert.fired_at_ms == end_ms for alert in self._kpi_alerts()
        )

    def corrected(self, evaluation: Evaluation) -> None:
        """Update the alerts that fired on a window which late data changed.

        Each gets a `Correction`: the new value, and whether the rule would have held with it, if
        it can be judged.
        Alerts whose value did not change are left as they are.
        """
        rules = {rule.name: rule for rule in self._rules.rules}
        for alert in list(self._kpi_alerts()):
            rule = rules.get(alert.rule)
            fired_here = (
                alert.window == evaluation.window and alert.fired_at_ms == evaluation.end_ms
            )
            if rule is None or not fired_here or not rule.is_about(alert):
                continue
            finding = rule.judge(self._context(rule, alert.scope, evaluation, before=alert))
            shown = finding.evidence.value
            value = None if shown is None else float(shown.value)
            if value == (alert.correction.value if alert.correction else alert.fired_value):
                continue
            correction = Correction(
                value=value,
                n=0 if shown is None else shown.n,
                holds=_HOLDS[finding.verdict],
            )
            self._replace(alert, alert.model_copy(update={"correction": correction}))

    def _kpi_alerts(self) -> Iterator[Alert]:
        for alert, _ in self._open.values():
            if alert.category == "kpi":
                yield alert
        yield from (alert for alert in self._resolved if alert.category == "kpi")

    def _replace(self, before: Alert, after: Alert) -> None:
        known = self._open.get(before.id)
        if known is not None and known[0] is before:
            self._open[before.id] = (after, known[1])
        else:
            self._resolved = [after if one is before else one for one in self._resolved]
        self._changes.append(after)

    def _judge(self, rule: Rule, scope: Scope, evaluation: Evaluation) -> ScopeStatus:
        at_ms = evaluation.end_ms
        before, paused_ms = None, 0
        key = alert_id(rule.name, scope)
        if key in self._open:
            before, standing = self._open[key]
            paused_ms = resumed(standing, at_ms=at_ms).no_data_paused_ms
        finding = rule.judge(
            self._context(rule, scope, evaluation, before=before, no_data_paused_ms=paused_ms)
        )
        self._record(self._facts[rule.name], scope, finding, at_ms=at_ms)
        return self._scope_status(rule, scope, finding)

    def _context(
        self,
        rule: Rule,
        scope: Scope,
        evaluation: Evaluation,
        *,
        before: Alert | None,
        no_data_paused_ms: int = 0,
    ) -> JudgeContext:
        values = evaluation.values.get(scope)
        return JudgeContext(
            scope=scope,
            kpi=self._catalogue[rule.kpi],
            value=None if values is None else values.get(rule.kpi),
            coverage=Coverage(
                start_ms=evaluation.start_ms,
                end_ms=evaluation.end_ms,
                observed=evaluation.observed,
                measured=rule.kpi not in evaluation.unmeasured,
                connected=rule.kpi not in evaluation.unconnected,
            ),
            present=values is not None,
            had_value=scope in self._had_value[rule.name],
            campaign=self._campaign_of(scope.campaign),
            before=before,
            no_data_paused_ms=no_data_paused_ms,
        )

    @property
    def windows(self) -> frozenset[WindowName]:
        """The windows that rules are about."""
        return frozenset(rule.window for rule in self._rules.rules)

    def health(self, health: Health) -> bool:
        """Judge the rules about the data themselves; return whether an alert changed its state."""
        before = len(self._changes)
        if self._started_ms is None:
            self._started_ms = health.now_ms
        context = HealthContext(health, self._started_ms, self._lag_limit_s)
        for rule in HEALTH_RULES:
            self._record(rule.facts, ALL, rule.judge(context), at_ms=health.now_ms)
        if self.held_back:
            self._pause()
        return len(self._changes) > before

    def _record(self, facts: AlertFacts, scope: Scope, finding: Finding, *, at_ms: int) -> None:
        """Move the alert of a rule and scope by a finding."""
        key, verdict, ended = alert_id(facts.rule, scope), finding.verdict, finding.ended
        known = self._open.get(key)
        before, standing = (None, None) if known is None else known
        after = step(
            standing,
            verdict,
            at_ms=at_ms,
            for_ms=facts.for_ms,
            keep_firing_for_ms=facts.keep_firing_for_ms,
        )
        if after is None:
            if before is not None:
                del self._open[key]
                if verdict is Verdict.NO_JUDGEMENT:
                    ended = "not_judged"
                elif ended == "recovered":
                    ended = "not_long_enough"
                self._changes.append(_ended(before, ended, at_ms=at_ms))
            return
        if finding.no_data_since_ms is None:
            after = replace(after, no_data_paused_ms=0)
        alert = _described(facts, scope, finding, after, before=before, at_ms=at_ms)
        if after.state is AlertState.RESOLVED:
            alert = alert.model_copy(update={"ended": ended})
            self._open.pop(key, None)
            self._resolved = [*self._resolved, alert][-RESOLVED_KEPT:]
        else:
            self._open[key] = (alert, after)
        was_held = before is not None and before.held is not None
        if standing is None or standing.state is not after.state or was_held:
            self._changes.append(alert)

    @property
    def held_back(self) -> bool:
        """Whether a data-health alert fires that inhibits KPI rules."""
        return any(
            known is not None and known[0].state is AlertState.FIRING
            for known in map(self._open.get, _HOLDING_ALERTS)
        )

    def alerts(self) -> Sequence[Alert]:
        """Return open alerts, then those resolved lately, the newest first.

        Of the open ones, alerts about data health come first, then the most severe.
        """
        return [*self._shown(), *reversed(self._resolved)]

    def _shown(self) -> Iterator[Alert]:
        rank = {"critical": 0, "warning": 1, "info": 2}
        inhibited = self.held_back
        for alert, _ in sorted(
            self._open.values(),
            key=lambda item: (item[0].category == "kpi", rank[item[0].severity], item[0].id),
        ):
            yield alert.model_copy(update={"inhibited": inhibited and alert.category == "kpi"})

    def rule_statuses(self) -> Sequence[RuleStatus]:
        """Return the last verdicts of each rule, in the order of the rules."""
        statuses = tuple(self._status.values())
        if not self.held_back:
            return statuses
        return [not_judged(status, NotJudged.HELD_BACK) for status in statuses]

    def take_changes(self) -> Sequence[Alert]:
        """Return the alerts that changed since the last call.

        They became pending, firing or resolved, were corrected, held, or judged again. A pending
        alert that ended without firing is resolved, without `Alert.fired_at_ms`.
        """
        changes, self._changes = self._changes, []
        return changes

    def to_bytes(self) -> bytes:
        """Return all alerts, encoded to be saved."""
        rows = [
            _SavedAlert(
                alert,
                standing.held_since_ms,
                standing.paused_ms,
                standing.unjudged_since_ms,
                standing.no_data_paused_ms,
            )
            for alert, standing in self._open.values()
        ]
        rows += [_SavedAlert(alert) for alert in self._resolved]
        return _alerts.dump_json(rows)

    def restore(self, data: bytes) -> bool:
        """Restore saved alerts, and end those that are not about a rule as it is now.

        Returns:
            Whether one ended.
        """
        rules = {rule.name: rule for rule in self._rules.rules}
        healths = {rule.name for rule in HEALTH_RULES}
        for saved in _alerts.validate_json(data):
            rule = rules.get(saved.alert.rule)
            alert = saved.alert
            if alert.state is AlertState.RESOLVED:
                self._resolved.append(alert)
            elif (
                alert.rule in healths
                if alert.category == "data_health"
                else rule is not None and rule.is_about(alert)
            ):
                standing = Standing(
                    alert.state,
                    alert.active_since_ms,
                    alert.fired_at_ms,
                    saved.held_since_ms,
                    paused_ms=saved.paused_ms,
                    unjudged_since_ms=saved.unjudged_since_ms,
                    no_data_paused_ms=saved.no_data_paused_ms,
                )
                self._open[alert.id] = (alert, standing)
            else:
                why: Ended = "rule_removed" if rule is None else "rule_changed"
                over = _ended(alert, why, at_ms=alert.updated_ms)
                self._changes.append(over)
                if alert.state is AlertState.FIRING:
                    self._resolved.append(over)
        self._resolved = self._resolved[-RESOLVED_KEPT:]
        self._restore_status()
        return bool(self._changes)

    def _restore_status(self) -> None:
        """Take the last verdicts from the open alerts, until windows are judged again."""
        for rule in self._rules.rules:
            alerts = [one for one in self._open.values() if one[0].rule == rule.name]
            collector = StatusCollector(rule, self._catalogue[rule.kpi])
            collector.add(_alert_status(rule, *one, value=_value_of(one[0])) for one in alerts)
            judged_ms = max((alert.updated_ms for alert, _ in alerts), default=None)
            if judged_ms is not None:
                status = collector.status(judged_ms=judged_ms, before=None)
                self._status[rule.name] = not_judged(status, NotJudged.WAITING)


def _alert_status(
    rule: Rule, alert: Alert, standing: Standing, *, value: KpiValue | None
) -> ScopeStatus:
    """Return the verdict on the scope of an open alert."""
    if alert.state is AlertState.FIRING:
        return ScopeStatus(alert.scope, Why.FIRING, value, since_ms=alert.fired_at_ms)
    broken_ms = alert.updated_ms - standing.active_since_ms - standing.paused_ms
    left_ms = max(0, rule.for_s * 1000 - broken_ms)
    return ScopeStatus(
        alert.scope, Why.PENDING, value, since_ms=alert.active_since_ms, left_ms=left_ms
    )


def _value_of(alert: Alert) -> KpiValue | None:
    if alert.value is None:
        return None
    return KpiValue(alert.value, alert.low, alert.high, alert.n)


def _ended(alert: Alert, why: Ended, *, at_ms: int) -> Alert:
    return alert.model_copy(
        update={
            "state": AlertState.RESOLVED,
            "resolved_at_ms": at_ms,
            "updated_ms": at_ms,
            "ended": why,
            "held": None,
        }
    )


def _held(silences: Mapping[SourceKind, Silence]) -> Held:
    """Return why alerts are held: the first start of the silences, and the last end of all."""
    ends = [silence.until_ms for silence in silences.values()]
    return Held(
        sources=tuple(sorted(silences)),
        since_ms=min(silence.since_ms for silence in silences.values()),
        until_ms=None if None in ends else max(end for end in ends if end is not None),
    )


def _fired_value(
    standing: Standing, before: Alert | None, shown: KpiValue | None, *, at_ms: int
) -> float | None:
    """Return the value on which an alert fired; later values do not change it."""
    if standing.fired_at_ms == at_ms:
        return None if shown is None else float(shown.value)
    return None if before is None else before.fired_value


def _described(
    facts: AlertFacts,
    scope: Scope,
    finding: Finding,
    standing: Standing,
    *,
    before: Alert | None,
    at_ms: int,
) -> Alert:
    """Return an alert as a finding leaves it."""
    value, limit = finding.evidence
    return Alert(
        rule=facts.rule,
        category=facts.category,
        severity=facts.severity,
        state=standing.state,
        scope=scope,
        window=facts.window,
        kpi=facts.kpi,
        value=None if value is None else float(value.value),
        low=None if value is None else value.low,
        high=None if value is None else value.high,
        n=0 if value is None else value.n,
        threshold=limit,
        active_since_ms=standing.active_since_ms,
        fired_at_ms=standing.fired_at_ms,
        # An alert about no window has no value that late data may correct.
        fired_value=_fired_value(standing, before, value, at_ms=at_ms) if facts.window else None,
        correction=None if before is None else before.correction,
        resolved_at_ms=standing.resolved_at_ms,
        no_data_since_ms=finding.no_data_since_ms,
        updated_ms=at_ms,
        owner=facts.owner,
        summary_en=facts.summary_en,
        summary_zh=facts.summary_zh,
        meaning_en=facts.meaning_en,
        meaning_zh=facts.meaning_zh,
        next_step=facts.next_step,
        next_step_zh=facts.next_step_zh,
        runbook=facts.runbook,
    )
