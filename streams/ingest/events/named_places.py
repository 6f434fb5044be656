"""Finds where an event counts: its campaign, channel, region and segment, by the names it gives.

This is the only place in which names of events are brought into the form that is shown. What was
found for the same names before is kept, so that most events cost one look-up in a dictionary.

Example: an event names the campaign ``618+Main``, the channel ``SEM`` and the region ``East``. The
campaign 618-main has the alias ``618 Main``, the file of names the channel ``search`` with the
alias ``SEM``, and no regions. The event counts in 618-main, search and east, and its `NameNote` are
``campaign alias``, ``channel alias`` and ``region spelling``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from models.names import (
    DIMENSIONS,
    Change,
    NameBook,
    ShownName,
    canonical,
    names_nothing,
    shortened,
)
from models.scope import UNKNOWN_CAMPAIGN, Place
from streams.ingest.registry.campaign_index import CampaignIndex, Found

KEPT = 20_000
"""The number of combinations of names that are kept; beyond, all are looked up again."""
LONGEST_KEPT = 400
"""Names of more characters, all of an event together, are found anew each time."""

Reported = tuple[str | None, str | None, str, str, str | None]
"""Campaign id, campaign, channel, region and segment as an event names them."""


class NameNote(NamedTuple):
    """A report about a name, beside its place.

    Args:
        kind: ``campaign``, ``channel``, ``region`` or ``segment``.
        change: how its shown form differs from what was reported; None if its kind has definitions
            and it is none of them.
        name: the name as it is shown; of an unknown campaign, its canonical form.
    """

    kind: str
    change: Change | None
    name: str


class NamedPlaces(dict[Reported, tuple[Place, tuple[NameNote, ...]]]):
    """The places where events count, and reports about their names, by the names that they give.

    Args:
        names: the defined channels, regions and segments.
        campaigns: all campaigns. After definitions, `renew` must be called.
    """

    def __init__(self, names: NameBook, campaigns: CampaignIndex) -> None:
        super().__init__()
        self._names = names
        self._campaigns = campaigns
        # Where names are combined in many ways, each is found once nevertheless.
        self._find_shown = lru_cache(maxsize=KEPT)(names.shown)
        self._find_campaign = lru_cache(maxsize=KEPT)(campaigns.find)
        self._version = campaigns.version

    def renew(self) -> None:
        """Forget what was found before campaigns were defined."""
        if self._version != self._campaigns.version:
            self._version = self._campaigns.version
            self._find_campaign.cache_clear()
            self.clear()

    def __missing__(self, reported: Reported) -> tuple[Place, tuple[NameNote, ...]]:
        """Find where an event counts, and keep it."""
        if sum(map(len, filter(None, reported))) > LONGEST_KEPT:
            return _found(reported, campaign_of=self._campaigns.find, shown_of=self._names.shown)
        if len(self) >= KEPT:
            self.clear()
        found = _found(reported, campaign_of=self._find_campaign, shown_of=self._find_shown)
        self[reported] = found
        return found


def _found(
    reported: Reported,
    *,
    campaign_of: Callable[[str | None, str | None], Found],
    shown_of: Callable[[str, str], ShownName],
) -> tuple[Place, tuple[NameNote, ...]]:
    campaign_id, campaign_name, *others = reported
    campaign, change = campaign_of(campaign_id, campaign_name)
    notes = []
    if change is not None:
        notes.append(NameNote("campaign", change, campaign))
    elif campaign == UNKNOWN_CAMPAIGN:
        notes.append(NameNote("campaign", None, _first_name(campaign_id, campaign_name)))
    parts = []
    for kind, name in zip(DIMENSIONS, others, strict=True):
        shown = shown_of(kind, name or "")
        parts.append(shown.name)
        if shown.change is not None:
            notes.append(NameNote(kind, shown.change, shown.name))
        if shown.unknown:
            notes.append(NameNote(kind, None, shown.name))
    channel, region, segment = parts
    return Place(campaign, channel, region, segment), tuple(notes)


def _first_name(*reported: str | None) -> str:
    """Return the canonical form of the first name that names anything, shortened."""
    forms = map(canonical, filter(None, reported))
    return next(shortened(form) for form in forms if not names_nothing(form))
