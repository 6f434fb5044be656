"""Rules of the kind ``threshold``: a value is beyond a limit."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Final, Literal

from pydantic import ValidationInfo, model_validator

from models.kpi.definition import Kpi, KpiValue
from models.kpi.formula import Growth, Newest, Quantile
from models.kpi.user_catalogue import catalogue_of
from models.kpi.value_range import is_share, range_of
from models.rule_status import ScopeStatus, Why
from models.window import GROWING, SO_FAR
from streams.alerting.rules.keys import Fraction, LeastCount, Limit, NoData
from streams.alerting.rules.protocol import Verdict
from streams.alerting.rules.required_n import is_beyond, least_n, required_n
from streams.alerting.rules.rule import Clauses, LeastN, Rule
from streams.alerting.words import (
    RuleText,
    Subject,
    amount,
    counted,
    needed_text,
    rounded,
    spaced,
)

LIKELY_RATIO: Final = 5
"""A limit of a ratio from here on is probably meant in percent: 5 is 500 %. Of a share, any above
1 is."""
_WITHOUT_DATA: Final[dict[NoData, RuleText]] = {
    "keep": RuleText(
        "without data it stays as it is for up to a day", "无数据时告警最多保持 1 天不变"
    ),
    "resolve": RuleText("resolves without data", "无数据时恢复"),
    "fire": RuleText("fires without data, too", "无数据时同样触发"),
}
_NOTHING_IS_ZERO: Final = RuleText("nothing at all counts as 0", "没有任何事件时按 0 计")


class ThresholdRule(Rule):
    """Fires while a value is below or above a limit and its n is at least ``min_n``.

    If the KPI has an interval, all of it must be beyond the limit. A firing alert resolves once the
    value is back inside the limit by ``hysteresis``, a fraction of the limit.

    Example: ``below: 0.02`` with ``hysteresis: 0.1``. A value of 0.015 with the interval 0.011 to
    0.019 fires, one with 0.012 to 0.022 does not. It resolves at 0.022 or more.
    """

    kind: Literal["threshold"]
    """``threshold``: a value is beyond a limit."""
    below: Limit | None = None
    """Limit below which a value breaks the rule, in the unit of the KPI: ratios are fractions,
    money is in the reporting currency, times are in s. If the KPI has a confidence interval, all of
    it must be below. Give either this or ``above``.
    """
    above: Limit | None = None
    """Limit above which a value breaks the rule, likewise."""
    min_n: LeastCount = 0
    """Smallest number of events or users that a value must rest on to be judged."""
    hysteresis: Fraction = 0.0
    """By which fraction of the limit a value must be back inside of it for the alert to resolve."""

    @property
    def side(self) -> Literal["below", "above"]:
        """The key that has the limit."""
        return "above" if self.below is None else "below"

    @property
    def limit(self) -> float:
        """The limit, of whichever side."""
        limit = self.above if self.below is None else self.below
        assert limit is not None
        return limit

    @property
    def back_at(self) -> float:
        """The value at which a firing alert resolves."""
        margin = self.hysteresis * abs(self.limit)
        return self.limit - margin if self.below is None else self.limit + margin

    @model_validator(mode="after")
    def _one_limit(self) -> ThresholdRule:
        if (self.below is None) == (self.above is None):
            raise ValueError("below: give exactly one of below and above")
        return self

    @model_validator(mode="after")
    def _is_no_limit_to_grow_past(self, info: ValidationInfo) -> ThresholdRule:
        kpi = catalogue_of(info)[self.kpi]
        if self.below is None or self.below <= 0 or self.window not in GROWING:
            return self
        if self.window == SO_FAR and kpi.volume:
            raise ValueError(
                f"window: {self.kpi} of all time only grows, so it would be below the limit at "
                "first and never again; use a window of a fixed length, such as 24h"
            )
        if self.window != SO_FAR and kpi.additive:
            raise ValueError(
                f"window: {self.kpi} of {self.window} loses a day at midnight and grows, so it "
                "would be below the limit every night; use a window of a fixed length, such as 24h"
            )
        return self

    @model_validator(mode="after")
    def _limit_can_be_crossed(self, info: ValidationInfo) -> ThresholdRule:
        _refuse_limit(self, catalogue_of(info)[self.kpi])
        return self

    @model_validator(mode="after")
    def _resolves(self, info: ValidationInfo) -> ThresholdRule:
        if not self.hysteresis:
            return self
        if not self.limit:
            raise ValueError("hysteresis: of the limit 0 every fraction is 0; leave it out")
        possible = range_of(catalogue_of(info)[self.kpi])
        if not possible.low <= self.back_at <= possible.high:
            raise ValueError(
                f"hysteresis: the alert would resolve at {self.back_at:g}, and {self.kpi} is "
                f"{possible}; give a smaller fraction"
            )
        return self

    @model_validator(mode="after")
    def _n_can_be_too_small(self, info: ValidationInfo) -> ThresholdRule:
        kpi = catalogue_of(info)[self.kpi]
        if self.min_n and isinstance(kpi.parsed, Newest | Growth):
            raise ValueError(
                f"min_n: {kpi.name} rests on one measurement, and so has no n; leave it out"
            )
        if self.min_n and not kpi.has_n:
            raise ValueError(
                f"min_n: the n of {kpi.name} is its value, which the limit is about; leave it out"
            )
        return self

    def compare(self, value: KpiValue | None) -> Verdict:
        """Compare a value with the limit.

        A value with an interval breaks the rule only if the whole interval is beyond the limit.
        The rule holds once the value itself is back at `back_at`.

        Args:
            value: the value in the unit of the rule; None if the KPI is absent.
        """
        if value is None or value.n < self.min_n:
            return Verdict.NO_JUDGEMENT
        if self.below is not None:
            edge = value.value if value.high is None else value.high
            if edge < self.below:
                return Verdict.BROKEN
            cleared = value.value >= self.back_at
        else:
            edge = value.value if value.low is None else value.low
            if edge > self.limit:
                return Verdict.BROKEN
            cleared = value.value <= self.back_at
        return Verdict.HOLDS if cleared else Verdict.BETWEEN

    @property
    def compared_with(self) -> float:
        """The limit that alerts name, in the unit of the KPI."""
        return self.limit

    def is_about_too_little(self, kpi: Kpi) -> bool:
        """Return whether the rule is broken by too few events: it has a lower limit of a sum."""
        return self.below is not None and kpi.additive

    def counts_nothing_as_0(self, kpi: Kpi) -> bool:
        """Return whether the value is 0 where nothing came and something was expected."""
        return self.is_about_too_little(kpi) and not self.min_n

    def why_not(self, value: KpiValue) -> Why:
        """Return why a value is no reason to alert."""
        if value.n < self.min_n:
            return Why.TOO_FEW
        return Why.NOT_SIGNIFICANT if is_beyond(self, value) else Why.WITHIN

    def needed_n(self, kpi: Kpi, value: KpiValue, why: Why, *, least_n: int) -> int | None:
        """Return the smallest n with which the rule would be broken."""
        match why:
            case Why.TOO_FEW:
                return required_n(self, kpi, value) or self.min_n
            case Why.NOT_SIGNIFICANT:
                return required_n(self, kpi, value)
            case Why.WITHIN if value.n < least_n:
                return least_n
        return None

    def least(self, kpi: Kpi) -> LeastN:
        """Return the smallest n with which any value breaks the rule."""
        least = least_n(self, kpi)
        if least == self.min_n:
            return LeastN(least, "min_n", "min_n")
        why = f"{self.side} {self.limit:g} with all of its 95 % interval"
        return LeastN(least, self.side, why)

    def distance(self, value: KpiValue) -> float | None:
        """Return the distance of a value from the limit, as a share of the limit."""
        distance = abs(value.value - self.limit)
        return distance / abs(self.limit) if self.limit else (distance or inf)

    def clauses(self, subject: Subject) -> Clauses:
        """Return what the rule does, in words."""
        kpi, beyond = subject.kpi, self._beyond(subject)
        fires = RuleText(
            f"{subject.title}{subject.scopes.en} over {subject.window.en} {subject.verb} "
            f"{beyond.en}{subject.lasting.en}",
            f"{subject.scopes.zh}{subject.window.zh}的{kpi.title_zh}"
            + spaced(beyond.zh + subject.lasting.zh),
        )
        no_data = [_WITHOUT_DATA[self.no_data]]
        if self.counts_nothing_as_0(kpi) and not kpi.looks_back:
            no_data = [_NOTHING_IS_ZERO, *(no_data if self.no_data != "keep" else [])]
        return Clauses(fires, self._back(subject), tuple(no_data))

    def limit_text(self, kpi: Kpi, *, currency: str) -> RuleText:
        """Return the limit with its unit, such as "below 1 %"."""
        limit = amount(self.limit, kpi, currency=currency)
        if self.below is not None:
            return RuleText(f"below {limit.en}", f"低于 {limit.zh}")
        return RuleText(f"above {limit.en}", f"高于 {limit.zh}")

    def status_text(self, status: ScopeStatus, kpi: Kpi) -> RuleText | None:
        """Return why a value is no reason to alert, in words.

        Example:
            A conversion of 0 % from 6 clicks, with ``below: 0.01``: "not significant; some 380
            clicks without orders would be needed".
        """
        match status.why:
            case Why.NOT_SIGNIFICANT:
                en, zh = needed_text(status.value, status.required_n or 0, kpi)
                return RuleText(f"not significant; {en}", f"不显著；{zh}")
            case Why.TOO_FEW:
                return self._too_few(status, kpi)
            case Why.WITHIN if status.required_n:
                some = rounded(status.required_n)
                return RuleText(
                    f"within the limit; below some {some} {counted(kpi)} it can't fire",
                    f"未超限；样本量不足约 {some} 时不会触发",
                )
            case Why.WITHIN:
                return RuleText("within the limit", "未超限")
        return None

    def warnings(self, kpi: Kpi) -> Iterator[tuple[str, str]]:
        """Yield the keys that are probably not meant so, each with a text."""
        limit = self.limit
        likely = limit > 1 if is_share(kpi) else abs(limit) >= LIKELY_RATIO
        if kpi.shown_unit == "ratio" and likely:
            yield self.side, f"{limit:g} is {100 * limit:,g} %; {limit:g} % is {limit / 100:g}"
        if self.is_about_too_little(kpi) and self.min_n:
            yield (
                "min_n",
                f"{kpi.name} from fewer than {self.min_n:,} is not judged, so the rule is silent "
                "when least comes; leave min_n out to hear of it",
            )
        if self.below is None and kpi.volume and range_of(kpi).low == 0 and self.window == SO_FAR:
            yield "window", f"{kpi.name} of all time only grows, so the alert never resolves"

    def _beyond(self, subject: Subject) -> RuleText:
        kpi = subject.kpi
        limit = amount(self.limit, kpi, currency=subject.currency)
        surely = kpi.interval != "none" or isinstance(kpi.parsed, Quantile)
        below = self.below is not None
        en = f"{'surely ' if surely else ''}{self.side} {limit.en}"
        zh = f"{'确定' if surely else ''}{'低于' if below else '高于'} {limit.zh}"
        if self.min_n:
            en += f" (from at least {self.min_n:,} {counted(kpi)})"
            zh += f"（样本量至少 {self.min_n:,}）"
        return RuleText(en, zh)

    def _back(self, subject: Subject) -> RuleText:
        edge = amount(self.back_at, subject.kpi, currency=subject.currency)
        they = "they are" if subject.verb == "are" else "it is"
        if self.below is not None:
            return RuleText(
                f"resolves once {they} {edge.en} or more", f"回到 {spaced(edge.zh)}或以上"
            )
        return RuleText(f"resolves once {they} {edge.en} or less", f"回到 {spaced(edge.zh)}或以下")

    def _too_few(self, status: ScopeStatus, kpi: Kpi) -> RuleText:
        n = 0 if status.value is None else status.value.n
        few = RuleText(
            f"too few: {n:,} of at least {self.min_n:,} {counted(kpi)}",
            f"样本量不足：{n:,}，至少需 {self.min_n:,}",
        )
        if (status.required_n or 0) <= self.min_n:
            return few
        en, zh = needed_text(status.value, status.required_n or 0, kpi)
        return RuleText(f"{few.en}; {en}", f"{few.zh}；{zh}")


def _refuse_limit(rule: ThresholdRule, kpi: Kpi) -> None:
    """Refuse a limit that no value can be beyond, or that every value is beyond.

    Raises:
        ValueError: it is such a limit.
    """
    key, limit = rule.side, rule.limit
    possible = range_of(kpi)
    if is_share(kpi) and limit > possible.high:
        raise ValueError(
            f"{key}: {kpi.name} is a share, and {limit:g} is {100 * limit:g} %; give a fraction, "
            f"such as {limit / 100:g} for {limit:g} %"
        )
    never = limit <= possible.low if key == "below" else limit >= possible.high
    always = limit > possible.high if key == "below" else limit < possible.low
    if never or always:
        what = "never" if never else "always"
        higher = (key == "below") is never
        raise ValueError(
            f"{key}: {kpi.name} is {possible}, {what} {key} {limit:g}, and the rule would {what} "
            f"fire; give a {'higher' if higher else 'lower'} limit"
        )
