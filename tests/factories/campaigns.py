"""Campaigns, their ends and changes, and a monitor that watches them."""

from __future__ import annotations

import asyncio
from typing import Any

from models.campaigns.campaign import Campaign, Ending, Stage
from models.campaigns.campaign_change import Change, Changes
from models.money.exchange_rates import Rates
from models.scope import Scope
from models.window import MINUTE_MS
from streams.broker import Broker
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.ingest.registry.reader import RegistryReader
from streams.kpis.view import Effect, Evaluation, KpiView
from tests.factories.times import at
from tests.support.offline import NOON, Path, Record, event, kpi_job


def campaign(*starts: int, name: str = "c1", ends: int | None = None) -> Campaign:
    """Return a campaign with a stage from each of these times on, in ms."""
    stages = tuple(Stage(name=f"stage {n}", starts=at(start)) for n, start in enumerate(starts))
    first = at(starts[0]) if ends is not None else None
    return Campaign(id=name, stages=stages, starts=first, ends=None if ends is None else at(ends))


def change(at_ms: int, *, name: str = "c1", number: int = 0, **told: Any) -> Change:
    """Return a change of a campaign, of its budget unless ``told`` says otherwise."""
    return Change(
        campaign=name,
        event_id=f"e{number}",
        at_ms=at_ms,
        **{"what": "budget", "from_value": "100", "to_value": "200", "who": "Li"} | told,
    )


def ending(at_ms: int, *, name: str = "c1") -> Ending:
    """Return the end of a campaign, as the registry has it."""
    return Ending(campaign=name, ended=at(at_ms))


def ended(at_ms: int) -> dict[str, Any]:
    """Return the event that ends campaign c1."""
    return event("campaign_ended", at=at_ms, event_id=f"e{at_ms}", campaign_id="c1")


def read_registry(
    *records: tuple[bytes, bytes],
    campaigns: CampaignIndex,
    changes: Changes | None = None,
    rates: Rates | None = None,
) -> None:
    """Let a registry reader apply records, given as keys and values."""
    reader = RegistryReader(
        campaigns,
        Changes() if changes is None else changes,
        Rates("CNY") if rates is None else rates,
        broker=Broker(servers="nowhere:9092"),
        topic="registry",
    )
    fetched = [Record(offset, NOON, key, value) for offset, (key, value) in enumerate(records)]
    asyncio.run(reader.take({"registry": fetched}))


class WatchedCampaigns:
    """A whole path that observes some campaigns from a time on, and what its view shows of them.

    Args:
        campaigns: the campaigns; more can be defined in `index`.
        changes: their changes.
        zone: time zone of the business day.
        from_ms: when the first event comes.
    """

    def __init__(
        self,
        *campaigns: Campaign,
        changes: tuple[Change, ...] = (),
        zone: str = "UTC",
        from_ms: int = NOON,
    ) -> None:
        self.index = CampaignIndex(campaigns)
        self.changes = Changes()
        for one in changes:
            self.changes.record(one)
        self.zone = zone
        self.path = Path(campaigns=campaigns, zone=zone, now_ms=from_ms)
        self.path.kpis = kpi_job(campaigns=self.index, changes=self.changes, zone=zone)
        self.click(from_ms, user="first")

    def click(self, time_ms: int, *, user: str, **body: Any) -> None:
        """Let a user click at a time, once it has come."""
        path = self.path
        path.now_ms = max(path.now_ms, time_ms)
        name = f"{user}-{time_ms}"
        path.feed([event("click", at=time_ms, event_id=name, user_id=user, **body)])

    def view(self, until_ms: int) -> KpiView:
        """Let time pass until then and return the view."""
        if until_ms > self.path.now_ms:
            self.click(until_ms, user="nobody", campaign_id=None)  # the source is not silent
        for _ in range(4):
            self.path.report()
        assert self.path.kpis.view is not None
        return self.path.kpis.view

    def stages(self, until_ms: int) -> dict[int, Evaluation]:
        """Let time pass until then and return the stages by their starts."""
        return {one.start_ms: one for one in self.view(until_ms).stages}

    def clicks(self, until_ms: int, *, name: str = "c1") -> dict[int, float]:
        """Let time pass until then and return the clicks of a campaign's stages."""
        return {
            start: one.values[Scope("campaign", name)]["clicks"].value
            for start, one in self.stages(until_ms).items()
            if Scope("campaign", name) in one.values
        }

    def effects(self, until_ms: int) -> list[Effect]:
        """Let time pass until then and return the effects of changes."""
        return list(self.view(until_ms).effects)

    def clicks_beside_changes(
        self, until_ms: int
    ) -> list[tuple[int, int, float | None, float | None]]:
        """Return moments of changes, lengths in minutes, and the clicks before and after."""
        return [
            (
                one.moment_ms,
                one.length_ms // MINUTE_MS,
                one.before["clicks"].value if one.before else None,
                one.after["clicks"].value if one.after else None,
            )
            for one in self.effects(until_ms)
        ]

    def restart(self) -> None:
        """Open the KPI stage again from its last checkpoint."""
        self.path.kpis = kpi_job(
            campaigns=self.index, changes=self.changes, zone=self.zone, saved=self.path.saved
        )
