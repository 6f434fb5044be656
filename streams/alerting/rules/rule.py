"""Rules on KPIs: what a kind says, and what is the same for all kinds.

`Rule.judge` decides what is the same for all kinds: whether the window was observed, whether the
campaign runs, what becomes of an alert without data. A kind compares values (`SteadyRule.compare`,
or `Rule.comparison` if its limit follows from an earlier value) and describes itself in words.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple, Protocol

from models.campaigns.campaign import Campaign
from models.kpi.definition import Kpi, KpiValue
from models.rule_status import ScopeStatus, Why
from models.scope import Scope
from models.window import DAY_MS, SECOND_MS, BusinessDay, Reference
from streams.alerting.rules.keys import NoData, RuleKeys
from streams.alerting.rules.protocol import (
    AlertFacts,
    Coverage,
    Evidence,
    Finding,
    JudgeContext,
    KnownScopes,
    Verdict,
)
from streams.alerting.usual.learned_series import Learner
from streams.alerting.words import RuleText, Subject

NO_DATA_KEPT_MS = DAY_MS
"""Event time for which an alert without data stays as it is."""


_WITHOUT_DATA: Final[dict[NoData, RuleText]] = {
    "keep": RuleText(
        "without data it stays as it is for up to a day", "无数据时告警最多保持 1 天不变"
    ),
    "resolve": RuleText("resolves without data", "无数据时恢复"),
    "fire": RuleText("fires without data, too", "无数据时同样触发"),
}
_NOTHING_IS_ZERO: Final = RuleText("nothing at all counts as 0", "没有任何事件时按 0 计")


class LeastN(NamedTuple):
    """The smallest n with which any value breaks a rule, and what demands it.

    Args:
        n: the smallest n.
        key: the key of the rule that demands it.
        why: what the key asks for, in words.
    """

    n: int = 0
    key: str = ""
    why: str = ""


class Clauses(NamedTuple):
    """The parts of a rule's sentence that its kind says, in both languages.

    Args:
        fires: when it fires, from "fires when" on, with scopes, window and duration.
        resolves: when it resolves, without ``keep_firing_for``.
        no_data: what becomes of it without data.
    """

    fires: RuleText
    resolves: RuleText
    no_data: tuple[RuleText, ...] = ()


class Comparison(Protocol):
    """Compares values with the limits of a rule in one scope and window."""

    def compare(self, value: KpiValue | None) -> Verdict:
        """Return the verdict on a value, in the unit of the rule; None if the KPI is absent."""

    def evidence(self, value: KpiValue | None) -> Evidence:
        """Return a value with the limit that alerts name beside it, in the unit of the KPI."""

    def why_not(self, value: KpiValue) -> Why:
        """Return why a value is no reason to alert."""


class Rule(RuleKeys):
    """A rule on a KPI. Each kind of rule is a subclass.

    A kind must say what compares values and how it reads in words. It may say more, such as from
    which n on it can fire; what it leaves out does not apply to it.
    """

    @property
    def reference(self) -> Reference | None:
        """The earlier period whose values the rule needs; None for none."""
        return None

    def learner(self, kpi: Kpi) -> Learner | None:
        """Return how the rule learns what is usual, to be given it as `JudgeContext.usual`.

        None if it learns nothing. A rule that learns judges windows that do not overlap.
        """
        del kpi
        return None

    def is_judged_at(self, end_ms: int, day: BusinessDay) -> bool:
        """Return whether the rule judges the window that ends then.

        Args:
            end_ms: the end of the window, event time in ms.
            day: the business day.
        """
        del end_ms, day
        return True

    @property
    def regular_ms(self) -> int | None:
        """The interval of ends that are closed for the rule also if nothing came, in ms.

        None if the rule needs only the ends at which its window changes.
        """
        return None

    @property
    def windows_before(self) -> int:
        """The number of whole windows before, whose values the rule needs."""
        return 0

    @property
    def peer_min_n(self) -> int | None:
        """The smallest n of the peers that the rule compares with; None if it needs no peers."""
        return None

    @abstractmethod
    def comparison(self, context: JudgeContext) -> Comparison | Why:
        """Return what compares the value of a context, or why its limit is not known."""

    @abstractmethod
    def is_about_too_little(self, kpi: Kpi) -> bool:
        """Return whether the rule is broken by too few events, or by none.

        Such a rule is not judged if only a part of the window was observed, and holds for a
        campaign that does not run in all of it.
        """

    @abstractmethod
    def clauses(self, subject: Subject) -> Clauses:
        """Return what the rule does, in words.

        Args:
            subject: its KPI, scopes, window and duration, in words.
        """

    @abstractmethod
    def limit_text(self, kpi: Kpi, *, currency: str) -> RuleText:
        """Return the limit with its unit, such as "below 1 %"."""

    def without_data(self, kpi: Kpi) -> tuple[RuleText, ...]:
        """Return what becomes of an alert without data, in words."""
        no_data = _WITHOUT_DATA[self.no_data]
        if not self.counts_nothing_as_0(kpi) or kpi.looks_back:
            return (no_data,)
        return (_NOTHING_IS_ZERO, *([] if self.no_data == "keep" else [no_data]))

    def counts_nothing_as_0(self, kpi: Kpi) -> bool:
        """Return whether the value is 0 where nothing came and something was expected."""
        del kpi
        return False

    def needed_n(self, kpi: Kpi, value: KpiValue, why: Why, *, least_n: int) -> int | None:
        """Return the smallest n with which the rule would be broken.

        Args:
            kpi: the definition of its KPI.
            value: a value that is no reason to alert.
            why: why it is none.
            least_n: the n of `least`.

        Returns:
            None if n is large enough, or does not matter.
        """
        del kpi, value, why, least_n
        return None

    def least(self, kpi: Kpi) -> LeastN:
        """Return the smallest n with which any value breaks the rule."""
        del kpi
        return LeastN()

    def distance(self, status: ScopeStatus) -> float | None:
        """Return how far a value within the limit is from it; None if there is no distance."""
        del status
        return None

    def status_text(self, status: ScopeStatus, kpi: Kpi) -> RuleText | None:
        """Return why a value is no reason to alert, in words; None for the words of all kinds."""
        del status, kpi
        return None

    def warnings(self, kpi: Kpi) -> Iterator[tuple[str, str]]:
        """Yield the keys that are probably not meant so, each with a text."""
        del kpi
        yield from ()

    def why_never_judged(self, scope: Scope, campaign: Campaign) -> str:
        """Return why a scope is not judged while its campaign is defined so; empty if it is."""
        del scope, campaign
        return ""

    def facts(self, meaning: RuleText) -> AlertFacts:
        """Return what all alerts of the rule have in common.

        Args:
            meaning: the sentence of the rule.
        """
        return AlertFacts(
            rule=self.name,
            severity=self.severity,
            window=self.window,
            kpi=self.kpi,
            for_ms=self.for_s * SECOND_MS,
            keep_firing_for_ms=self.keep_firing_for_s * SECOND_MS,
            owner=self.owner,
            summary_en=self.summary_en or meaning.en,
            summary_zh=self.summary_zh or meaning.zh,
            meaning_en=meaning.en,
            meaning_zh=meaning.zh,
            next_step=self.next_step,
            next_step_zh=self.next_step_zh,
            runbook=self.runbook,
        )

    def scopes(self, kpi: Kpi, known: KnownScopes) -> Iterator[Scope]:
        """Yield the scopes that the rule may be about, those that do not match among them.

        Scopes with an open alert are judged also if they had no event on that business day. So
        are, by a rule that is broken by no events, those that it names and those that had a value.
        """
        yield from known.present
        awaited = chain(known.with_alert)
        if self.no_data == "fire" or self.is_about_too_little(kpi):
            awaited = chain(known.with_alert, self.match.named(self.scope), known.had_value)
        yielded = set()
        for scope in awaited:
            if scope not in known.in_window and scope not in yielded:
                yielded.add(scope)
                yield scope

    def judge(self, context: JudgeContext) -> Finding:
        """Judge the value of one scope in a closed window.

        A KPI is absent in a scope whose inputs did not come that day. By a rule about too few
        events its value is 0 there, as nothing came, if something is expected: in a scope that the
        rule names, that has an open alert, or that had a value when the rule was judged last. A
        KPI that was not measured in all of the window, or of which an input never came anywhere,
        has no value.
        """
        value, coverage, campaign = context.value, context.coverage, context.campaign
        compared = self.comparison(context)
        known = not isinstance(compared, Why)
        comparison = _UnknownLimit(compared) if isinstance(compared, Why) else compared
        verdict = comparison.compare(value)
        unjudgeable = verdict is Verdict.NO_JUDGEMENT
        doubtful = (
            not context.present
            or self.is_about_too_little(context.kpi)
            or (unjudgeable and self.no_data == "fire" and known)
        )
        if (
            doubtful
            and campaign is not None
            and not campaign.runs(coverage.start_ms, coverage.end_ms)
        ):
            evidence = comparison.evidence(value)
            return Finding(Verdict.HOLDS, evidence, Why.CAMPAIGN_OFF, "campaign_over")
        if doubtful and not coverage.observed:
            # Only a part of this window was observed, so a low count proves nothing.
            evidence = comparison.evidence(value)
            return Finding(Verdict.NO_JUDGEMENT, evidence, Why.NOT_OBSERVED)
        if not unjudgeable and (coverage.measured or value is not None):
            return _found(comparison, verdict, value, coverage)
        return self._without_data(context, comparison, known=known)

    def _without_data(
        self, context: JudgeContext, comparison: Comparison, *, known: bool
    ) -> Finding:
        """Return the finding on a scope without a verdict.

        Its value is absent, rests on too few events, or there is nothing to compare it with.
        """
        value, coverage, before = context.value, context.coverage, context.before
        since_ms = coverage.end_ms
        if before is not None and before.no_data_since_ms is not None:
            since_ms = before.no_data_since_ms
        for_long = coverage.end_ms - since_ms - context.no_data_paused_ms >= NO_DATA_KEPT_MS
        if known and self._nothing_came(context):
            # Of a scope that nobody has defined, nothing may come for ever.
            expected = (
                context.present or context.campaign is not None or self.match.names(context.scope)
            )
            if expected or not for_long:
                nothing = KpiValue(0)
                verdict = comparison.compare(nothing)
                return _found(comparison, verdict, nothing, coverage, since_ms)
        if known and self.no_data == "fire" and coverage.measured:
            return _found(comparison, Verdict.BROKEN, value, coverage, since_ms)
        if self.no_data == "resolve" or for_long:
            found = _found(comparison, Verdict.HOLDS, value, coverage, since_ms)
            return found._replace(ended="no_data")
        return _found(comparison, Verdict.NO_JUDGEMENT, value, coverage, since_ms)

    def _nothing_came(self, context: JudgeContext) -> bool:
        """Return whether nothing came of what the rule counts, although it was expected."""
        return (
            context.value is None
            and context.coverage.measured
            and context.coverage.connected
            and not context.kpi.looks_back
            and self.counts_nothing_as_0(context.kpi)
            and (context.before is not None or context.had_value or self.match.names(context.scope))
        )


class _UnknownLimit:
    """Stands for the comparison of a rule whose limit is not known.

    Args:
        why: why it is not known.
    """

    def __init__(self, why: Why) -> None:
        self._why = why

    def compare(self, value: KpiValue | None) -> Verdict:
        """Return that there is no judgement."""
        del value
        return Verdict.NO_JUDGEMENT

    def evidence(self, value: KpiValue | None) -> Evidence:
        """Return a value without a limit."""
        return Evidence(value, None)

    def why_not(self, value: KpiValue) -> Why:
        """Return why the limit is not known."""
        del value
        return self._why


class SteadyRule(Rule):
    """A rule whose limits do not change: it compares values itself."""

    @abstractmethod
    def compare(self, value: KpiValue | None) -> Verdict:
        """Return the verdict on a value, in the unit of the rule; None if the KPI is absent."""

    @abstractmethod
    def limit_of(self, value: KpiValue | None) -> float:
        """Return the limit that alerts name beside a value, in the unit of the KPI."""

    def comparison(self, context: JudgeContext) -> Comparison:
        """Return the rule."""
        del context
        return self

    def evidence(self, value: KpiValue | None) -> Evidence:
        """Return a value with the limit that alerts name beside it."""
        return Evidence(value, self.limit_of(value))

    def why_not(self, value: KpiValue) -> Why:
        """Return why a value is no reason to alert."""
        del value
        return Why.WITHIN


def _why_absent(coverage: Coverage) -> Why:
    """Return why a KPI has no value."""
    if not coverage.measured:
        return Why.NOT_MEASURED
    return Why.NO_VALUE if coverage.connected else Why.NO_INPUT


def _found(
    comparison: Comparison,
    verdict: Verdict,
    value: KpiValue | None,
    coverage: Coverage,
    no_data_since_ms: int | None = None,
) -> Finding:
    """Return the finding on a value, and why it is no reason to alert."""
    why = None
    if verdict is not Verdict.BROKEN:
        why = _why_absent(coverage) if value is None else comparison.why_not(value)
    return Finding(verdict, comparison.evidence(value), why, no_data_since_ms=no_data_since_ms)
