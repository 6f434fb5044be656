"""Customers in memory instead of Redis: does what the Lua script does, without expiry."""

from __future__ import annotations

from models.customers.journal_entry import HEAD, from_bytes
from models.window import DAY_MS
from streams.ingest.customers.attribution import AttributionRules
from streams.ingest.customers.pending_checkpoint import (
    ChangedEntry,
    CustomerContext,
    CustomersAwayError,
    Entries,
)
from streams.ingest.customers.settlement_progress import SettlementProgress

LAST_TOUCH = AttributionRules(lookback_ms=7 * DAY_MS, model="last")


class MemoryCustomers:
    """Keeps the customers' logs in a dictionary.

    While ``away`` is not empty, it is the reason why the store can't be reached. ``marks`` has the
    sources that have recorded entries; removing a mark simulates that Redis lost the data.
    """

    def __init__(self) -> None:
        self.logs: dict[bytes, list[bytes]] = {}
        self.away = ""
        self.marks: set[str] = set()

    async def record(
        self, entries: Entries, *, source: str, known: bool, settled_ms: int
    ) -> list[ChangedEntry]:
        """Add entries that are not there yet.

        Returns:
            The given entries whose log has an order or a refund up to them, each with that part of
            the log.

        Raises:
            CustomersAwayError: the store is away, or lacks the mark of a known source.
        """
        del settled_ms
        if self.away:
            raise CustomersAwayError(self.away)
        if known and source not in self.marks:
            raise CustomersAwayError("lost")
        self.marks.add(source)
        told: list[ChangedEntry] = []
        for customer, entry in entries:
            log = self.logs.setdefault(customer, [])
            heads = [known[: HEAD.size] for known in log]
            if entry[: HEAD.size] not in heads:
                log.append(entry)
                heads.append(entry[: HEAD.size])
            upto = log[: heads.index(entry[: HEAD.size]) + 1]
            if any(from_bytes(known).kind for known in upto):
                told.append(ChangedEntry(customer, entry, upto))
        return told


def context(
    customers: MemoryCustomers | None = None, *, rules: AttributionRules = LAST_TOUCH
) -> CustomerContext:
    """Return the customer context that the jobs of a worker share."""
    return CustomerContext(
        customers=customers or MemoryCustomers(),
        progress=SettlementProgress(horizon_ms=605_000),
        rules=rules,
    )
