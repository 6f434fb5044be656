"""A snapshot of an ingest job that must hear about customers before it can be written.

The job goes on with the records behind it meanwhile. Until Redis has answered,
nothing of the cut is reported or saved: the stream waits, and nothing wrong is
shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.customers import from_bytes
from streams.engine.stage import NotYetError, OutsideAwayError, Snapshot
from streams.ingest.attribution import AttributionRules, changed_by_last
from streams.ingest.panes import Panes, book
from streams.ingest.progress import Progress

Entries = Sequence[tuple[bytes, bytes]]
"""Entries, each with the hash of its customer before it, in 8 bytes."""
Logs = list[tuple[bytes, list[bytes]]]
"""Logs of customers, each up to the entry in question."""


class CustomersAwayError(OutsideAwayError):
    """The customers can't be asked."""


class Customers(Protocol):
    """Where the logs of customers are."""

    async def note(self, entries: Entries, *, known: bool, settled_ms: int) -> Logs:
        """Add entries and return the logs of those that an order depends on, up to them.

        Args:
            entries: the entries; those that are there already are not added again.
            known: whether entries were added before: then the logs must be there.
            settled_ms: before this time no order comes any more.

        Raises:
            CustomersAwayError: they can't be asked, or are lost.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerContext:
    """What the jobs of a worker share: the logs, how far each job is, and the rules."""

    customers: Customers
    progress: Progress
    rules: AttributionRules


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsettledCut:
    """The entries since the last snapshot, and what is to become of them.

    ``event_ms`` is the newest event time that was read, ``appended_ms`` the
    broker's time of the last record, ``read_ms`` that before which all were read,
    ``known`` whether entries were added before. ``finish`` makes the snapshot.
    """

    context: CustomerContext
    kind: str
    partition: int
    entries: Entries
    panes: Panes
    event_ms: int
    appended_ms: int
    read_ms: int
    known: bool
    finish: Callable[[], Snapshot]

    async def settle(self) -> Snapshot:
        """Ask for the customers and add what the entries change to the panes.

        Raises:
            NotYetError: clicks before these orders are not settled yet.
            CustomersAwayError: the customers can't be asked; the panes are as they were.
        """
        progress, rules = self.context.progress, self.context.rules
        if self.kind == "orders" and not progress.clicks_settled(
            self.partition, event_ms=self.event_ms, appended_ms=self.appended_ms
        ):
            raise NotYetError
        logs = await self.context.customers.note(
            self.entries,
            known=self.known,
            settled_ms=progress.orders_settled_ms(self.partition),
        )
        for customer, log in logs:
            changed = changed_by_last([from_bytes(data) for data in log], rules)
            book(changed, self.panes, user=int.from_bytes(customer))
        progress.settled(self.kind, self.partition, event_ms=self.event_ms, read_ms=self.read_ms)
        return self.finish()
