"""Customers in memory instead of Redis: does what the Lua script does, without expiry."""

from __future__ import annotations

from typing import cast

from models.customers.journal_entry import HEAD, LINK, LINKED_TOUCH, TOUCH, Link, from_bytes
from models.window import DAY_MS
from streams.ingest.customers.attribution import AttributionRules
from streams.ingest.customers.pending_checkpoint import (
    ChangedEntry,
    CustomerContext,
    CustomersAwayError,
    Entries,
    Recorded,
)
from streams.ingest.customers.settlement_progress import SettlementProgress

LAST_TOUCH = AttributionRules(lookback_ms=7 * DAY_MS, model="last")


class MemoryCustomers:
    """Keeps the entries of all customers in a list, in order of arrival.

    While ``away`` is not empty, it is the reason why the store can't be reached. ``marks`` has the
    sources that have recorded entries; removing a mark simulates that Redis lost the data.
    """

    def __init__(self) -> None:
        self.away = ""
        self.marks: set[str] = set()
        self._arrived: list[tuple[bytes, bytes]] = []
        self._numbers: dict[bytes, int] = {}
        """The place of each head in ``_arrived``."""
        self._of: dict[bytes, list[int]] = {}
        """The places of each customer's entries."""
        self._others: dict[bytes, set[bytes]] = {}
        """By customer, the ids that the customer is linked to."""

    async def record(
        self, entries: Entries, *, source: str, known: bool, settled_ms: int
    ) -> Recorded:
        """Add entries that are not there yet.

        Returns:
            The given entries that a log with more than touches has, each with that log up to it.

        Raises:
            CustomersAwayError: the store is away, or lacks the mark of a known source.
        """
        del settled_ms
        if self.away:
            raise CustomersAwayError(self.away)
        if known and source not in self.marks:
            raise CustomersAwayError("lost")
        self.marks.add(source)
        changed: list[ChangedEntry] = []
        for customer, entry in entries:
            number = self._add(customer, entry)
            for owner in (customer, *self._linked_to(customer, entry)):
                log = self._log(owner, number)
                if any(from_bytes(one).kind != TOUCH for one in log):
                    changed.append(ChangedEntry(owner, entry, log))
        return Recorded(changed, 0)

    def _add(self, customer: bytes, entry: bytes) -> int:
        head = entry[: HEAD.size]
        if head not in self._numbers:
            self._numbers[head] = len(self._arrived)
            self._of.setdefault(customer, []).append(len(self._arrived))
            self._arrived.append((customer, entry))
            link = from_bytes(entry)
            if link.kind == LINK:
                self._others.setdefault(customer, set()).add(cast(Link, link.what).other)
        return self._numbers[head]

    def _linked_to(self, other: bytes, entry: bytes) -> list[bytes]:
        if from_bytes(entry).kind != TOUCH:
            return []
        return [customer for customer, others in self._others.items() if other in others]

    def _log(self, customer: bytes, upto: int) -> list[bytes]:
        numbered = [(number, self._arrived[number][1]) for number in self._of.get(customer, ())]
        for other in self._others.get(customer, ()):
            for number in self._of.get(other, ()):
                entry = self._arrived[number][1]
                if from_bytes(entry).kind == TOUCH:
                    head, body = entry[1 : HEAD.size], entry[HEAD.size :]
                    numbered.append((number, bytes([LINKED_TOUCH]) + head + other + body))
        return [entry for number, entry in sorted(numbered) if number <= upto]


def context(
    customers: MemoryCustomers | None = None, *, rules: AttributionRules = LAST_TOUCH
) -> CustomerContext:
    """Return the customer context that the jobs of a worker share."""
    return CustomerContext(
        customers=customers or MemoryCustomers(),
        progress=SettlementProgress(horizon_ms=605_000),
        rules=rules,
    )
