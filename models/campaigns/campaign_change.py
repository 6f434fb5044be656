"""Changes that people make to campaigns while they run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

KEPT = 100
"""The number of changes that are kept, the newest of all campaigns."""

EFFECT_KPIS = ("orders", "conversion_rate", "revenue_gross", "roas", "spend")
"""The KPIs that are shown before and after a change; /metrics has all of them."""


class Change(BaseModel):
    """A change of a campaign.

    Args:
        campaign: the campaign's id.
        event_id: the id of the event that reported it; a repetition has the same.
        at_ms: event time in ms.
        what: the kind of change: budget, bid, creative, landing page, stage or the like.
        from_value: the value before; None if it was not reported.
        to_value: the value since; None if it was not reported.
        who: the person or system that made it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: Annotated[str, Field(min_length=1)]
    event_id: str
    at_ms: int
    what: str
    from_value: str | None = None
    to_value: str | None = None
    who: str = ""


class Changes:
    """The newest changes of all campaigns, by event time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Change] = {}

    def record(self, change: Change) -> None:
        """Add a change. A repeated one replaces itself; the oldest is dropped beyond `KEPT`."""
        self._known[change.campaign, change.event_id] = change
        if len(self._known) > KEPT:
            oldest = next(iter(self))
            del self._known[oldest.campaign, oldest.event_id]

    def __iter__(self) -> Iterator[Change]:
        """Iterate over the changes, the oldest first."""
        return iter(sorted(self._known.values(), key=_in_time))


def _in_time(change: Change) -> tuple[int, str, str]:
    return change.at_ms, change.campaign, change.event_id
