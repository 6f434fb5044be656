"""Pending checkpoint: a snapshot of an ingest job that waits for answers from Redis.

The job goes on with later records meanwhile. Until Redis has answered for all entries, nothing
of the checkpoint is reported or saved, so that no wrong number is shown.

Entries are sent in calls of limited size, one for each `PendingCheckpoint.settle`. A touch
weighs 1, an order or a refund 10, and a call ends at a weight of 1,000.

Example: a checkpoint of 2,500 clicks is settled in three calls.

    settle    entries 0 to 999 are sent; returns None
    settle    1,000 to 1,999; Redis returns one log: a click that is older than an order of its
              customer. The difference that it makes is added to the panes. Returns None
    settle    2,000 to 2,499; returns the snapshot, whose report holds the panes

If Redis fails in the second call, `settle` raises, and the next one repeats entries 1,000 to
1,999. An entry that is in its log already is not added twice, and its log is returned again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from models.aggregates.ingest_report import SourceStats
from models.customers.journal_entry import TOUCH, from_bytes
from models.events import SourceKind
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
"""The weight of one call, in touches: about 10 ms of Redis' time."""
ORDER_WEIGHT = 10
"""The weight of an order or a refund, in touches: Redis returns its customer's log."""

_ORDER_AMOUNT = DISTRIBUTION_INDEX["order_amount"]

Entries = Sequence[tuple[bytes, bytes]]
"""Pairs of the hash of a customer, 8 bytes, and an entry of its log."""


class ChangedEntry(NamedTuple):
    """An entry that changes what a customer's log counts for, and this log up to the entry.

    ``customer`` is the hash of the customer: for a click of an id that customers are linked to, of
    each of these. ``log`` is in order of arrival and ends with the entry. It is None if the entry
    was not kept because the customer has too many orders.
    """

    customer: bytes
    entry: bytes
    log: list[bytes] | None


class Recorded(NamedTuple):
    """The entries that change what is counted, and how many others full logs did not take."""

    changed: list[ChangedEntry]
    refused: int


class CustomersAwayError(ServiceAwayError):
    """Redis does not answer, refuses, or has lost the logs of customers."""


class Customers(Protocol):
    """The logs of customers."""

    async def record(
        self, entries: Entries, *, source: str, known: bool, settled_ms: int
    ) -> Recorded:
        """Add entries and return those that change what is counted, each with its log.

        Args:
            entries: the entries; one that is in its log already is not added again.
            source: the name of the source partition that they come from.
            known: whether entries of the source were added before; then they must still be there.
            settled_ms: event time in ms before which no more orders come; 0 if unknown.

        Raises:
            CustomersAwayError: the logs can't be reached, or are lost.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerContext:
    """Shared by the jobs of a worker: the logs, the progress of each job, and the rules."""

    customers: Customers
    progress: SettlementProgress
    rules: AttributionRules


@dataclass(slots=True, kw_only=True)
class PendingCheckpoint:
    """A snapshot whose entries must be settled before it can be written.

    Args:
        context: the logs, the progress and the rules.
        kind: ``clicks`` or ``orders``.
        partition: the number of the source partition.
        entries: the entries since the last snapshot.
        panes: the panes of this snapshot; what the entries change is added to them.
        stats: the counts of this snapshot; entries that full logs did not take are added to them.
        event_ms: the newest event time that was read, 0 without any.
        appended_ms: broker time of the last record.
        read_ms: broker time before which all records were read.
        known: whether entries of this source were sent to Redis before.
        finish: makes the snapshot.
    """

    context: CustomerContext
    kind: SourceKind
    partition: int
    entries: Entries
    panes: Panes
    stats: SourceStats
    event_ms: int
    appended_ms: int
    read_ms: int
    known: bool
    finish: Callable[[], Snapshot]
    _noted: int = field(default=0, init=False)

    async def settle(self) -> Snapshot | None:
        """Send the next entries to the logs and add what they change to the panes.

        Returns:
            The snapshot; None while entries are left: call it again.

        Raises:
            NotYetError: clicks before these orders are not settled yet.
            CustomersAwayError: the logs can't be reached. Earlier calls stay settled.
        """
        context, progress = self.context, self.context.progress
        if self.kind == "orders" and not progress.clicks_settled(
            self.partition, event_ms=self.event_ms, appended_ms=self.appended_ms
        ):
            raise NotYetError
        call = calls(self.entries, first=self._noted)
        recorded = await context.customers.record(
            call,
            source=source_name(self.kind, self.partition),
            known=self.known,
            settled_ms=progress.orders_settled_ms(self.partition),
        )
        # All of them before any is added: a log that can't be read makes the whole call repeat.
        changes = [(one.customer, _changed_by(one, context.rules)) for one in recorded.changed]
        for customer, changed in changes:
            _add_account(changed, self.panes, user=int.from_bytes(customer))
        self.stats.not_kept += recorded.refused
        self._noted += len(call)
        self.known = True
        if self._noted < len(self.entries):
            return None
        progress.settled(self.kind, self.partition, event_ms=self.event_ms, read_ms=self.read_ms)
        return self.finish()


def source_name(kind: SourceKind, partition: int) -> str:
    """Return the name of a source partition in Redis, such as ``clicks/2``."""
    return f"{kind}/{partition}"


def calls(entries: Entries, *, first: int) -> Entries:
    """Return the entries of one call, from index ``first`` on; empty at the end."""
    weight, upto = 0, first
    while upto < len(entries) and weight < A_CALL:
        weight += 1 if entries[upto][1][0] == TOUCH else ORDER_WEIGHT
        upto += 1
    return entries[first:upto]


def _add_account(account: Account, panes: Panes, *, user: int) -> None:
    """Add the sums, order amounts and users of an account to the panes of their times."""
    for (at_ms, place, measure), units in account.sums.items():
        panes.cell(at_ms, place).sums[SUM_INDEX[measure]] += units
    for (at_ms, place, amount), times in account.amounts.items():
        add_to_histogram(panes.cell(at_ms, place).histograms[_ORDER_AMOUNT], amount, times)
    for at_ms, place, name in account.stays:
        panes.cell(at_ms, place).users[SET_INDEX[name]].add(user)


def _changed_by(changed: ChangedEntry, rules: AttributionRules) -> Account:
    """Return the difference that an entry makes to what is counted.

    Raises:
        CustomersAwayError: the log can't be read.
    """
    try:
        if changed.log is None:
            return as_declared(from_bytes(changed.entry))
        return changed_by_last([from_bytes(data) for data in changed.log], rules)
    except ValueError as error:
        raise CustomersAwayError(f"{error}; run kpi-monitor customers --rebuild") from None
