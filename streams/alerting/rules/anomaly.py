"""Rules of the kind ``anomaly``: a value is not what is usual at that time of the week."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from models.kpi.definition import Direction, Kpi, KpiValue
from models.kpi.formula import Newest
from models.kpi.user_catalogue import catalogue_of
from models.kpi.value_range import is_counted, is_share, range_of
from models.rule_status import ScopeStatus, Why
from models.usual import Usual
from models.window import WINDOWS, BusinessDay, WindowName
from streams.alerting.rules.keys import a_number
from streams.alerting.rules.protocol import Evidence, JudgeContext, Verdict
from streams.alerting.rules.rule import Clauses, Comparison, Rule
from streams.alerting.usual.detector import LEAST_EVENTS, SETTINGS, USUAL_AGAIN
from streams.alerting.usual.learned_series import Learner, Side
from streams.alerting.usual.rhythm import BandSettings
from streams.alerting.usual.value_scale import ScaleKind
from streams.alerting.words import RuleText, Subject

LEARNED_WINDOWS: Final[tuple[WindowName, ...]] = ("1m", "5m", "1h")
"""The windows in which rules can learn what is usual."""
_LENGTH_MS: Final = {window.name: window.length_ms for window in WINDOWS}
_SIDES: Final[dict[Side, RuleText]] = {
    "lower": RuleText("unusually low", "异常偏低"),
    "higher": RuleText("unusually high", "异常偏高"),
    "both": RuleText("unusually low or high", "异常偏低或偏高"),
}
_WORSE: Final[dict[Direction, Side]] = {"more": "lower", "less": "higher", "neither": "both"}


def _weeks(value: object) -> object:
    """Refuse a number of weeks that means nothing.

    Raises:
        ValueError: it is less than 1.
    """
    if a_number(value) < 1:
        raise ValueError("give a number of weeks, 1 or more: the higher, the rarer it fires")
    return value


def _share(value: object) -> object:
    """Refuse what is no share.

    Raises:
        ValueError: it is none.
    """
    if not 0 <= a_number(value) < 1:
        raise ValueError("give a share of the expected value from 0 to below 1, 0.1 for 10 %")
    return value


class AnomalyRule(Rule):
    """Fires while a value is not what is usual at that time of the day and the week.

    The rule learns each scope's values: their level, the shape of their day and week in local time,
    and how far they stray. It judges windows that do not overlap, such as each five minutes, by
    the windows before. Evidence adds up: several windows that are all a little low are unusual,
    too. Counts are judged with the noise of counts, shares with their n. Windows in which fewer
    than five events are expected (orders, of a conversion) are not judged: use a longer window.

    There is no judgement in the first five days of a scope, nor in the first hour (three
    windows at least) after a phase of its campaign begins or a change of it is reported: such
    shifts are expected, but not twice a day. Windows that were
    not observed whole teach nothing, nor do times in which the campaign does not run. During an
    alert the rule learns little. What lasts for three days is the new normal. Late data do not
    change what was learned.

    On special days of the calendar the band is wider by half. Public holidays are judged by what is
    usual on Sundays, weekend days that are worked by what is usual on Wednesdays.

    Example: a shop's conversion is 30 % in the evening, of 500 clicks in five minutes. A checkout
    that fails for one in six makes it 25 %. Each window alone might be chance, and four are not.
    """

    kind: Literal["anomaly"]
    """``anomaly``: a value is not what is usual at that time of the week."""
    direction: Literal["worse", "lower", "higher", "both"] = "worse"
    """The values that fire: lower ones, higher ones, both, or those that are worse for the KPI."""
    once_in_weeks: Annotated[
        float,
        BeforeValidator(_weeks),
        Field(allow_inf_nan=False, description="weeks, 1 or more"),
    ] = SETTINGS.weeks
    """Sensitivity: a scope without any fault fires about once in so many weeks, by chance. With 100
    scopes, 200 weeks are one such alert in two weeks.
    """
    least_change: Annotated[
        float,
        BeforeValidator(_share),
        Field(allow_inf_nan=False, description="share of the expected value, 0.1 for 10 %"),
    ] = SETTINGS.least_change
    """Change that matters: a smaller one does not fire, however certain it is."""
    window: WindowName = "5m"
    """Window whose values are judged, each time that a whole one is over: 1m, 5m or 1h."""

    @model_validator(mode="after")
    def _can_be_learned(self, info: ValidationInfo) -> AnomalyRule:
        if self.window not in LEARNED_WINDOWS:
            raise ValueError(
                f"window: what is usual is learned from windows that do not overlap; use one of "
                f"{', '.join(LEARNED_WINDOWS)}, or kind: change"
            )
        kpi = catalogue_of(info)[self.kpi]
        if kpi.looks_back:
            raise ValueError(
                f"kpi: {kpi.name} refers to an earlier period itself; use a KPI that does not"
            )
        return self

    def learner(self, kpi: Kpi) -> Learner:
        """Return how the rule learns: shares of a known n, and counts, as such."""
        scale: ScaleKind = "count" if is_counted(kpi) else "auto"
        if is_share(kpi) and kpi.has_n and range_of(kpi).low >= 0:
            scale = "proportion"
        return Learner(
            BandSettings(weeks=self.once_in_weeks, least_change=self.least_change),
            scale,
            side=self.side_of(kpi),
            rests_on_n=kpi.has_n and not isinstance(kpi.parsed, Newest),
        )

    @property
    def regular_ms(self) -> int:
        """The length of the window: that nothing came teaches something, too."""
        length_ms = _LENGTH_MS[self.window]
        assert length_ms is not None
        return length_ms

    def is_judged_at(self, end_ms: int, day: BusinessDay) -> bool:
        """Return whether a window ends then that does not overlap with the others."""
        del day
        return end_ms % self.regular_ms == 0

    def side_of(self, kpi: Kpi) -> Side:
        """Return the values that fire: ``worse`` ones are lower if more is better, else higher."""
        return _WORSE[kpi.direction] if self.direction == "worse" else self.direction

    def comparison(self, context: JudgeContext) -> Comparison | Why:
        """Return what compares a value with what is usual, or why that is not known."""
        usual = context.usual
        if usual is None:
            return Why.NOT_LEARNED
        if usual.learned < 1 or usual.settles:
            return Why.LEARNING
        if usual.too_few is not None:
            return Why.TOO_FEW
        return _Unusual(usual, self.side_of(context.kpi))

    def is_about_too_little(self, kpi: Kpi) -> bool:
        """Return whether the rule is broken by too few events: a sum is unusually low."""
        return kpi.additive and self.side_of(kpi) != "higher"

    def counts_nothing_as_0(self, kpi: Kpi) -> bool:
        """Return whether the value is 0 where nothing came of a sum that usually comes."""
        return self.is_about_too_little(kpi)

    def clauses(self, subject: Subject) -> Clauses:
        """Return what the rule does, in words."""
        side, weeks = _SIDES[self.side_of(subject.kpi)], f"{self.once_in_weeks:g}"
        least = RuleText("", "")
        if self.least_change:
            percent = f"{100 * self.least_change:g}"
            least = RuleText(f", by {percent} % or more", f"，偏离 {percent}% 以上")
        return Clauses(
            subject.beyond(
                RuleText(
                    f"{side.en} for the time of the week{least.en} (by chance about once in "
                    f"{weeks} weeks)",
                    f"相对一周中该时段{side.zh}{least.zh}（偶然误报约每 {weeks} 周一次）",
                )
            ),
            RuleText("resolves once it is usual again", "回到常态"),
            self.without_data(subject.kpi),
        )

    def limit_text(self, kpi: Kpi, *, currency: str) -> RuleText:
        """Return which values are unusual."""
        del currency
        return _SIDES[self.side_of(kpi)]

    def distance(self, status: ScopeStatus) -> float | None:
        """Return what the evidence lacks to be a reason to alert."""
        return None if status.usual is None else 1 - status.usual.score

    def status_text(self, status: ScopeStatus, kpi: Kpi) -> RuleText | None:
        """Return why a value is no reason to alert, in words."""
        del kpi
        usual = status.usual
        match status.why:
            case Why.LEARNING if usual is not None and usual.settles:
                return RuleText(
                    "no judgement yet: the campaign changed, and its level is learned anew",
                    "尚不能判断：活动刚有调整或进入新阶段，正在重新学习水平",
                )
            case Why.LEARNING if usual is not None:
                days = SETTINGS.learn_days
                known = f"{days * usual.learned:.1f}"
                return RuleText(
                    f"no judgement yet: {known} of {days:g} days learned",
                    f"尚不能判断：已学习 {known} 天，需 {days:g} 天",
                )
            case Why.TOO_FEW if usual is not None and usual.too_few is not None:
                few, least = f"{usual.too_few:.1f}", f"{LEAST_EVENTS:g}"
                return RuleText(
                    f"too few: {few} events expected in a window, {least} are needed; use a longer "
                    "window",
                    f"样本量不足：每个窗口预期 {few} 个事件，至少需 {least} 个；可改用更长的窗口",
                )
            case Why.WITHIN if usual is not None and usual.expected is not None:
                return _within(usual)
        return None

    def warnings(self, kpi: Kpi) -> Iterator[tuple[str, str]]:
        """Yield the keys that are probably not meant so, each with a text."""
        if self.window == "1m" and kpi.additive and self.once_in_weeks < 20:
            yield (
                "once_in_weeks",
                f"a scope without any fault fires once in {self.once_in_weeks:g} weeks; with 100 "
                f"scopes that is {100 / self.once_in_weeks:.0f} alerts a week",
            )


def _within(usual: Usual) -> RuleText:
    percent = f"{100 * usual.score:.0f}"
    special = RuleText("", "")
    if usual.widened_by:
        special = RuleText(
            f"; the band is wider: {usual.widened_by}", f"；特殊日，范围放宽：{usual.widened_by_zh}"
        )
    return RuleText(
        f"usual: {percent} % of what an alert needs{special.en}",
        f"正常：达到告警所需证据的 {percent}%{special.zh}",
    )


@dataclass(frozen=True, slots=True)
class _Unusual:
    """Compares a value with what is usual.

    Args:
        usual: what is usual, and how unusual the value is.
        side: which values fire.
    """

    usual: Usual
    side: Side

    def compare(self, value: KpiValue | None) -> Verdict:
        """Return the verdict on the value that was observed."""
        if value is None:
            return Verdict.NO_JUDGEMENT
        if self.usual.expected is None:  # The window was not observed: it changes nothing.
            return Verdict.BETWEEN
        score = self.usual.score
        if score >= 1:
            return Verdict.BROKEN
        return Verdict.HOLDS if score < USUAL_AGAIN else Verdict.BETWEEN

    def evidence(self, value: KpiValue | None) -> Evidence:
        """Return a value with the end of the band that it is compared with.

        Windows that are unusual together have no limit: each may be inside the band.
        """
        usual = self.usual
        if usual.windows > 1:
            return Evidence(value, None, usual=usual)
        below = self.side == "lower" or (self.side == "both" and usual.side < 0)
        return Evidence(value, usual.low if below else usual.high, usual=usual)

    def why_not(self, value: KpiValue) -> Why:
        """Return why a value is no reason to alert."""
        del value
        return Why.WITHIN
