"""Scopes, for which KPIs are shown, and facets, by which cells are kept.

A scope is everything, a channel, a region, a segment, a campaign, a campaign's channel or a
campaign's region. Every event counts in a campaign and a channel, in ``(none)`` if it names none.
It counts in a region or a segment only if it names one.

Example: a click of campaign 618, channel search and region east adds to two facets, that of 618
and search, and that of 618 and east. From the first come the scopes everything, channel search,
campaign 618 and 618/search; from the second region east and 618/east.
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
"""All kinds of scopes: those with one name before those with two."""

UNKNOWN_CAMPAIGN = "(unknown)"
"""The campaign of events that name one which is not defined."""
NO_CAMPAIGN = "(none)"
"""The campaign of events that name none."""
NO_CHANNEL = "(none)"
"""The channel of events that name none."""
DIRECT = "(direct)"
"""The channel of orders without a touch."""
OTHER = "(other)"
"""Stands for all campaigns, channels, regions or segments too small to be shown on their own."""
BUCKETS = frozenset({UNKNOWN_CAMPAIGN, NO_CAMPAIGN, NO_CHANNEL, DIRECT, OTHER})
"""Stands in the place of a name, in brackets as web analytics write it. No name is one."""


class Scope(NamedTuple):
    """One scope. Parts that its kind does not use are empty."""

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
        """The parts by name, used as labels of metrics and alerts."""
        return dict(zip(PARTS, self[1:], strict=True))


PARTS = ("campaign", "channel", "region", "segment")
"""The names of a scope's parts, in the order of its fields."""


def parts_of(kind: ScopeKind) -> tuple[str, ...]:
    """Return the parts that a kind of scope has: of ``campaign_channel``, campaign and channel."""
    return tuple(part for part in PARTS if part in kind.split("_"))


def others_of(kind: ScopeKind) -> Scope:
    """Return the scope that stands for all scopes of a kind that are not shown on their own."""
    return Scope(kind, **dict.fromkeys(parts_of(kind), OTHER))


ALL = Scope("all")


class Place(NamedTuple):
    """The campaign, channel, region and segment that an event counts for; empty if none."""

    campaign: str
    channel: str
    region: str
    segment: str


class Facet(NamedTuple):
    """The smallest division by which cells are kept; scopes are sums over facets.

    A facet is a campaign and channel, a campaign and region, or a segment; its other parts are
    empty. An event adds to the first, and to the others if it names a region or a segment.
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
