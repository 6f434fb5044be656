"""Changes that people make to campaigns while these run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

KEPT = 100
"""So many changes are known, the last of all campaigns."""

EFFECT_KPIS = ("orders", "conversion_rate", "revenue_gross", "roas", "spend")
"""What is shown of the time before and after a change; /metrics has all KPIs."""


class Change(BaseModel):
    """What was changed of a campaign, from what to what, when and by whom.

    Args:
        campaign: the campaign's id.
        event_id: of the event that told it; a change that comes again has the same.
        at_ms: event time.
        what: budget, bid, creative, landing page, stage or the like.
        from_value: what it was, None where that was not told.
        to_value: what it is since.
        who: the person or system that did it.
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
    """The last changes of all campaigns, in the order of their time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Change] = {}

    def record(self, change: Change) -> None:
        """Take a change; one that comes again replaces itself."""
        self._known[change.campaign, change.event_id] = change
        if len(self._known) > KEPT:
            oldest = next(iter(self))
            del self._known[oldest.campaign, oldest.event_id]

    def __iter__(self) -> Iterator[Change]:
        """Iterate over them, the oldest first."""
        return iter(sorted(self._known.values(), key=_in_time))


def _in_time(change: Change) -> tuple[int, str, str]:
    return change.at_ms, change.campaign, change.event_id
