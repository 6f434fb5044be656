"""Scopes: what a KPI is about.

All, a channel, a region, a segment, a campaign, a campaign's channel or region.
Every event counts in a channel and a campaign, if only in ``none``; in a region
or segment it counts when it names one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

ScopeKind = Literal[
    "all", "channel", "campaign", "campaign_channel", "region", "campaign_region", "segment"
]
SCOPE_KINDS: tuple[ScopeKind, ...] = (
    "all",
    "channel",
    "region",
    "segment",
    "campaign",
    "campaign_channel",
    "campaign_region",
)
"""In the order of their importance."""

UNKNOWN_CAMPAIGN = "unknown"
"""Where events count whose campaign is not defined."""
NO_CAMPAIGN = "none"
"""Where events count that name no campaign."""
NO_CHANNEL = "none"
"""Where events count that name no channel."""
DIRECT = "direct"
"""The channel of orders that no touch led to."""
OTHER_CAMPAIGNS = "other"
"""The campaigns that are too small to be exported one by one."""


class Scope(NamedTuple):
    """One scope; the parts that it does not use are empty."""

    kind: ScopeKind
    campaign: str = ""
    channel: str = ""
    region: str = ""
    segment: str = ""

    def __str__(self) -> str:
        named = [f"{name}={value}" for name, value in self.labels.items() if value]
        return ", ".join(named) or "all"

    @property
    def labels(self) -> dict[str, str]:
        """The parts by name, as labels of metrics and alerts."""
        return dict(zip(PARTS, self[1:], strict=True))


PARTS = ("campaign", "channel", "region", "segment")
"""The parts of a scope, in their order."""

ALL = Scope("all")


class Facet(NamedTuple):
    """What cells are kept by; the scopes are sums over facets.

    One of campaign and channel, campaign and region, or segment: an event adds to
    the first, and to the others when it names a region or a segment.
    """

    campaign: str = ""
    channel: str = ""
    region: str = ""
    segment: str = ""


@lru_cache(maxsize=1 << 16)
def scopes_of(facet: Facet) -> tuple[Scope, ...]:
    """Return the scopes that a facet's cell adds to."""
    campaign, channel, region, segment = facet
    if segment:
        return (Scope("segment", segment=segment),)
    if region:
        return (
            Scope("region", region=region),
            Scope("campaign_region", campaign, region=region),
        )
    return (
        ALL,
        Scope("channel", "", channel),
        Scope("campaign", campaign),
        Scope("campaign_channel", campaign, channel),
    )
