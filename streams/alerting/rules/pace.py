"""Rules of the kind ``pace``: a campaign is off its plan, or its budget ends before it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from models.campaigns.campaign import Campaign, Elapsed, milliseconds
from models.kpi.definition import Kpi, KpiValue
from models.kpi.formula import Quotient
from models.kpi.user_catalogue import catalogue_of
from models.rule_status import Why
from models.scope import Scope, ScopeKind, parts_of
from models.window import SECOND_MS, SO_FAR, WindowName
from streams.alerting.rules.keys import Fraction, Limit, Seconds, Share
from streams.alerting.rules.limit import LIKELY_RATIO, LimitRule, OneLimit, in_percent
from streams.alerting.rules.protocol import Evidence, Finding, JudgeContext, Verdict
from streams.alerting.rules.rule import Clauses, Comparison
from streams.alerting.words import NO_TEXT, RuleText, Subject, amount, duration

BUDGET_PACE: Final = "budget_pace"
"""The KPI that compares the spend of a campaign with the part of its budget that is due."""


def _above_0(value: float) -> float:
    """Refuse a target of 0 or less.

    Raises:
        ValueError: it is one.
    """
    if value <= 0:
        raise ValueError("give a number above 0")
    return value


class PaceRule(LimitRule):
    """Fires while a campaign is off its plan, or its budget will be exhausted before its end.

    The plan of a budget is spread evenly from the campaign's start to its planned end, as in the
    KPI ``budget_pace``, which is 1 on plan. With ``target``, a sum such as all orders of the
    campaign is compared with the part of the target that is due in the same way. With
    ``exhausts_early_by``, the rule is about the moment at which the budget will be exhausted at the
    average pace to date. The alert names this moment.

    The rule holds while the campaign does not run. There is no judgement of a campaign without a
    planned start and end or without a budget, of a channel without a budget of its own, and before
    ``judged_from`` of the campaign's run has passed.

    Example: a campaign of 10 days has a budget of 1,000. After 4 days 400 are due. A spend of 500
    is a pace of 1.25: it breaks ``ahead_by: 0.2``. At this pace, the budget is exhausted 8 days
    after the start, which breaks ``exhausts_early_by: 86400``, as it is more than a day before
    the end.
    """

    kind: Literal["pace"]
    """``pace``: a campaign is off its plan, or its budget will be exhausted before its end."""
    kpi: Annotated[str, Field(description="name of a KPI")] = BUDGET_PACE
    """Name of a KPI over the budget that is due; with ``target``, of a sum, such as ``orders``."""
    behind_by: Share | None = None
    """Share of the plan to date by which a value must be lower, below 1. Give this, ``ahead_by``
    or both; or ``exhausts_early_by``.
    """
    ahead_by: Share | None = None
    """Share of the plan to date by which a value must be higher."""
    target: Annotated[Limit, AfterValidator(_above_0)] | None = None
    """Planned value of the KPI at the campaign's end, in the unit of the KPI."""
    exhausts_early_by: Seconds | None = None
    """The rule is broken if the budget will be exhausted, at the pace to date, by more than this
    time before the campaign's planned end; 0 is any time before it.
    """
    judged_from: Annotated[Fraction, Field(description="fraction of the campaign's run")] = 0.1
    """Fraction of the campaign's run that must have passed for the rule to be judged: at first
    little is due, and spend is reported in large parts.
    """
    scope: ScopeKind = "campaign"
    """Kind of scope: ``campaign`` or ``campaign_channel``; ``campaign_region`` with ``target``."""
    window: WindowName = SO_FAR
    """Window whose values are judged, each time that it closes: ``so_far``, as a plan is of the
    whole campaign.
    """

    @model_validator(mode="after")
    def _one_question(self) -> PaceRule:
        off_plan = self.behind_by is not None or self.ahead_by is not None
        if off_plan == (self.exhausts_early_by is not None):
            raise ValueError(
                "behind_by: give behind_by, ahead_by or both; or exhausts_early_by, in a rule of "
                "its own"
            )
        for key, share in (("behind_by", self.behind_by), ("ahead_by", self.ahead_by)):
            if share == 0:
                raise ValueError(f"{key}: 0 is any difference; give a share, such as 0.2 for 20 %")
        if self.behind_by is not None and self.behind_by >= 1:
            raise ValueError(
                "behind_by: a value that is behind by all of its plan is 0; give a share below 1, "
                "such as 0.2 for 20 %"
            )
        return self

    @model_validator(mode="after")
    def _has_a_plan(self, info: ValidationInfo) -> PaceRule:
        kpi = catalogue_of(info)[self.kpi]
        if self.exhausts_early_by is not None:
            self._refuse_other_exhaustion()
        elif self.target is None and not _is_of_budget_due(kpi):
            raise ValueError(
                f"kpi: {kpi.name} is not compared with the budget that is due; use {BUDGET_PACE}, "
                "or give the target of a sum, such as orders"
            )
        elif self.target is not None:
            self._refuse_other_targets(kpi)
        return self

    def _refuse_other_exhaustion(self) -> None:
        """Refuse keys that do not fit the exhaustion of a budget.

        Raises:
            ValueError: there is one.
        """
        if self.target is not None:
            raise ValueError("target: a target is not exhausted; leave it out")
        if self.kpi != BUDGET_PACE:
            raise ValueError(f"kpi: {BUDGET_PACE} tells when a budget is exhausted; leave kpi out")
        if self.scope != "campaign":
            raise ValueError(
                "scope: when a budget is exhausted is known of whole campaigns only; use scope: "
                "campaign"
            )

    def _refuse_other_targets(self, kpi: Kpi) -> None:
        """Refuse a target of what is no sum of a whole campaign.

        Raises:
            ValueError: it is one.
        """
        if not kpi.additive:
            raise ValueError(
                f"target: {kpi.name} is no sum that grows with the campaign; use kind: threshold"
            )
        if "campaign" not in parts_of(self.scope):
            raise ValueError("scope: a plan is of a campaign; use scope: campaign")
        if self.window != SO_FAR:
            raise ValueError(f"window: a plan is of the whole campaign; use window: {SO_FAR}")

    def judge(self, context: JudgeContext) -> Finding:
        """Judge a campaign; the rule holds while it does not run."""
        campaign, coverage = context.campaign, context.coverage
        if campaign is not None and not campaign.runs(coverage.start_ms, coverage.end_ms):
            evidence = Evidence(context.value, None)
            return Finding(Verdict.HOLDS, evidence, Why.CAMPAIGN_OFF, "campaign_over")
        found = super().judge(context)
        if context.value is not None or found.why is None:
            return found
        # Without a plan, the KPI has no value for that reason.
        lacking = self._elapsed(context)
        return found._replace(why=lacking) if isinstance(lacking, Why) else found

    def comparison(self, context: JudgeContext) -> Comparison | Why:
        """Return what compares a value with the plan, or why there is no plan."""
        elapsed = self._elapsed(context)
        if isinstance(elapsed, Why):
            return elapsed
        if self.exhausts_early_by is not None:
            return self._exhaustion(context, elapsed, early_ms=self.exhausts_early_by * SECOND_MS)
        plan = 1.0
        if self.target is not None:
            plan = self.target * elapsed.so_far_ms / elapsed.whole_ms
        sides = []
        if self.behind_by is not None:
            sides.append(self._side("behind_by", plan * (1 - self.behind_by), lower=True))
        if self.ahead_by is not None:
            sides.append(self._side("ahead_by", plan * (1 + self.ahead_by), lower=False))
        return _OffPlan(sides)

    def _side(self, key: str, limit: float, *, lower: bool) -> OneLimit:
        return OneLimit(key=key, limit=limit, lower=lower, back_at=limit, min_n=self.min_n)

    def why_never_judged(self, scope: Scope, campaign: Campaign) -> str:
        """Return what the campaign lacks to have a plan; empty if it has one."""
        if campaign.starts is None or campaign.ends is None:
            return f"campaign {campaign.id} has no planned start and end"
        budget = campaign.budget
        if self.target is None and (budget is None or budget.part_of(scope.channel) is None):
            return f"{scope} has no budget"
        return ""

    def _elapsed(self, context: JudgeContext) -> Elapsed | Why:
        """Return how much of the campaign's run has passed, or why the plan to date is unknown."""
        campaign = context.campaign
        elapsed = None if campaign is None else campaign.elapsed(context.coverage.end_ms)
        if campaign is None or elapsed is None or self.why_never_judged(context.scope, campaign):
            return Why.NO_PLAN
        if elapsed.so_far_ms < self.judged_from * elapsed.whole_ms:
            return Why.TOO_EARLY
        return elapsed

    def _exhaustion(self, context: JudgeContext, elapsed: Elapsed, *, early_ms: int) -> Comparison:
        assert context.campaign is not None
        assert context.campaign.ends is not None
        # At a pace of p the budget lasts for 1 / p of the run.
        lasting_ms = elapsed.whole_ms - early_ms
        return _Exhaustion(
            exhausted_ms=context.exhausted_ms,
            in_time_ms=milliseconds(context.campaign.ends) - early_ms,
            limit=elapsed.whole_ms / lasting_ms if lasting_ms > 0 else None,
            min_n=self.min_n,
        )

    def is_about_too_little(self, kpi: Kpi) -> bool:
        """Return whether too few events break the rule: it is about being behind the plan."""
        del kpi
        return self.behind_by is not None

    def needed_n(self, kpi: Kpi, value: KpiValue, why: Why, *, least_n: int) -> int | None:
        """Return ``min_n`` of a value that rests on fewer."""
        del kpi, value, least_n
        return self.min_n if why is Why.TOO_FEW else None

    def clauses(self, subject: Subject) -> Clauses:
        """Return what the rule does, in words."""
        kpi = subject.kpi
        if self.exhausts_early_by is not None:
            return Clauses(
                self._exhausts(subject),
                RuleText("resolves once it is projected to last longer", "预算预计不再过早耗尽"),
                self.without_data(kpi),
            )
        off_plan, planned = self._off_plan, NO_TEXT
        if self.target is not None:
            target = amount(self.target, kpi, currency=subject.currency)
            planned = RuleText(
                f", which is {target.en} by the campaign's end",
                f"（计划在活动结束时达到 {target.zh}）",
            )
        beyond = RuleText(f"{off_plan.en}{planned.en}", f"{off_plan.zh}{planned.zh}")
        return Clauses(
            subject.beyond(self.from_at_least(kpi, beyond)),
            RuleText("resolves once it is off by less", "偏差回到限度以内"),
            self.without_data(kpi),
        )

    def limit_text(self, kpi: Kpi, *, currency: str) -> RuleText:
        """Return the limit, such as "more than 20 % behind the plan to date"."""
        del kpi, currency
        if self.exhausts_early_by is None:
            return self._off_plan
        early = self._early
        return RuleText(f"exhausted {early.en}", f"{early.zh}耗尽")

    def warnings(self, kpi: Kpi) -> Iterator[tuple[str, str]]:
        """Yield the keys that are probably not meant so, each with a text."""
        yield from super().warnings(kpi)
        if self.ahead_by is not None and self.ahead_by >= LIKELY_RATIO:
            yield "ahead_by", in_percent(self.ahead_by)

    @property
    def _off_plan(self) -> RuleText:
        sides = [
            RuleText(f"more than {100 * share:g} % {en}", f"{zh}计划进度 {100 * share:g}% 以上")
            for share, en, zh in (
                (self.behind_by, "behind", "落后于"),
                (self.ahead_by, "ahead of", "超前于"),
            )
            if share is not None
        ]
        return RuleText(
            f"{' or '.join(side.en for side in sides)} the plan to date",
            "或".join(side.zh for side in sides),
        )

    @property
    def _early(self) -> RuleText:
        if not self.exhausts_early_by:
            return RuleText("before the planned end", "在计划结束前")
        early = duration(self.exhausts_early_by)
        return RuleText(
            f"more than {early.en} before the planned end", f"在计划结束前 {early.zh}以上"
        )

    def _exhausts(self, subject: Subject) -> RuleText:
        early = self.from_at_least(subject.kpi, self._early)
        scopes = subject.scopes.zh.removesuffix("在")
        return RuleText(
            f"the budget{subject.scopes.en} will be exhausted {early.en}, at the pace to date"
            f"{subject.lasting.en}",
            f"{scopes}的预算按当前进度将{early.zh}耗尽{subject.lasting.zh}",
        )


@dataclass(frozen=True, slots=True)
class _OffPlan:
    """Compares a value with the plan to date.

    Args:
        sides: the lower limit, the upper limit, or both.
    """

    sides: Sequence[OneLimit]

    def compare(self, value: KpiValue | None) -> Verdict:
        """Compare a value with the limit that is nearer to it."""
        return self._side_of(value).compare(value)

    def evidence(self, value: KpiValue | None) -> Evidence:
        """Return a value with the limit that is nearer to it."""
        return Evidence(value, self._side_of(value).limit)

    def why_not(self, value: KpiValue) -> Why:
        """Return why a value is no reason to alert."""
        return self._side_of(value).why_not(value)

    def _side_of(self, value: KpiValue | None) -> OneLimit:
        if value is None:
            return self.sides[0]
        return min(self.sides, key=lambda side: abs(value.value - side.limit))


@dataclass(frozen=True, slots=True)
class _Exhaustion:
    """Compares the moment at which a budget will be exhausted with the end of its campaign.

    Args:
        exhausted_ms: the moment, event time in ms; None if nothing was spent.
        in_time_ms: the moment from which on it is no reason to alert, event time in ms.
        limit: the pace at which it is exhausted just then; None if it lasts so long at any pace.
        min_n: smallest n of a value that is judged.
    """

    exhausted_ms: int | None
    in_time_ms: int
    limit: float | None
    min_n: int

    def compare(self, value: KpiValue | None) -> Verdict:
        """Return whether the budget will be exhausted too early."""
        if value is None or value.n < self.min_n:
            return Verdict.NO_JUDGEMENT
        early = self.exhausted_ms is not None and self.exhausted_ms < self.in_time_ms
        return Verdict.BROKEN if early else Verdict.HOLDS

    def evidence(self, value: KpiValue | None) -> Evidence:
        """Return the pace with its limit, and the moment."""
        return Evidence(value, self.limit, exhausted_ms=self.exhausted_ms)

    def why_not(self, value: KpiValue) -> Why:
        """Return why a value is no reason to alert."""
        return Why.TOO_FEW if value.n < self.min_n else Why.WITHIN


def _is_of_budget_due(kpi: Kpi) -> bool:
    """Return whether a KPI is a quotient by the part of the budget that is due."""
    formula = kpi.parsed
    return (
        isinstance(formula, Quotient)
        and formula.under == ((1, "budget_due"),)
        and formula.times == 1
    )
