"""Scopes: what a KPI is about. All, a channel, a campaign, or a campaign's channel."""

from __future__ import annotations

from typing import Literal, NamedTuple

ScopeKind = Literal["all", "channel", "campaign", "campaign_channel"]
SCOPE_KINDS: tuple[ScopeKind, ...] = ("all", "channel", "campaign", "campaign_channel")

UNKNOWN_CAMPAIGN = "unknown"
"""Where events count whose campaign is not defined."""
NO_CAMPAIGN = "none"
"""Where events count that name no campaign."""
NO_CHANNEL = "none"
"""Where events count that name no channel."""


class Scope(NamedTuple):
    """One scope; the parts that it does not use are empty."""

    kind: ScopeKind
    campaign: str = ""
    channel: str = ""

    def __str__(self) -> str:
        named = [
            f"{name}={value}"
            for name, value in (("campaign", self.campaign), ("channel", self.channel))
            if value
        ]
        return ", ".join(named) or "all"


ALL = Scope("all")


def scopes_of(*, campaign: str, channel: str) -> tuple[Scope, Scope, Scope, Scope]:
    """Return the four scopes that a cell of a campaign and channel adds to."""
    return (
        ALL,
        Scope("channel", "", channel),
        Scope("campaign", campaign, ""),
        Scope("campaign_channel", campaign, channel),
    )
