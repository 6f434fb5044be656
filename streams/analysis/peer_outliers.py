"""Finds outliers among peers: scopes whose KPI is far from the median of their kind.

Groups of peers are the channels, the channels of one campaign, the campaigns, and the regions.
Alert rules compare also segments, and the regions of one campaign.
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
from typing import Final, NamedTuple

from models.kpi.definition import Kpi, KpiValue
from models.kpi.formula import Newest, Total
from models.scope import BUCKETS, Scope, ScopeKind
from models.window import WindowName
from streams.engine.steps import Steps, in_groups
from streams.kpis.calculation.kpi_calculator import KpiValues

WINDOWS: Final[tuple[WindowName, ...]] = ("1h", "24h", "day")
"""The windows in which peers are compared; shorter ones have too few events of most peers."""
FEWEST_PEERS: Final = 5
"""Smaller groups are not compared: their median says little about what is usual."""
Z_LIMIT: Final = 3.5
"""Modified z-score beyond which a value is an outlier."""

SCOPES_A_STEP: Final = 5_000
"""Scopes whose values are gathered in one step, 1 ms."""
_KINDS: Final[frozenset[ScopeKind]] = frozenset(
    {"channel", "campaign_channel", "campaign", "region"}
)
_MAD_TO_SD: Final = 1 / 0.6745
"""Standard deviation per MAD of a normal distribution."""
_MEAN_DISTANCE_TO_SD: Final = 1.2533
"""Standard deviation per mean distance of a normal distribution: sqrt(pi / 2)."""
_ROUNDING: Final = 1e-9
"""Relative difference up to which values are equal: equal quotients may be rounded apart."""


class PeerGroup(NamedTuple):
    """The median and the spread of a group of peers by one KPI.

    Args:
        median: the median of their values.
        deviation: the estimated standard deviation of usual values; 0 if all values are equal.
        peers: the number of values.
    """

    median: float
    deviation: float
    peers: int

    def z(self, value: float) -> float:
        """Return the modified z-score of one of the values; 0 if all are equal."""
        return _off(value, self.median) / self.deviation if self.deviation else 0.0

    def is_outlier(self, value: KpiValue) -> bool:
        """Return whether one of the values is an outlier, and its interval excludes the median."""
        return abs(self.z(value.value)) > Z_LIMIT and _excludes(value, self.median)


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
        if kpi.direction != "neither" and not is_about_size(kpi)
        for group in groups
        for peer in _outliers_of(kpi, group)
    ]
    return sorted(found, key=lambda peer: (-abs(peer.z), peer.kpi, peer.scope))


def peer_group(values: Sequence[float]) -> PeerGroup | None:
    """Return what is usual among the values of peers, in any unit.

    Returns:
        None of fewer than `FEWEST_PEERS`.
    """
    if len(values) < FEWEST_PEERS:
        return None
    middle = median(values)
    distances = [abs(_off(value, middle)) for value in values]
    deviation = _MAD_TO_SD * median(distances) or _MEAN_DISTANCE_TO_SD * fmean(distances)
    return PeerGroup(middle, deviation, len(values))


def peer_groups(
    values: Mapping[Scope, KpiValues], kind: ScopeKind, kpi: str, *, min_n: int
) -> Steps[Mapping[str, PeerGroup]]:
    """Return what is usual among the scopes of a kind by one KPI, in steps.

    Args:
        values: the KPIs of each scope in one window.
        kind: the kind of scope.
        kpi: name of the KPI.
        min_n: smallest n of a value that is compared.

    Returns:
        The groups by `group_of`, without those of too few peers.
    """
    found: defaultdict[str, list[float]] = defaultdict(list)
    for scopes in in_groups(values, of=SCOPES_A_STEP):
        for scope in scopes:
            value = values[scope].get(kpi) if scope.kind == kind else None
            within = group_of(scope)
            if within is not None and value is not None and is_compared(value, min_n=min_n):
                found[within].append(value.value)
        yield
    groups: dict[str, PeerGroup] = {}
    for within, numbers in found.items():
        group = peer_group(numbers)
        if group is not None:
            groups[within] = group
        yield
    return groups


def group_of(scope: Scope) -> str | None:
    """Return the campaign whose scopes are the peers of a scope; empty for peers of everything.

    Returns:
        None of events without a campaign or channel, or with an unknown campaign: no peer.
    """
    if not BUCKETS.isdisjoint((scope.campaign, scope.channel)):
        return None
    return scope.campaign if scope.channel or scope.region else ""


def is_compared(value: KpiValue, *, min_n: int = 0) -> bool:
    """Return whether a value is compared with those of its peers: it rests on enough."""
    return value.significant and value.n >= min_n


def is_about_size(kpi: Kpi) -> bool:
    """Return whether a KPI depends on the size of a scope, in which peers may differ."""
    return isinstance(kpi.parsed, Total | Newest)


_Member = tuple[Scope, KpiValues]


def _groups(values: Mapping[Scope, KpiValues]) -> list[list[_Member]]:
    groups: defaultdict[tuple[ScopeKind, str], list[_Member]] = defaultdict(list)
    for scope, of_scope in values.items():
        within = group_of(scope)
        if scope.kind in _KINDS and within is not None:
            groups[scope.kind, within].append((scope, of_scope))
    return list(groups.values())


def _outliers_of(kpi: Kpi, members: Iterable[_Member]) -> Iterator[Peer]:
    compared = [
        (scope, value)
        for scope, values in members
        if (value := values.get(kpi.name)) is not None and is_compared(value)
    ]
    group = peer_group([value.value for _, value in compared])
    if group is None:
        return
    for scope, value in compared:
        if group.is_outlier(value):
            z = group.z(value.value)
            yield Peer(
                kpi=kpi.name,
                scope=scope,
                value=value.value,
                median=group.median,
                z=z,
                peers=group.peers,
                better=(z > 0) == (kpi.direction == "more"),
            )


def _off(value: float, middle: float) -> float:
    """Return the distance from the median; 0 if only rounding tells them apart."""
    return 0.0 if isclose(value, middle, rel_tol=_ROUNDING) else value - middle


def _excludes(value: KpiValue, middle: float) -> bool:
    """Return whether a value's interval excludes the median; True if it has no such bound."""
    if value.value > middle:
        return value.low is None or value.low > middle
    return value.high is None or value.high < middle
