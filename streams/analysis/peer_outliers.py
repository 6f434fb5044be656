"""Finds outliers among peers: scopes whose KPI is far from the median of their kind.

Groups of peers are the channels, the channels of one campaign, the campaigns, and the regions.
The modified z-score of a value is 0.6745 * (x - median) / MAD. MAD is the median of the
distances from the median. A value is an outlier if its score is above 3.5 or below -3.5
(B. Iglewicz and D. C. Hoaglin, "How to Detect and Handle Outliers", ASQC Quality Press, 1993).

For normally distributed values, 1.4826 * MAD (1 / 0.6745) estimates the standard deviation. MAD
is 0 if more than half of the peers are alike; then 1.2533 times the mean distance, which
estimates it as well, takes its place.

Example:
    Five channels have conversion rates of 2.0, 2.1, 2.2, 2.3 and 6.0 %. The median is 2.2, the
    distances are 0.2, 0.1, 0, 0.1 and 3.8, and MAD is 0.1. The channel with 6.0 % has the score
    0.6745 * 3.8 / 0.1 = 25.6 and is an outlier, if the interval of its rate excludes 2.2 %. The
    one with 2.0 % has -1.3 and is not.
    With 2, 2, 2, 2 and 6 %, MAD is 0 and the mean distance 0.8. The score of 6 % is
    4 / (1.2533 * 0.8) = 4.0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from statistics import fmean, median
from typing import Final

from models.kpi.definition import Kpi, KpiValue
from models.kpi.formula import Newest, Total
from models.scope import BUCKETS, Scope, ScopeKind
from models.window import WindowName
from streams.kpis.calculation.kpi_calculator import KpiValues

WINDOWS: Final[tuple[WindowName, ...]] = ("1h", "24h", "day")
"""The windows in which peers are compared; shorter ones have too few events of most peers."""
FEWEST_PEERS: Final = 5
"""Smaller groups are not compared: their median says little about what is usual."""
Z_LIMIT: Final = 3.5
"""Modified z-score beyond which a value is an outlier."""

_KINDS: Final[frozenset[ScopeKind]] = frozenset(
    {"channel", "campaign_channel", "campaign", "region"}
)
_MAD_TO_SD: Final = 1 / 0.6745
"""Standard deviation per MAD of a normal distribution."""
_MEAN_DISTANCE_TO_SD: Final = 1.2533
"""Standard deviation per mean distance of a normal distribution: sqrt(pi / 2)."""
_ROUNDING: Final = 1e-9
"""Relative difference up to which values are equal: equal quotients may be rounded apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A scope that is an outlier among its peers by one KPI.

    Args:
        kpi: name of the KPI.
        scope: the outlier.
        value: its value, in the unit people see.
        median: the median of the group, in the same unit.
        z: its modified z-score; negative below the median.
        peers: number of peers that were compared, the outlier included.
        better: whether the outlier is on the better side of the median.
    """

    kpi: str
    scope: Scope
    value: float
    median: float
    z: float
    peers: int
    better: bool


def outliers(values: Mapping[Scope, KpiValues], kpis: Iterable[Kpi]) -> list[Peer]:
    """Return the outliers among all groups of peers, the largest absolute scores first.

    Only significant values are compared, in groups with at least `FEWEST_PEERS` of them. If a
    KPI has a 95% interval, that of an outlier must exclude the median. Not compared are volumes,
    newest levels and KPIs without a better direction: peers may differ in size. Scopes of
    events without a campaign or channel, or with an unknown campaign, belong to no group, nor
    does the channel of orders without a touch.

    Args:
        values: the KPIs of each scope in one window.
        kpis: the KPIs that are complete in that window.
    """
    groups = _groups(values)
    found = [
        peer
        for kpi in kpis
        if _is_compared(kpi)
        for group in groups
        for peer in _outliers_of(kpi, group)
    ]
    return sorted(found, key=lambda peer: (-abs(peer.z), peer.kpi, peer.scope))


def modified_z(values: Sequence[float]) -> tuple[float, list[float]] | None:
    """Return the median and the modified z-score of each value, in the order of the values.

    Args:
        values: at least one value, in any unit.

    Returns:
        None if all values are equal.
    """
    middle = median(values)
    off = [0.0 if isclose(one, middle, rel_tol=_ROUNDING) else one - middle for one in values]
    distances = [abs(one) for one in off]
    deviation = _MAD_TO_SD * median(distances) or _MEAN_DISTANCE_TO_SD * fmean(distances)
    return (middle, [one / deviation for one in off]) if deviation else None


_Member = tuple[Scope, KpiValues]


def _groups(values: Mapping[Scope, KpiValues]) -> list[list[_Member]]:
    groups: defaultdict[tuple[ScopeKind, str], list[_Member]] = defaultdict(list)
    for scope, of_scope in values.items():
        named = BUCKETS.isdisjoint((scope.campaign, scope.channel))
        if scope.kind in _KINDS and named:
            within = scope.campaign if scope.channel else ""
            groups[scope.kind, within].append((scope, of_scope))
    return list(groups.values())


def _is_compared(kpi: Kpi) -> bool:
    return kpi.direction != "neither" and not isinstance(kpi.parsed, Total | Newest)


def _outliers_of(kpi: Kpi, group: Iterable[_Member]) -> Iterator[Peer]:
    members = [
        (scope, value)
        for scope, values in group
        if (value := values.get(kpi.name)) is not None and value.significant
    ]
    if len(members) < FEWEST_PEERS:
        return
    scored = modified_z([value.value for _, value in members])
    if scored is None:
        return
    middle, scores = scored
    for (scope, value), z in zip(members, scores, strict=True):
        if abs(z) > Z_LIMIT and _excludes(value, middle):
            yield Peer(
                kpi=kpi.name,
                scope=scope,
                value=value.value,
                median=middle,
                z=z,
                peers=len(members),
                better=(z > 0) == (kpi.direction == "more"),
            )


def _excludes(value: KpiValue, middle: float) -> bool:
    """Return whether a value's interval excludes the median; True if it has no such bound."""
    if value.value > middle:
        return value.low is None or value.low > middle
    return value.high is None or value.high < middle
