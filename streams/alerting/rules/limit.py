"""Limits of values: how values compare with one, from which n on, and the rules that have any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

from pydantic import ValidationInfo, model_validator

from models.kpi.definition import Kpi, KpiValue
from models.kpi.formula import Growth, Newest, Quantile
from models.kpi.user_catalogue import catalogue_of
from models.kpi.value_range import is_share, range_of
from models.rule_status import ScopeStatus, Why
from models.window import GROWING, SO_FAR, WindowName
from streams.alerting.rules.keys import LeastCount
from streams.alerting.rules.protocol import Verdict
from streams.alerting.rules.required_n import is_beyond, least_n, required_n
from streams.alerting.rules.rule import Rule
from streams.alerting.words import RuleText, amount, counted, needed_text, rounded, spaced

LIKELY_RATIO: Final = 5
"""A limit of a ratio from here on is probably meant in percent: 5 is 500 %. Of a share, any above
1 is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OneLimit:
    """A limit on one side.

    Args:
        key: the key of the rule that has the limit.
        limit: the limit, in the unit of the KPI.
        lower: whether values below it break the rule; values above it do otherwise.
        back_at: the value at which a firing alert resolves.
        min_n: smallest n of a value that is judged.
    """

    key: str
    limit: float
    lower: bool
    back_at: float
    min_n: int = 0

    @property
    def below(self) -> float | None:
        """The limit if it is a lower one, else None."""
        return self.limit if self.lower else None

    def compare(self, value: KpiValue | None) -> Verdict:
        """Compare a value with the limit.

        A value with an interval breaks the rule only if the whole interval is beyond the limit.
        The rule holds once the value itself is back at ``back_at``.

        Args:
            value: the value in the unit of the rule; None if the KPI is absent.
        """
        if value is None or value.n < self.min_n:
            return Verdict.NO_JUDGEMENT
        if self.lower:
            edge = value.value if value.high is None else value.high
            beyond, cleared = edge < self.limit, value.value >= self.back_at
        else:
            edge = value.value if value.low is None else value.low
            beyond, cleared = edge > self.limit, value.value <= self.back_at
        if beyond:
            return Verdict.BROKEN
        return Verdict.HOLDS if cleared else Verdict.BETWEEN

    def is_beyond(self, value: KpiValue) -> bool:
        """Return whether a value itself is beyond the limit, whatever its interval is."""
        return is_beyond(self, value)

    def why_not(self, value: KpiValue) -> Why:
        """Return why a value is no reason to alert."""
        if value.n < self.min_n:
            return Why.TOO_FEW
        return Why.NOT_SIGNIFICANT if self.is_beyond(value) else Why.WITHIN

    def needed_n(self, kpi: Kpi, value: KpiValue, why: Why, *, least_n: int) -> int | None:
        """Return the smallest n with which a value would break the rule, see `Rule.needed_n`."""
        match why:
            case Why.TOO_FEW:
                return required_n(self, kpi, value) or self.min_n
            case Why.NOT_SIGNIFICANT:
                return required_n(self, kpi, value)
            case Why.WITHIN if value.n < least_n:
                return least_n
        return None

    def least_n(self, kpi: Kpi) -> int:
        """Return the smallest n with which any value is beyond the limit."""
        return least_n(self, kpi)

    def distance(self, value: KpiValue) -> float:
        """Return the distance of a value from the limit, as a share of the limit."""
        distance = abs(value.value - self.limit)
        return distance / abs(self.limit) if self.limit else (distance or inf)

    def is_about_too_little(self, kpi: Kpi) -> bool:
        """Return whether too few events are beyond the limit: it is a lower limit of a sum."""
        return self.lower and kpi.additive

    def likely_percent(self, kpi: Kpi) -> str:
        """Return what a limit that is probably meant in percent means; empty if it is not."""
        limit = self.limit
        likely = limit > 1 if is_share(kpi) else abs(limit) >= LIKELY_RATIO
        if kpi.shown_unit != "ratio" or not likely:
            return ""
        return in_percent(limit)

    def refuse_impossible(self, kpi: Kpi) -> None:
        """Refuse a limit that no value can be beyond, or that every value is beyond.

        Raises:
            ValueError: it is such a limit.
        """
        key, limit = self.key, self.limit
        side = "below" if self.lower else "above"
        possible = range_of(kpi)
        if is_share(kpi) and limit > possible.high:
            raise ValueError(
                f"{key}: {kpi.name} is a share, and {limit:g} is {100 * limit:g} %; give a "
                f"fraction, such as {limit / 100:g} for {limit:g} %"
            )
        never = limit <= possible.low if self.lower else limit >= possible.high
        always = limit > possible.high if self.lower else limit < possible.low
        if never or always:
            what = "never" if never else "always"
            higher = self.lower is never
            raise ValueError(
                f"{key}: {kpi.name} is {possible}, {what} {side} {limit:g}, and the rule would "
                f"{what} fire; give a {'higher' if higher else 'lower'} limit"
            )

    def refuse_growing(self, kpi: Kpi, window: WindowName) -> None:
        """Refuse a lower limit in a window whose sums only grow, or lose a day at midnight.

        Raises:
            ValueError: it is such a limit.
        """
        if not self.lower or self.limit <= 0 or window not in GROWING:
            return
        if window == SO_FAR and kpi.volume:
            raise ValueError(
                f"window: {kpi.name} of all time only grows, so it would be below the limit at "
                "first and never again; use a window of a fixed length, such as 24h"
            )
        if window != SO_FAR and kpi.additive:
            raise ValueError(
                f"window: {kpi.name} of {window} loses a day at midnight and grows, so it "
                "would be below the limit every night; use a window of a fixed length, such as 24h"
            )


def in_percent(ratio: float) -> str:
    """Return what a ratio that is probably meant in percent means."""
    return f"{ratio:g} is {100 * ratio:,g} %; {ratio:g} % is {ratio / 100:g}"


def difference_text(share: float, floor: float, kpi: Kpi, *, currency: str) -> RuleText:
    """Return a share of a value and a least amount: ``30 % and 0.5 percentage points``.

    Args:
        share: the share; 0 if the amount alone decides.
        floor: the amount, in the unit of the KPI; 0 for none.
        kpi: the definition of the KPI.
        currency: the reporting currency.
    """
    of_share = RuleText(f"{100 * share:g} %", f"{100 * share:g}% 以上")
    if not floor:
        return of_share
    least = amount(floor, kpi, currency=currency)
    if kpi.shown_unit == "ratio":
        least = RuleText(f"{100 * floor:g} percentage points", f"{100 * floor:g} 个百分点")
    if not share:
        return least._replace(zh=f"{spaced(least.zh)}以上")
    return RuleText(f"{of_share.en} and {least.en}", f"{of_share.zh}且至少 {least.zh}")


def surely(kpi: Kpi) -> bool:
    """Return whether the values of a KPI have an interval, all of which must be beyond a limit."""
    return kpi.interval != "none" or isinstance(kpi.parsed, Quantile)


class LimitRule(Rule):
    """A rule whose values have one limit or two, and must rest on some n to be judged."""

    min_n: LeastCount = 0
    """Smallest number of events or users that a value must rest on to be judged."""

    @model_validator(mode="after")
    def _n_can_be_too_small(self, info: ValidationInfo) -> LimitRule:
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

    def least_judged(self, kpi: Kpi) -> int:
        """Return the smallest n of a value that is judged."""
        del kpi
        return self.min_n

    def counts_nothing_as_0(self, kpi: Kpi) -> bool:
        """Return whether the value is 0 where nothing came and something was expected."""
        return self.is_about_too_little(kpi) and not self.min_n

    def from_at_least(self, kpi: Kpi, beyond: RuleText) -> RuleText:
        """Return what values break the rule, and from which n on."""
        if not self.min_n:
            return beyond
        return RuleText(
            f"{beyond.en} (from at least {self.min_n:,} {counted(kpi)})",
            f"{beyond.zh}（样本量至少 {self.min_n:,}）",
        )

    def status_text(self, status: ScopeStatus, kpi: Kpi) -> RuleText | None:
        """Return why a value is no reason to alert, in words.

        Example:
            A conversion of 0 % from 6 clicks, with ``below: 0.01``: "not significant; some 380
            clicks without orders would be needed".
        """
        match status.why:
            case Why.NOT_SIGNIFICANT if status.required_n is not None:
                en, zh = needed_text(status.value, status.required_n, kpi)
                return RuleText(f"not significant; {en}", f"不显著；{zh}")
            case Why.NOT_SIGNIFICANT:
                return RuleText("not significant", "不显著")
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
        if self.is_about_too_little(kpi) and self.min_n:
            yield (
                "min_n",
                f"{kpi.name} from fewer than {self.min_n:,} is not judged, so the rule is silent "
                "when least comes; leave min_n out to hear of it",
            )

    def _too_few(self, status: ScopeStatus, kpi: Kpi) -> RuleText:
        n = 0 if status.value is None else status.value.n
        least = self.least_judged(kpi)
        few = RuleText(
            f"too few: {n:,} of at least {least:,} {counted(kpi)}",
            f"样本量不足：{n:,}，至少需 {least:,}",
        )
        if (status.required_n or 0) <= least:
            return few
        en, zh = needed_text(status.value, status.required_n or 0, kpi)
        return RuleText(f"{few.en}; {en}", f"{few.zh}；{zh}")
