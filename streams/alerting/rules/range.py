"""Rules of the kind ``range``: a value leaves the range between two limits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, model_validator

from models.kpi.definition import Kpi, KpiValue
from models.kpi.user_catalogue import catalogue_of
from models.rule_status import ScopeStatus, Why
from streams.alerting.rules.keys import Fraction, Limit
from streams.alerting.rules.limit import LimitRule, OneLimit, surely
from streams.alerting.rules.protocol import Verdict
from streams.alerting.rules.rule import Clauses, LeastN, SteadyRule
from streams.alerting.words import RuleText, Subject, amount


class RangeRule(LimitRule, SteadyRule):
    """Fires while a value is below ``low`` or above ``high``, and its n is at least ``min_n``.

    If the KPI has an interval, all of it must be outside of the range. A firing alert resolves once
    the value is back inside by ``hysteresis``, a fraction of the width of the range. An alert names
    the limit that is nearer to its value.

    Example: ``low: 0.02`` and ``high: 0.06`` with ``hysteresis: 0.1``. A value of 0.07 with the
    interval 0.065 to 0.075 fires, one with 0.055 to 0.085 does not. It resolves at 0.056 or less.
    """

    kind: Literal["range"]
    """``range``: a value leaves the range between two limits."""
    low: Limit
    """Lower limit of the range, in the unit of the KPI: ratios are fractions, money is in the
    reporting currency, times are in s."""
    high: Limit
    """Upper limit of the range, likewise."""
    hysteresis: Annotated[Fraction, Field(description="fraction of the width, below 0.5")] = 0.0
    """By which fraction of the range's width a value must be back inside for the alert to resolve;
    below 0.5."""

    @cached_property
    def sides(self) -> tuple[OneLimit, OneLimit]:
        """The lower and the upper limit, and the values at which a firing alert resolves."""
        margin = self.hysteresis * (self.high - self.low)
        return (
            OneLimit(
                key="low",
                limit=self.low,
                lower=True,
                back_at=self.low + margin,
                min_n=self.min_n,
            ),
            OneLimit(
                key="high",
                limit=self.high,
                lower=False,
                back_at=self.high - margin,
                min_n=self.min_n,
            ),
        )

    def _side_of(self, value: KpiValue) -> OneLimit:
        """Return the limit that a value is nearer to."""
        low, high = self.sides
        return low if value.value - self.low < self.high - value.value else high

    @model_validator(mode="after")
    def _is_a_range(self, info: ValidationInfo) -> RangeRule:
        if self.low >= self.high:
            raise ValueError("low: give a limit below high")
        if self.hysteresis >= 0.5:
            raise ValueError(
                "hysteresis: from half of the range on, no value would resolve the alert; give a "
                "smaller fraction"
            )
        kpi = catalogue_of(info)[self.kpi]
        for side in self.sides:
            side.refuse_growing(kpi, self.window)
            side.refuse_impossible(kpi)
        return self

    def compare(self, value: KpiValue | None) -> Verdict:
        """Compare a value with both limits: beyond one breaks the rule, inside of both holds it."""
        verdicts = {side.compare(value) for side in self.sides}
        for verdict in (Verdict.NO_JUDGEMENT, Verdict.BROKEN, Verdict.BETWEEN):
            if verdict in verdicts:
                return verdict
        return Verdict.HOLDS

    def limit_of(self, value: KpiValue | None) -> float:
        """Return the limit that a value is nearer to; the lower one without a value."""
        return self.low if value is None else self._side_of(value).limit

    def is_about_too_little(self, kpi: Kpi) -> bool:
        """Return whether the rule is broken by too few events: its KPI is a sum."""
        return kpi.additive

    def why_not(self, value: KpiValue) -> Why:
        """Return why a value is no reason to alert."""
        return self._side_of(value).why_not(value)

    def needed_n(self, kpi: Kpi, value: KpiValue, why: Why, *, least_n: int) -> int | None:
        """Return the smallest n with which the rule would be broken."""
        return self._side_of(value).needed_n(kpi, value, why, least_n=least_n)

    def least(self, kpi: Kpi) -> LeastN:
        """Return the smallest n with which any value breaks the rule."""
        side = min(self.sides, key=lambda one: one.least_n(kpi))
        least = side.least_n(kpi)
        if least == self.min_n:
            return LeastN(least, "min_n", "min_n")
        beyond = "below" if side.lower else "above"
        return LeastN(least, side.key, f"{beyond} {side.limit:g} with all of its 95 % interval")

    def distance(self, status: ScopeStatus) -> float | None:
        """Return the distance of a value from the nearer limit, as a share of this limit."""
        value = status.value
        return None if value is None else self._side_of(value).distance(value)

    def clauses(self, subject: Subject) -> Clauses:
        """Return what the rule does, in words."""
        kpi = subject.kpi
        low, high = self._limits(kpi, subject.currency)
        sure = surely(kpi)
        beyond = self.from_at_least(
            kpi,
            RuleText(
                f"{'surely ' if sure else ''}outside of {low.en} to {high.en}",
                f"{'确定' if sure else ''}超出 {low.zh} 至 {high.zh}",
            ),
        )
        back = [amount(side.back_at, kpi, currency=subject.currency) for side in self.sides]
        they = "they are" if subject.verb == "are" else "it is"
        return Clauses(
            subject.beyond(beyond),
            RuleText(
                f"resolves once {they} {back[0].en} to {back[1].en}",
                f"回到 {back[0].zh} 至 {back[1].zh} 以内",
            ),
            self.without_data(kpi),
        )

    def limit_text(self, kpi: Kpi, *, currency: str) -> RuleText:
        """Return the range with its unit, such as "outside of 1 % to 5 %"."""
        low, high = self._limits(kpi, currency)
        return RuleText(f"outside of {low.en} to {high.en}", f"超出 {low.zh} 至 {high.zh}")

    def warnings(self, kpi: Kpi) -> Iterator[tuple[str, str]]:
        """Yield the keys that are probably not meant so, each with a text."""
        yield from super().warnings(kpi)
        for side in self.sides:
            if percent := side.likely_percent(kpi):
                yield side.key, percent

    def _limits(self, kpi: Kpi, currency: str) -> Iterator[RuleText]:
        """Return the lower and the upper limit with their unit."""
        return (amount(side.limit, kpi, currency=currency) for side in self.sides)
