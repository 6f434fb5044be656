"""Rules of the kind ``change``: a value is lower or higher than in an earlier period."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, model_validator

from models.kpi.definition import Kpi, KpiValue
from models.kpi.user_catalogue import catalogue_of
from models.kpi.value_range import is_counted
from models.rule_status import Why
from models.window import COMPARED, QUARTER_MS, BusinessDay, Reference, WindowName
from streams.alerting.rules.keys import Limit, Share
from streams.alerting.rules.limit import (
    LIKELY_RATIO,
    LimitRule,
    OneLimit,
    difference_text,
    in_percent,
    surely,
)
from streams.alerting.rules.protocol import Evidence, JudgeContext, Verdict
from streams.alerting.rules.rule import Clauses, Comparison
from streams.alerting.words import RuleText, Subject
from streams.kpis.calculation.confidence_intervals import Z95, difference

_PERIODS: Final[dict[Reference, RuleText]] = {
    "previous": RuleText("in the period of the same length before", "前一同长时段"),
    "last_week": RuleText("at the same time a week before", "上周同一时段"),
}


class ChangeRule(LimitRule):
    """Fires while a value is lower, or higher, than in an earlier period by more than a share.

    The limit follows from the earlier value: 0.028 with ``falls_by: 0.3`` gives 0.0196. The change
    must be at least ``by_at_least``, too, which is in the unit of the KPI: 0.005 of a ratio is half
    a percentage point. If the KPI has an interval, or counts events or users, the change must be
    surely larger, at the 95 % level, whatever the uncertainty of both values is. An alert resolves
    once the value itself is back at the limit.

    There is no judgement while the earlier period was not observed whole or lacks records, and in
    scopes that had no value in it, one from fewer than ``min_n``, or whose campaign did not run in
    all of it. The values of both periods are what is known now, late data included.

    Example: ``against: last_week`` with ``falls_by: 0.3``. Last Tuesday from 11:00 to 12:00, 280 of
    10,000 clicks became orders, 2.8 %. Today 150 of 10,000 fire, as they are surely below 1.96 %.
    """

    kind: Literal["change"]
    """``change``: a value is lower or higher than in an earlier period."""
    against: Annotated[Reference, Field(description="`previous` or `last_week`")]
    """Earlier period: the one of the same length before, or the same time a week before. With
    ``last_week`` the rule is judged at each whole quarter of an hour.
    """
    falls_by: Share | None = None
    """Share of the earlier value by which a value must be lower, below 1. Give either this or
    ``rises_by``.
    """
    rises_by: Share | None = None
    """Share of the earlier value by which a value must be higher, likewise; 1 is twice as much."""
    by_at_least: Limit = 0.0
    """By how much it must be lower or higher at least, in the unit of the KPI. With a share of 0
    this alone decides.
    """
    window: WindowName = "1h"
    """Window whose values are judged, each time that it closes: one that has an earlier period."""

    @property
    def reference(self) -> Reference:
        """The earlier period."""
        return self.against

    def is_judged_at(self, end_ms: int, day: BusinessDay) -> bool:
        """Return whether the earlier period is known: a week before, sums of quarters are."""
        del day
        return self.against != "last_week" or end_ms % QUARTER_MS == 0

    @property
    def lower(self) -> bool:
        """Whether a lower value breaks the rule."""
        return self.falls_by is not None

    @property
    def share(self) -> float:
        """The share of the earlier value."""
        share = self.rises_by if self.falls_by is None else self.falls_by
        assert share is not None
        return share

    @model_validator(mode="after")
    def _one_share(self) -> ChangeRule:
        if (self.falls_by is None) == (self.rises_by is None):
            raise ValueError("falls_by: give exactly one of falls_by and rises_by")
        if self.falls_by is not None and self.falls_by >= 1:
            raise ValueError(
                "falls_by: a value that falls by all of itself is 0; give a share below 1, such as "
                "0.3 for 30 %"
            )
        if self.by_at_least < 0:
            raise ValueError("by_at_least: give 0 or more")
        if not self.share and not self.by_at_least:
            key = "falls_by" if self.lower else "rises_by"
            raise ValueError(f"{key}: 0 is any change; give a share, or by_at_least")
        return self

    @model_validator(mode="after")
    def _has_an_earlier_period(self, info: ValidationInfo) -> ChangeRule:
        if self.window not in COMPARED[self.against]:
            raise ValueError(
                f"window: {self.window} is not compared with {self.against}; use one of "
                f"{', '.join(COMPARED[self.against])}"
            )
        kpi = catalogue_of(info)[self.kpi]
        if kpi.looks_back:
            raise ValueError(
                f"kpi: {kpi.name} refers to an earlier period itself; use a KPI that does not, or "
                "kind: threshold"
            )
        return self

    def comparison(self, context: JudgeContext) -> Comparison | Why:
        """Return what compares a value with the earlier one, or that this is not known."""
        earlier, campaign = context.earlier, context.campaign
        if earlier is None or earlier.value is None or earlier.value.n < self.min_n:
            return Why.NO_EARLIER
        if campaign is not None and not campaign.runs(earlier.start_ms, earlier.end_ms):
            return Why.NO_EARLIER
        then = earlier.value
        by_share = self.share * abs(then.value)
        change = max(by_share, self.by_at_least)
        if not change:
            return Why.NO_EARLIER
        limit = then.value - change if self.lower else then.value + change
        scale = 1.0
        if by_share >= self.by_at_least:
            scale = 1 - self.share if self.lower else 1 + self.share
        return _Change(
            context.kpi,
            then,
            OneLimit(key="", limit=limit, lower=self.lower, back_at=limit, min_n=self.min_n),
            scale,
        )

    def is_about_too_little(self, kpi: Kpi) -> bool:
        """Return whether the rule is broken by too few events: a sum falls."""
        return self.lower and kpi.additive

    def needed_n(self, kpi: Kpi, value: KpiValue, why: Why, *, least_n: int) -> int | None:
        """Return ``min_n`` of a value that rests on fewer; else the earlier value matters, too."""
        del kpi, value, least_n
        return self.min_n if why is Why.TOO_FEW else None

    def clauses(self, subject: Subject) -> Clauses:
        """Return what the rule does, in words."""
        by, period = self._beyond(subject), _PERIODS[self.against]
        beyond = RuleText(f"{by.en} {period.en}", f"比{period.zh}{by.zh}")
        return Clauses(
            subject.beyond(beyond),
            RuleText("resolves once the change is smaller", "变化幅度回到限度以内"),
            self.without_data(subject.kpi),
        )

    def limit_text(self, kpi: Kpi, *, currency: str) -> RuleText:
        """Return the change with its unit, such as "30 % below that of the period before"."""
        period = _PERIODS[self.against]
        by = difference_text(self.share, self.by_at_least, kpi, currency=currency)
        side = RuleText("below", "低于") if self.lower else RuleText("above", "高于")
        return RuleText(f"{by.en} {side.en} that {period.en}", f"{side.zh}{period.zh} {by.zh}")

    def warnings(self, kpi: Kpi) -> Iterator[tuple[str, str]]:
        """Yield the keys that are probably not meant so, each with a text."""
        yield from super().warnings(kpi)
        if self.share >= LIKELY_RATIO:
            yield "rises_by", in_percent(self.share)

    def _beyond(self, subject: Subject) -> RuleText:
        kpi = subject.kpi
        by = difference_text(self.share, self.by_at_least, kpi, currency=subject.currency)
        sure = surely(kpi) or is_counted(kpi)
        side = RuleText("lower", "低") if self.lower else RuleText("higher", "高")
        en = f"{'surely ' if sure else ''}more than {by.en} {side.en} than"
        zh = f"{'确定' if sure else ''}{side.zh} {by.zh}"
        if not self.min_n:
            return RuleText(en, zh)
        least = self.from_at_least(kpi, RuleText("", ""))
        return RuleText(f"{en}{least.en}", f"{zh}{least.zh}")


@dataclass(frozen=True, slots=True)
class _Change:
    """Compares a value with the limit that follows from an earlier one.

    Args:
        kpi: the definition of the KPI.
        then: the earlier value.
        limit: the limit, in the unit of the KPI.
        scale: the distance by which the limit moves if the earlier value moves by 1: a share of it
            decides, or ``by_at_least``, which is 1.
    """

    kpi: Kpi
    then: KpiValue
    limit: OneLimit
    scale: float

    def compare(self, value: KpiValue | None) -> Verdict:
        """Compare a value with the limit; what is uncertain of both values must not matter."""
        if value is None or value.n < self.limit.min_n:
            return Verdict.NO_JUDGEMENT
        low, high = self._distance(value)
        if high < 0 if self.limit.lower else low > 0:
            return Verdict.BROKEN
        return Verdict.BETWEEN if self.limit.is_beyond(value) else Verdict.HOLDS

    def evidence(self, value: KpiValue | None) -> Evidence:
        """Return a value with the limit and the earlier value."""
        return Evidence(value, self.limit.limit, float(self.then.value))

    def why_not(self, value: KpiValue) -> Why:
        """Return why a value is no reason to alert."""
        return self.limit.why_not(value)

    def _distance(self, now: KpiValue) -> tuple[float, float]:
        """Return the 95 % interval of the distance of a value from the limit."""
        then, limit, scale = self.then, self.limit.limit, self.scale
        of_now, of_then = now.interval, then.interval
        if of_now is not None and of_then is not None:
            low, high = (limit + scale * (bound - then.value) for bound in of_then)
            return difference(now.value, of_now, limit, (low, high))
        distance = now.value - limit
        if not is_counted(self.kpi):
            return distance, distance
        margin = Z95 * sqrt(now.value + scale * scale * then.value)
        return distance - margin, distance + margin
