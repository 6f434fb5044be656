"""Outliers among peers: who is far from what is usual among others of the same kind.

Peers are the channels, the channels of one campaign, the campaigns, and the regions.
A member's modified z-score is 0.6745 * (x - median) / MAD, with MAD the median of the
distances from the median; it is an outlier where that exceeds 3.5 either way (B. Iglewicz
and D. C. Hoaglin, "How to Detect and Handle Outliers", ASQC Quality Press, 1993). Where
half of the peers are alike, MAD is 0, and 1.2533 times the mean distance stands for the
standard deviation, as 1.4826 (1 / 0.6745) times MAD does otherwise; both are so for
normal values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from statistics import fmean, median
from typing import Final

from models.kpi.definition import Kpi, KpiValue
from models.kpi.formulas import Newest
from models.scope import DIRECT, NO_CAMPAIGN, NO_CHANNEL, UNKNOWN_CAMPAIGN, Scope, ScopeKind
from models.window import WindowName
from streams.kpis.calculation.kpi_calculator import KpiValues

WINDOWS: Final[tuple[WindowName, ...]] = ("1h", "24h", "day")
"""The windows in which peers are compared; shorter ones hold too little of most of them."""
FEWEST_PEERS: Final = 5
"""Of fewer, nobody can say what is usual."""
Z_LIMIT: Final = 3.5

_KINDS: Final[frozenset[ScopeKind]] = frozenset(
    {"channel", "campaign_channel", "campaign", "region"}
)
_NO_CAMPAIGNS: Final = frozenset({UNKNOWN_CAMPAIGN, NO_CAMPAIGN})
_NO_CHANNELS: Final = frozenset({NO_CHANNEL, DIRECT})
_MAD_TO_SD: Final = 1 / 0.6745
_MEAN_DISTANCE_TO_SD: Final = 1.2533
"""The square root of pi / 2."""
_ROUNDING: Final = 1e-9
"""Quotients of other numbers that come to the same may differ by so much of themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A scope that is an outlier among its peers by one KPI.

    ``value`` and ``median`` are in the units people see, ``z`` is the modified z-score,
    negative below the median. ``peers`` counts the members that were compared, itself
    among them. ``better`` says whether it is on the side that the KPI calls better.
    """

    kpi: str
    scope: Scope
    value: float
    median: float
    z: float
    peers: int
    better: bool


def outliers(values: Mapping[Scope, KpiValues], kpis: Iterable[Kpi]) -> list[Peer]:
    """Return the outliers among all groups of peers, the largest scores first.

    Only significant values are compared, of at least `FEWEST_PEERS` peers. Volumes, levels
    and KPIs of which neither more nor less is better are left out: that peers differ
    in size says nothing. Where a KPI has an interval of 95 %, an outlier's excludes the median.
    What names no campaign or channel, or an unknown campaign, is nobody's peer.

    Args:
        values: the KPIs of each scope, all of one window.
        kpis: those that may be judged in that window.
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
    """Return the median and every value's modified z-score, in the order of the values.

    None where the values do not differ.

    Args:
        values: at least one, in any unit.
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
        named = scope.campaign not in _NO_CAMPAIGNS and scope.channel not in _NO_CHANNELS
        if scope.kind in _KINDS and named:
            within = scope.campaign if scope.channel else ""
            groups[scope.kind, within].append((scope, of_scope))
    return list(groups.values())


def _is_compared(kpi: Kpi) -> bool:
    return not (kpi.volume or kpi.direction == "neither" or isinstance(kpi.parsed, Newest))


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
    """Say whether the bound of the interval that is nearer to the median is beyond it."""
    if value.value > middle:
        return value.low is None or value.low > middle
    return value.high is None or value.high < middle
