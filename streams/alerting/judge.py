"""Judges windows and the health of the data, and keeps one alert for each rule and scope.

Alerts are part of the saved state, so they survive restarts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from pydantic import TypeAdapter

from models.alerts import (
    AbsenceRule,
    Alert,
    AlertState,
    AnyRule,
    Correction,
    Ended,
    Held,
    RuleBook,
    ThresholdRule,
    alert_id,
)
from models.campaigns.campaign import Campaign
from models.events import SourceKind
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import Catalogue, KpiValue
from models.rule_status import NotJudged, RuleStatus, ScopeStatus, Why
from models.scope import ALL, Scope, ScopeKind
from models.window import DAY_MS, ShownWindow, WindowName
from streams.alerting.health import HEALTH_RULES, HOLDING, HealthRule
from streams.alerting.health import judge as judge_health
from streams.alerting.machine import Standing, pause, resumed, step
from streams.alerting.required_n import is_beyond, least_n, required_n
from streams.alerting.rule_status import StatusCollector, not_judged
from streams.alerting.rule_text import explain
from streams.alerting.verdicts import Verdict, absence, threshold
from streams.engine.steps import Steps, in_groups
from streams.kpis.view import Evaluation, Health, Silence

RESOLVED_KEPT = 20
"""Number of resolved alerts that stay in view."""
SCOPES_A_STEP = 100
"""Scopes that one rule judges in one step, 1 to 2 ms."""
NO_DATA_KEPT_MS = DAY_MS
"""Event time for which an alert without data stays as it is."""
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


class _Judgement(NamedTuple):
    """A verdict, the value that it is about, since when there is none, and why an alert ends.

    ``why`` is why there is no reason to alert, if the value does not tell.
    """

    verdict: Verdict
    value: KpiValue | None
    no_data_since_ms: int | None = None
    ended: Ended = "recovered"
    why: Why | None = None


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
        self._rules_about: dict[ShownWindow, list[AnyRule]] = {}
        for rule in rules.rules:
            self._rules_about.setdefault(rule.window, []).append(rule)
        self._campaign_of = campaign_of
        self._catalogue = catalogue
        self._lag_limit_s = lag_limit_s
        self._meaning = {
            rule.name: explain(rule, catalogue[rule.kpi], currency=currency) for rule in rules.rules
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
                least_n=least_n(rule, catalogue[rule.kpi]),
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
                    value = evaluation.values.get(scope, {}).get(rule.kpi)
                    judgement = self._judge(rule, scope, value, evaluation)
                    judged.append(self._scope_status(rule, scope, judgement, evaluation))
                    if value is not None:
                        have_value.add(scope)
                collector.add(judged)
                yield
            self._status[rule.name] = collector.status(
                judged_ms=evaluation.end_ms, before=self._status[rule.name]
            )
            if self._about_too_little(rule):
                self._had_value[rule.name] = have_value

    def _not_judged(self, rule: AnyRule, why: NotJudged, *, held: Held | None = None) -> None:
        self._status[rule.name] = not_judged(self._status[rule.name], why, held=held)

    def _scope_status(
        self, rule: AnyRule, scope: Scope, judgement: _Judgement, evaluation: Evaluation
    ) -> ScopeStatus:
        """Return why a rule fires in a scope now, or does not."""
        value = judgement.value
        known = self._open.get(alert_id(rule.name, scope))
        if known is not None:
            return _alert_status(rule, *known, value=value)
        kpi = self._catalogue[rule.kpi]
        if judgement.why is not None:
            return ScopeStatus(scope, judgement.why, value)
        if value is None:
            why = Why.NO_VALUE
            if rule.kpi in evaluation.unmeasured:
                why = Why.NOT_MEASURED
            elif rule.kpi in evaluation.unconnected:
                why = Why.NO_INPUT
            return ScopeStatus(scope, why)
        if not isinstance(rule, ThresholdRule):
            return ScopeStatus(scope, Why.WITHIN, value)
        needed = required_n(rule, kpi, value)
        if value.n < rule.min_n:
            return ScopeStatus(scope, Why.TOO_FEW, value, needed or rule.min_n)
        if is_beyond(rule, value):
            return ScopeStatus(scope, Why.NOT_SIGNIFICANT, value, needed)
        least = self._status[rule.name].least_n
        return ScopeStatus(scope, Why.WITHIN, value, least if value.n < least else None)

    def _forget_pending(self, rule: AnyRule, *, at_ms: int) -> None:
        """Drop a rule's pending alerts, so that ``for`` begins again after an incomplete window."""
        for key, (alert, _) in list(self._open.items()):
            if alert.rule == rule.name and alert.state is AlertState.PENDING:
                del self._open[key]
                self._changes.append(_ended(alert, "not_judged", at_ms=at_ms))
                if self._about_too_little(rule):
                    self._had_value[rule.name].add(alert.scope)

    def _hold(self, rule: AnyRule, held: Held) -> None:
        """Mark a rule's open alerts as held, and stop their clocks at their last verdict."""
        self._pause(rule)
        for key, (alert, standing) in list(self._open.items()):
            if alert.rule == rule.name and alert.held != held:
                marked = alert.model_copy(update={"held": held})
                self._changes.append(marked)
                self._open[key] = (marked, standing)

    def _pause(self, rule: AnyRule | None = None) -> None:
        """Stop the clocks of a rule's open alerts, or of all, at their last verdict."""
        for key, (alert, standing) in self._open.items():
            of_rule = alert.category == "kpi" if rule is None else alert.rule == rule.name
            if of_rule:
                self._open[key] = (alert, pause(standing, judged_ms=alert.updated_ms))

    def _scopes(
        self, rule: AnyRule, evaluation: Evaluation, of_its_kind: Iterable[Scope]
    ) -> Iterable[Scope]:
        """Return the scopes that a rule may be about, those that do not match among them."""
        if isinstance(rule, AbsenceRule):
            return rule.match.named(rule.scope)
        # These are judged also if they had no event on that business day.
        awaited = [alert.scope for alert, _ in self._open.values() if alert.rule == rule.name]
        if rule.no_data == "fire" or self._about_too_little(rule):
            awaited += [*rule.match.named(rule.scope), *self._had_value[rule.name]]
        gone = (scope for scope in dict.fromkeys(awaited) if scope not in evaluation.values)
        return chain(of_its_kind, gone)

    def _about_too_little(self, rule: AnyRule) -> bool:
        """Return whether a rule is broken by too few events, or by none."""
        return isinstance(rule, AbsenceRule) or (
            rule.below is not None and self._catalogue[rule.kpi].additive
        )

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
            judgement = self._judgement(
                rule,
                evaluation.values.get(alert.scope, {}).get(rule.kpi),
                alert,
                alert.scope,
                evaluation,
            )
            shown = judgement.value
            value = None if shown is None else float(shown.value)
            if value == (alert.correction.value if alert.correction else alert.fired_value):
                continue
            correction = Correction(
                value=value,
                n=0 if shown is None else shown.n,
                holds=_HOLDS[judgement.verdict],
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

    def _judge(
        self, rule: AnyRule, scope: Scope, value: KpiValue | None, evaluation: Evaluation
    ) -> _Judgement:
        at_ms = evaluation.end_ms
        meaning = self._meaning[rule.name]
        key = alert_id(rule.name, scope)
        before, paused_ms = None, 0
        if key in self._open:
            before, standing = self._open[key]
            paused_ms = resumed(standing, at_ms=at_ms).no_data_paused_ms
        judgement = self._judgement(
            rule, value, before, scope, evaluation, no_data_paused_ms=paused_ms
        )
        value = judgement.value

        def describe(standing: Standing) -> Alert:
            return Alert(
                rule=rule.name,
                severity=rule.severity,
                state=standing.state,
                scope=scope,
                window=rule.window,
                kpi=rule.kpi,
                value=None if value is None else float(value.value),
                low=None if value is None else value.low,
                high=None if value is None else value.high,
                n=0 if value is None else value.n,
                threshold=0.0 if isinstance(rule, AbsenceRule) else rule.limit,
                active_since_ms=standing.active_since_ms,
                fired_at_ms=standing.fired_at_ms,
                fired_value=_fired_value(standing, before, value, at_ms=at_ms),
                correction=None if before is None else before.correction,
                resolved_at_ms=standing.resolved_at_ms,
                no_data_since_ms=judgement.no_data_since_ms,
                updated_ms=at_ms,
                owner=rule.owner,
                summary_en=rule.summary_en or meaning.en,
                summary_zh=rule.summary_zh or meaning.zh,
                meaning_en=meaning.en,
                meaning_zh=meaning.zh,
                next_step=rule.next_step,
                next_step_zh=rule.next_step_zh,
                runbook=rule.runbook,
            )

        self._move(
            key,
            judgement.verdict,
            at_ms=at_ms,
            for_ms=rule.for_s * 1000,
            keep_firing_for_ms=rule.keep_firing_for_s * 1000,
            describe=describe,
            ended=judgement.ended,
            has_data=judgement.no_data_since_ms is None,
        )
        return judgement

    def _judgement(
        self,
        rule: AnyRule,
        shown: KpiValue | None,
        before: Alert | None,
        scope: Scope,
        evaluation: Evaluation,
        *,
        no_data_paused_ms: int = 0,
    ) -> _Judgement:
        """Judge a value by a rule.

        A KPI is absent in a scope whose inputs did not come that day. By a rule about too few
        events its value is 0 there, as nothing came, if something is expected: in a scope that the
        rule names, that has an open alert, or that had a value when the rule was judged last. A
        KPI that was not measured in all of the window, or of which an input never came anywhere,
        has no value.

        Args:
            rule: the rule.
            shown: the value; None if the KPI is absent.
            before: the alert of the rule and scope, if there is one.
            scope: the scope of the value.
            evaluation: the closed window.
            no_data_paused_ms: the time without verdicts since ``before`` has no data.
        """
        about_too_little = self._about_too_little(rule)
        gone = scope not in evaluation.values
        verdict = absence(shown) if isinstance(rule, AbsenceRule) else threshold(rule, shown)
        unjudgeable = verdict is Verdict.NO_JUDGEMENT
        doubtful = about_too_little or gone or (unjudgeable and rule.no_data == "fire")
        campaign = self._campaign_of(scope.campaign)
        if (
            doubtful
            and campaign is not None
            and not campaign.runs(evaluation.start_ms, evaluation.end_ms)
        ):
            return _Judgement(Verdict.HOLDS, shown, ended="campaign_over", why=Why.CAMPAIGN_OFF)
        if doubtful and not evaluation.observed:
            # Only a part of this window was observed, so a low count proves nothing.
            return _Judgement(Verdict.NO_JUDGEMENT, shown, why=Why.NOT_OBSERVED)
        measured = rule.kpi not in evaluation.unmeasured
        if not unjudgeable and (measured or shown is not None):
            return _Judgement(verdict, shown)
        since_ms = evaluation.end_ms
        if before is not None and before.no_data_since_ms is not None:
            since_ms = before.no_data_since_ms
        for_long = evaluation.end_ms - since_ms - no_data_paused_ms >= NO_DATA_KEPT_MS
        named = rule.match.names(scope)
        nothing_came = (
            shown is None
            and measured
            and rule.kpi not in evaluation.unconnected
            and not self._catalogue[rule.kpi].looks_back
            and (named or before is not None or scope in self._had_value[rule.name])
        )
        if isinstance(rule, ThresholdRule) and about_too_little and nothing_came:
            # Of a scope that nobody has defined, nothing may come for ever.
            expected = not gone or campaign is not None or named
            if not rule.min_n and (expected or not for_long):
                return _Judgement(threshold(rule, KpiValue(0)), KpiValue(0), since_ms)
        if rule.no_data == "fire" and measured:
            return _Judgement(Verdict.BROKEN, shown, since_ms)
        if rule.no_data == "resolve" or for_long:
            return _Judgement(Verdict.HOLDS, shown, since_ms, "no_data")
        return _Judgement(Verdict.NO_JUDGEMENT, shown, since_ms)

    @property
    def windows(self) -> frozenset[WindowName]:
        """The windows that rules are about."""
        return frozenset(rule.window for rule in self._rules.rules)

    def health(self, health: Health) -> bool:
        """Judge the rules about the data themselves; return whether an alert changed its state."""
        before = len(self._changes)
        if self._started_ms is None:
            self._started_ms = health.now_ms
        for rule in HEALTH_RULES:
            verdict, value, limit = judge_health(
                rule, health, started_ms=self._started_ms, lag_limit_s=self._lag_limit_s
            )
            self._move(
                alert_id(rule.name, ALL),
                verdict,
                at_ms=health.now_ms,
                for_ms=rule.for_ms,
                keep_firing_for_ms=rule.keep_firing_for_ms,
                describe=_describe_health(rule, value=value, limit=limit, now_ms=health.now_ms),
            )
        if self.held_back:
            self._pause()
        return len(self._changes) > before

    def _move(
        self,
        key: str,
        verdict: Verdict,
        *,
        at_ms: int,
        for_ms: int,
        keep_firing_for_ms: int,
        describe: Callable[[Standing], Alert],
        ended: Ended = "recovered",
        has_data: bool = True,
    ) -> None:
        known = self._open.get(key)
        before = None if known is None else known[1]
        after = step(
            before, verdict, at_ms=at_ms, for_ms=for_ms, keep_firing_for_ms=keep_firing_for_ms
        )
        if after is None:
            if known is not None:
                del self._open[key]
                if verdict is Verdict.NO_JUDGEMENT:
                    ended = "not_judged"
                elif ended == "recovered":
                    ended = "not_long_enough"
                self._changes.append(_ended(known[0], ended, at_ms=at_ms))
            return
        if has_data:
            after = replace(after, no_data_paused_ms=0)
        alert = describe(after)
        if after.state is AlertState.RESOLVED:
            alert = alert.model_copy(update={"ended": ended})
            self._open.pop(key, None)
            self._resolved = [*self._resolved, alert][-RESOLVED_KEPT:]
        else:
            self._open[key] = (alert, after)
        was_held = known is not None and known[0].held is not None
        if before is None or before.state is not after.state or was_held:
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
    rule: AnyRule, alert: Alert, standing: Standing, *, value: KpiValue | None
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


def _describe_health(
    rule: HealthRule, *, value: float | None, limit: float, now_ms: int
) -> Callable[[Standing], Alert]:
    def describe(standing: Standing) -> Alert:
        return Alert(
            rule=rule.name,
            category="data_health",
            severity=rule.severity,
            state=standing.state,
            scope=ALL,
            value=value,
            threshold=limit,
            active_since_ms=standing.active_since_ms,
            fired_at_ms=standing.fired_at_ms,
            resolved_at_ms=standing.resolved_at_ms,
            updated_ms=now_ms,
            summary_en=rule.summary_en,
            summary_zh=rule.summary_zh,
            next_step=rule.next_step,
            next_step_zh=rule.next_step_zh,
        )

    return describe
