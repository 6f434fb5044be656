"""A snapshot of an ingest job that must hear about customers before it can be written.

The job goes on with the records behind it meanwhile. Until Redis has answered,
nothing of the cut is reported or saved: the stream waits, and nothing wrong is
shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from models.customers.journal_entry import TOUCH, from_bytes
from models.kpi.measures import DISTRIBUTION_INDEX, SET_INDEX, SUM_INDEX
from streams.engine.contracts import NotYetError, ServiceAwayError, Snapshot
from streams.ingest.customers.attribution import (
    Account,
    AttributionRules,
    as_declared,
    changed_by_last,
)
from streams.ingest.customers.settlement_progress import SettlementProgress
from streams.ingest.events.pane_aggregation import Panes, add_to_histogram

A_CALL = 1_000
"""Touches in one call: about 10 ms of Redis' time."""
ORDER_WEIGHT = 10
"""An order, which brings a log with it, takes the room of so many touches."""

_ORDER_AMOUNT = DISTRIBUTION_INDEX["order_amount"]

Entries = Sequence[tuple[bytes, bytes]]
"""Entries, each with the hash of its customer before it, in 8 bytes."""


class ChangedEntry(NamedTuple):
    """An entry that changes something, and the log of its customer up to it.

    ``log`` is in order of arrival; None if the customer has so many orders that no
    more are kept.
    """

    customer: bytes
    entry: bytes
    log: list[bytes] | None


class CustomersAwayError(ServiceAwayError):
    """The customers can't be asked."""


class Customers(Protocol):
    """Where the logs of customers are."""

    async def record(
        self, entries: Entries, *, source: str, known: bool, settled_ms: int
    ) -> list[ChangedEntry]:
        """Add entries and return those on which an order depends, each with its log.

        Args:
            entries: the entries; those that are there already are not added again.
            source: where they come from.
            known: whether entries of the source were added before: then they must be there.
            settled_ms: before this time no order comes any more.

        Raises:
            CustomersAwayError: they can't be asked, or are lost.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerContext:
    """What the jobs of a worker share: the logs, how far each job is, and the rules."""

    customers: Customers
    progress: SettlementProgress
    rules: AttributionRules


@dataclass(slots=True, kw_only=True)
class PendingCheckpoint:
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
    _noted: int = field(default=0, init=False)

    async def settle(self) -> Snapshot | None:
        """Ask for the customers of some entries and add what these change to the panes.

        Returns:
            The snapshot; None while there are entries left, to be called again.

        Raises:
            NotYetError: clicks before these orders are not settled yet.
            CustomersAwayError: the customers can't be asked; what was asked before counts.
        """
        context, progress = self.context, self.context.progress
        if self.kind == "orders" and not progress.clicks_settled(
            self.partition, event_ms=self.event_ms, appended_ms=self.appended_ms
        ):
            raise NotYetError
        call = calls(self.entries, first=self._noted)
        told = await context.customers.record(
            call,
            source=source_name(self.kind, self.partition),
            known=self.known,
            settled_ms=progress.orders_settled_ms(self.partition),
        )
        for one in told:
            changed = _changed_by(one, context.rules)
            _add_account(changed, self.panes, user=int.from_bytes(one.customer))
        self._noted += len(call)
        self.known = True
        if self._noted < len(self.entries):
            return None
        progress.settled(self.kind, self.partition, event_ms=self.event_ms, read_ms=self.read_ms)
        return self.finish()


def source_name(kind: str, partition: int) -> str:
    """Return how a source partition is called where the logs are."""
    return f"{kind}/{partition}"


def calls(entries: Entries, *, first: int) -> Entries:
    """Return the entries from ``first`` on that go into one call."""
    weight, upto = 0, first
    while upto < len(entries) and weight < A_CALL:
        weight += 1 if entries[upto][1][0] == TOUCH else ORDER_WEIGHT
        upto += 1
    return entries[first:upto]


def _add_account(account: Account, panes: Panes, *, user: int) -> None:
    """Add what a customer's entries change to the panes that it concerns."""
    for (at_ms, place, measure), units in account.sums.items():
        panes.cell(at_ms, *place).sums[SUM_INDEX[measure]] += units
    for (at_ms, place, amount), times in account.amounts.items():
        add_to_histogram(panes.cell(at_ms, *place).histograms[_ORDER_AMOUNT], amount, times)
    for at_ms, place, name in account.stays:
        panes.cell(at_ms, *place).users[SET_INDEX[name]].add(user)


def _changed_by(told: ChangedEntry, rules: AttributionRules) -> Account:
    """Return what an entry changes.

    Raises:
        CustomersAwayError: the log can't be read.
    """
    try:
        if told.log is None:
            return as_declared(from_bytes(told.entry))
        return changed_by_last([from_bytes(data) for data in told.log], rules)
    except ValueError as error:
        raise CustomersAwayError(f"{error}; run kpi-monitor customers --rebuild") from None
