"""Rules of the kind ``threshold``: a value is beyond a limit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Literal

from pydantic import ValidationInfo, model_validator

from models.kpi.definition import Kpi, KpiValue
from models.kpi.user_catalogue import catalogue_of
from models.kpi.value_range import range_of
from models.rule_status import ScopeStatus, Why
from models.window import SO_FAR
from streams.alerting.rules.keys import Fraction, Limit
from streams.alerting.rules.limit import LimitRule, OneLimit, surely
from streams.alerting.rules.protocol import Verdict
from streams.alerting.rules.rule import Clauses, LeastN, SteadyRule
from streams.alerting.words import (
    RuleText,
    Subject,
    amount,
    spaced,
)


class ThresholdRule(LimitRule, SteadyRule):
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

    @cached_property
    def one_limit(self) -> OneLimit:
        """The limit, and the value at which a firing alert resolves."""
        lower, margin = self.below is not None, self.hysteresis * abs(self.limit)
        back_at = self.limit + margin if lower else self.limit - margin
        return OneLimit(
            key=self.side, limit=self.limit, lower=lower, back_at=back_at, min_n=self.min_n
        )

    @model_validator(mode="after")
    def _one_limit(self) -> ThresholdRule:
        if (self.below is None) == (self.above is None):
            raise ValueError("below: give exactly one of below and above")
        return self

    @model_validator(mode="after")
    def _limit_can_be_crossed(self, info: ValidationInfo) -> ThresholdRule:
        kpi = catalogue_of(info)[self.kpi]
        self.one_limit.refuse_growing(kpi, self.window)
        self.one_limit.refuse_impossible(kpi)
        return self

    @model_validator(mode="after")
    def _resolves(self, info: ValidationInfo) -> ThresholdRule:
        if not self.hysteresis:
            return self
        if not self.limit:
            raise ValueError("hysteresis: of the limit 0 every fraction is 0; leave it out")
        possible = range_of(catalogue_of(info)[self.kpi])
        back_at = self.one_limit.back_at
        if not possible.low <= back_at <= possible.high:
            raise ValueError(
                f"hysteresis: the alert would resolve at {back_at:g}, and {self.kpi} is "
                f"{possible}; give a smaller fraction"
            )
        return self

    def compare(self, value: KpiValue | None) -> Verdict:
        """Compare a value with the limit, see `OneLimit.compare`."""
        return self.one_limit.compare(value)

    def limit_of(self, value: KpiValue | None) -> float:
        """Return the limit, in the unit of the KPI."""
        del value
        return self.limit

    def is_about_too_little(self, kpi: Kpi) -> bool:
        """Return whether the rule is broken by too few events: it has a lower limit of a sum."""
        return self.one_limit.is_about_too_little(kpi)

    def why_not(self, value: KpiValue) -> Why:
        """Return why a value is no reason to alert."""
        return self.one_limit.why_not(value)

    def needed_n(self, kpi: Kpi, value: KpiValue, why: Why, *, least_n: int) -> int | None:
        """Return the smallest n with which the rule would be broken."""
        return self.one_limit.needed_n(kpi, value, why, least_n=least_n)

    def least(self, kpi: Kpi) -> LeastN:
        """Return the smallest n with which any value breaks the rule."""
        least = self.one_limit.least_n(kpi)
        if least == self.min_n:
            return LeastN(least, "min_n", "min_n")
        why = f"{self.side} {self.limit:g} with all of its 95 % interval"
        return LeastN(least, self.side, why)

    def distance(self, status: ScopeStatus) -> float | None:
        """Return the distance of a value from the limit, as a share of the limit."""
        value = status.value
        return None if value is None else self.one_limit.distance(value)

    def clauses(self, subject: Subject) -> Clauses:
        """Return what the rule does, in words."""
        fires = subject.beyond(self._beyond(subject))
        return Clauses(fires, self._back(subject), self.without_data(subject.kpi))

    def limit_text(self, kpi: Kpi, *, currency: str) -> RuleText:
        """Return the limit with its unit, such as "below 1 %"."""
        limit = amount(self.limit, kpi, currency=currency)
        if self.below is not None:
            return RuleText(f"below {limit.en}", f"低于 {limit.zh}")
        return RuleText(f"above {limit.en}", f"高于 {limit.zh}")

    def warnings(self, kpi: Kpi) -> Iterator[tuple[str, str]]:
        """Yield the keys that are probably not meant so, each with a text."""
        if percent := self.one_limit.likely_percent(kpi):
            yield self.side, percent
        yield from super().warnings(kpi)
        if self.below is None and kpi.volume and range_of(kpi).low == 0 and self.window == SO_FAR:
            yield "window", f"{kpi.name} of all time only grows, so the alert never resolves"

    def _beyond(self, subject: Subject) -> RuleText:
        kpi = subject.kpi
        limit = amount(self.limit, kpi, currency=subject.currency)
        below = self.below is not None
        en = f"{'surely ' if surely(kpi) else ''}{self.side} {limit.en}"
        zh = f"{'确定' if surely(kpi) else ''}{'低于' if below else '高于'} {limit.zh}"
        return self.from_at_least(kpi, RuleText(en, zh))

    def _back(self, subject: Subject) -> RuleText:
        edge = amount(self.one_limit.back_at, subject.kpi, currency=subject.currency)
        they = "they are" if subject.verb == "are" else "it is"
        if self.below is not None:
            return RuleText(
                f"resolves once {they} {edge.en} or more", f"回到 {spaced(edge.zh)}或以上"
            )
        return RuleText(f"resolves once {they} {edge.en} or less", f"回到 {spaced(edge.zh)}或以下")
