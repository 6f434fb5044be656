"""Rules of the kind ``outlier``: a scope is unusual among its peers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import ValidationInfo, model_validator

from models.kpi.definition import Kpi, KpiValue
from models.kpi.user_catalogue import catalogue_of
from models.kpi.value_range import range_of
from models.rule_status import Why
from models.scope import Scope, ScopeKind
from models.window import WindowName
from streams.alerting.rules.keys import Limit, Share
from streams.alerting.rules.limit import (
    LIKELY_RATIO,
    LimitRule,
    OneLimit,
    difference_text,
    in_percent,
)
from streams.alerting.rules.protocol import Evidence, JudgeContext, KnownScopes, Verdict
from streams.alerting.rules.rule import Clauses, Comparison
from streams.alerting.words import RuleText, Subject
from streams.analysis.peer_outliers import (
    Z_LIMIT,
    PeerGroup,
    group_of,
    is_about_size,
    is_compared,
)

_SIDES: Final = {True: RuleText("low", "低"), False: RuleText("high", "高")}


class OutlierRule(LimitRule):
    """Fires while a value is unusually low, or high, among those of its peers.

    The peers of a channel are all channels, whether or not ``match`` names them; those of a channel
    of a campaign are the channels of the same campaign. Regions, segments and campaigns likewise.
    The page shows outliers by the same calculation: the modified z-score of the value is beyond
    3.5, and its interval excludes the median of the peers. Besides, a rule asks for a least
    difference from the median: a share of it (``differs_by``) and an amount (``by_at_least``).

    An alert resolves once the value is within these limits. There is no judgement if fewer than
    five peers have a value that is significant and rests on ``min_n``. The page leaves out the
    smallest scopes, which it does not list; a rule compares all.

    Example: five channels have conversion rates of 2.0, 2.1, 2.2, 2.3 and 0.9 %. The median is
    2.1 %, and half of the channels are within 0.1 of it. Values below 2.1 - 3.5 * 0.1 / 0.6745,
    which is 1.58 %, are outliers. With ``differs_by: 0.3`` the limit is 1.47 %, 30 % below the
    median.
    """

    kind: Literal["outlier"]
    """``outlier``: a value is unusual among those of its peers."""
    direction: Literal["worse", "lower", "higher"] = "worse"
    """Side of the median on which a value breaks the rule. ``worse`` is below it for KPIs of which
    more is better, such as conversion, and above it for others, such as costs.
    """
    differs_by: Share = 0.1
    """Share of the median by which a value must be lower or higher at least."""
    by_at_least: Limit = 0.0
    """By how much it must be lower or higher at least, in the unit of the KPI."""
    scope: ScopeKind = "channel"
    """Kind of scope whose scopes are compared: any but ``all``."""
    window: WindowName = "1h"
    """Window whose values are judged, each time that it closes. In short ones most peers have too
    few events.
    """

    @property
    def peer_min_n(self) -> int:
        """The smallest n of a peer that is compared."""
        return self.min_n

    @model_validator(mode="after")
    def _has_peers(self, info: ValidationInfo) -> OutlierRule:
        kpi = catalogue_of(info)[self.kpi]
        if self.scope == "all":
            raise ValueError(
                "scope: all has no peers; use channel, region, segment, campaign, campaign_channel "
                "or campaign_region"
            )
        if is_about_size(kpi):
            raise ValueError(
                f"kpi: {kpi.name} depends on the size of a {self.scope}, in which peers differ; "
                "use a ratio or a cost, such as conversion_rate or cpc"
            )
        if self.direction == "worse" and kpi.direction == "neither":
            raise ValueError(
                f"direction: neither more nor less of {kpi.name} is worse; give lower or higher"
            )
        return self

    @model_validator(mode="after")
    def _least_difference(self, info: ValidationInfo) -> OutlierRule:
        kpi = catalogue_of(info)[self.kpi]
        if self.by_at_least < 0:
            raise ValueError("by_at_least: give 0 or more")
        if not self.differs_by and not self.by_at_least:
            raise ValueError("differs_by: 0 is any difference; give a share, or by_at_least")
        if self.differs_by >= 1 and self.is_lower(kpi) and range_of(kpi).low >= 0:
            raise ValueError(
                "differs_by: a value that is lower by all of the median is 0; give a share below "
                "1, such as 0.3 for 30 %"
            )
        return self

    def is_lower(self, kpi: Kpi) -> bool:
        """Return whether values below the median break the rule."""
        return self.direction == "lower" or (self.direction == "worse" and kpi.direction == "more")

    def scopes(self, kpi: Kpi, known: KnownScopes) -> Iterator[Scope]:
        """Yield the scopes that have peers."""
        yield from (one for one in super().scopes(kpi, known) if group_of(one) is not None)

    def comparison(self, context: JudgeContext) -> Comparison | Why:
        """Return what compares a value with the peers, or that there are too few of them."""
        group = context.peers
        if group is None:
            return Why.NO_PEERS
        lower = self.is_lower(context.kpi)
        distance = max(
            Z_LIMIT * group.deviation, self.differs_by * abs(group.median), self.by_at_least
        )
        limit = group.median - distance if lower else group.median + distance
        return _AmongPeers(
            group, OneLimit(key="", limit=limit, lower=lower, back_at=limit, min_n=self.min_n)
        )

    def is_about_too_little(self, kpi: Kpi) -> bool:
        """Return that too few events do not break the rule: they are too few to be compared."""
        del kpi
        return False

    def least_judged(self, kpi: Kpi) -> int:
        """Return the smallest n of a value that is judged: it must be significant, too."""
        return max(self.min_n, kpi.min_n)

    def needed_n(self, kpi: Kpi, value: KpiValue, why: Why, *, least_n: int) -> int | None:
        """Return the smallest n that is judged, of a value that rests on fewer."""
        del value, least_n
        return self.least_judged(kpi) if why is Why.TOO_FEW else None

    def clauses(self, subject: Subject) -> Clauses:
        """Return what the rule does, in words."""
        kpi = subject.kpi
        unusual = self.limit_text(kpi, currency=subject.currency)
        return Clauses(
            subject.beyond(self.from_at_least(kpi, unusual)),
            RuleText("resolves once it is like its peers", "回到同类的正常范围"),
            self.without_data(kpi),
        )

    def limit_text(self, kpi: Kpi, *, currency: str) -> RuleText:
        """Return how a value must differ, such as "unusually low, 30 % below the median"."""
        lower = self.is_lower(kpi)
        side, below = _SIDES[lower], "below" if lower else "above"
        by = difference_text(self.differs_by, self.by_at_least, kpi, currency=currency)
        return RuleText(
            f"unusually {side.en} among its peers, more than {by.en} {below} their median",
            f"在同类中异常偏{side.zh}，且比同类中位数{side.zh} {by.zh}",
        )

    def warnings(self, kpi: Kpi) -> Iterator[tuple[str, str]]:
        """Yield the keys that are probably not meant so, each with a text."""
        yield from super().warnings(kpi)
        if self.differs_by >= LIKELY_RATIO:
            yield "differs_by", in_percent(self.differs_by)


@dataclass(frozen=True, slots=True)
class _AmongPeers:
    """Compares a value with what is usual among its peers.

    Args:
        group: what is usual.
        limit: the limit that follows from it, in the unit of the KPI.
    """

    group: PeerGroup
    limit: OneLimit

    def compare(self, value: KpiValue | None) -> Verdict:
        """Return whether a value is beyond the limit and an outlier, as far as that is sure."""
        if value is None or not is_compared(value, min_n=self.limit.min_n):
            return Verdict.NO_JUDGEMENT
        if not self.limit.is_beyond(value):
            return Verdict.HOLDS
        return Verdict.BROKEN if self.group.is_outlier(value) else Verdict.BETWEEN

    def evidence(self, value: KpiValue | None) -> Evidence:
        """Return a value with the limit and the median of the peers."""
        return Evidence(value, self.limit.limit, median=self.group.median)

    def why_not(self, value: KpiValue) -> Why:
        """Return why a value is no reason to alert."""
        if not is_compared(value, min_n=self.limit.min_n):
            return Why.TOO_FEW
        return Why.NOT_SIGNIFICANT if self.limit.is_beyond(value) else Why.WITHIN
