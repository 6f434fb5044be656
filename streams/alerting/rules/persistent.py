"""Rules of the kind ``persistent``: a value is beyond a limit in several of the last windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, model_validator

from models.kpi.definition import Kpi, KpiValue
from models.kpi.user_catalogue import catalogue_of
from models.rule_status import ScopeStatus, Why
from models.window import HOUR_MS, QUARTER_MS, BusinessDay, WindowName
from streams.alerting.rules.keys import Limit
from streams.alerting.rules.limit import LimitRule, OneLimit, surely
from streams.alerting.rules.protocol import Earlier, Evidence, JudgeContext, Verdict
from streams.alerting.rules.rule import Clauses, Comparison
from streams.alerting.words import RuleText, Subject, amount

MOST_WINDOWS: Final[dict[WindowName, int]] = {"1h": 72, "day": 31}
"""The windows that can be counted, and how many of the last ones."""
_WHOLE: Final[dict[WindowName, RuleText]] = {
    "1h": RuleText("whole hours", "个整点小时"),
    "day": RuleText("whole business days", "个完整业务日"),
}
Count = Annotated[int, Field(ge=1, strict=True, description="whole number of windows")]


class PersistentRule(LimitRule):
    """Fires while a value is below or above a limit in at least some of the last whole windows.

    It is judged when an hour or a business day is over, by the values of that one and of those
    before it, as they are known now, late data included. If the KPI has an interval, all of it must
    be beyond the limit for a window to count. A window without a value, with one from fewer than
    ``min_n``, or in which the campaign did not run does not count. There is no judgement while so
    many of the windows were not observed whole that it depends on them.

    Example: ``below: 0.05`` with ``at_least: 5`` and ``of_last: 7`` on the window ``day``. A return
    on investment of 2, 4, 9, 3, 1, 8 and 4 % in the last seven days is below 5 % on five of them,
    and fires. A single bad day does not.
    """

    kind: Literal["persistent"]
    """``persistent``: a value is beyond a limit in several of the last windows."""
    below: Limit | None = None
    """Limit below which the value of a window counts, in the unit of the KPI. Give either this or
    ``above``.
    """
    above: Limit | None = None
    """Limit above which it counts, likewise."""
    at_least: Count
    """The number of windows that must be beyond the limit."""
    of_last: Count
    """The number of last windows that are looked at: up to 72 hours or 31 business days."""
    window: WindowName = "day"
    """Windows that are counted: 1h, from whole hour to whole hour, or day, which is a business day.
    """

    @cached_property
    def one_limit(self) -> OneLimit:
        """The limit of each window."""
        lower = self.below is not None
        limit = self.below if self.below is not None else self.above
        assert limit is not None
        key = "below" if lower else "above"
        return OneLimit(key=key, limit=limit, lower=lower, back_at=limit, min_n=self.min_n)

    @model_validator(mode="after")
    def _counts_windows(self) -> PersistentRule:
        if (self.below is None) == (self.above is None):
            raise ValueError("below: give exactly one of below and above")
        most = MOST_WINDOWS.get(self.window)
        if most is None:
            raise ValueError("window: whole hours or business days are counted; use 1h or day")
        if not 2 <= self.of_last <= most:
            raise ValueError(
                f"of_last: give 2 to {most} windows of {self.window}; for one window use kind: "
                "threshold"
            )
        if self.at_least > self.of_last:
            raise ValueError(
                f"at_least: {self.at_least} of the last {self.of_last} windows can't be; give "
                f"{self.of_last} or fewer"
            )
        if self.for_s:
            raise ValueError("for: at_least and of_last say for how long; leave it out")
        return self

    @model_validator(mode="after")
    def _limit_can_be_crossed(self, info: ValidationInfo) -> PersistentRule:
        kpi = catalogue_of(info)[self.kpi]
        if kpi.looks_back or kpi.figures:
            raise ValueError(
                f"kpi: {kpi.name} rests on more than the hour or day itself; use a KPI that does "
                "not, or kind: threshold"
            )
        self.one_limit.refuse_impossible(kpi)
        return self

    @property
    def windows_before(self) -> int:
        """The number of windows before the one that is judged."""
        return self.of_last - 1

    @property
    def regular_ms(self) -> int:
        """An interval at which the windows end: business days end with a quarter of an hour."""
        return QUARTER_MS if self.window == "day" else HOUR_MS

    def is_judged_at(self, end_ms: int, day: BusinessDay) -> bool:
        """Return whether a whole hour or a business day ends then."""
        if self.window == "day":
            return day.start_of(end_ms) == end_ms
        return end_ms % HOUR_MS == 0

    def comparison(self, context: JudgeContext) -> Comparison:
        """Return what counts the windows that are beyond the limit."""
        broken = unknown = 0
        for one in context.past:
            if one is None:
                unknown += 1
            elif self._counts(one, context):
                broken += 1
        return _Counted(self, broken, unknown)

    def _counts(self, one: Earlier, context: JudgeContext) -> bool:
        """Return whether a window before is beyond the limit."""
        campaign = context.campaign
        if campaign is not None and not campaign.runs(one.start_ms, one.end_ms):
            return False
        return self.one_limit.compare(one.value) is Verdict.BROKEN

    def is_about_too_little(self, kpi: Kpi) -> bool:
        """Return whether too few events break the rule: it has a lower limit of a sum."""
        return self.one_limit.is_about_too_little(kpi)

    def clauses(self, subject: Subject) -> Clauses:
        """Return what the rule does, in words."""
        kpi = subject.kpi
        limit = self.limit_text(kpi, currency=subject.currency)
        sure = surely(kpi)
        beyond = self.from_at_least(
            kpi,
            RuleText(
                f"{'surely ' if sure else ''}{limit.en}", f"{'确定' if sure else ''}{limit.zh}"
            ),
        )
        whole = _WHOLE[self.window]
        return Clauses(
            RuleText(
                f"{subject.title}{subject.scopes.en} {subject.verb} {beyond.en} in at least "
                f"{self.at_least} of the last {self.of_last} {whole.en}",
                f"{subject.scopes.zh}最近 {self.of_last} {whole.zh}中至少 {self.at_least} 个的"
                f"{kpi.title_zh}{beyond.zh}",
            ),
            RuleText("resolves once it is in fewer", "超限窗口少于该数"),
            self.without_data(kpi),
        )

    def limit_text(self, kpi: Kpi, *, currency: str) -> RuleText:
        """Return the limit of each window with its unit, such as "below 5 %"."""
        limit = amount(self.one_limit.limit, kpi, currency=currency)
        side = RuleText("below", "低于") if self.one_limit.lower else RuleText("above", "高于")
        return RuleText(f"{side.en} {limit.en}", f"{side.zh} {limit.zh}")

    def status_text(self, status: ScopeStatus, kpi: Kpi) -> RuleText | None:
        """Return how many windows are beyond the limit, in words."""
        if status.why is not Why.WITHIN or status.windows_broken is None:
            return super().status_text(status, kpi)
        broken, least = status.windows_broken, self.at_least
        return RuleText(
            f"{broken} of the last {self.of_last}; fires from {least} on",
            f"最近 {self.of_last} 个窗口中有 {broken} 个超限；{least} 个起触发",
        )

    def distance(self, status: ScopeStatus) -> float | None:
        """Return how many more windows it takes, as a share of those that it takes."""
        if status.windows_broken is None:
            return None
        return 1 - status.windows_broken / self.at_least

    def warnings(self, kpi: Kpi) -> Iterator[tuple[str, str]]:
        """Yield the keys that are probably not meant so, each with a text."""
        if percent := self.one_limit.likely_percent(kpi):
            yield self.one_limit.key, percent
        yield from super().warnings(kpi)


@dataclass(frozen=True, slots=True)
class _Counted:
    """Counts the windows that are beyond the limit.

    Args:
        rule: the rule.
        broken: the number of windows before that are.
        unknown: the number of those that are not known whole.
    """

    rule: PersistentRule
    broken: int
    unknown: int

    def compare(self, value: KpiValue | None) -> Verdict:
        """Return the verdict on the last windows, of which one has this value."""
        broken = self._with(value)
        if broken >= self.rule.at_least:
            return Verdict.BROKEN
        sure = broken + self.unknown < self.rule.at_least
        return Verdict.HOLDS if sure else Verdict.NO_JUDGEMENT

    def _with(self, value: KpiValue | None) -> int:
        return self.broken + (self.rule.one_limit.compare(value) is Verdict.BROKEN)

    def evidence(self, value: KpiValue | None) -> Evidence:
        """Return the value of the last window, the limit, and how many windows are beyond it."""
        return Evidence(value, self.rule.one_limit.limit, windows_broken=self._with(value))

    def why_not(self, value: KpiValue) -> Why:
        """Return why the windows are no reason to alert."""
        known = self.compare(value) is not Verdict.NO_JUDGEMENT
        return Why.WITHIN if known else Why.NO_EARLIER
