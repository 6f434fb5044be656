"""Customers without Redis: what the script does, in memory, and without forgetting."""

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
    """Logs in a dictionary; away while ``away`` says why, and lost where ``marks`` has none."""

    def __init__(self) -> None:
        self.logs: dict[bytes, list[bytes]] = {}
        self.away = ""
        self.marks: set[str] = set()

    async def record(
        self, entries: Entries, *, source: str, known: bool, settled_ms: int
    ) -> list[ChangedEntry]:
        """Add entries that are not there yet; return those of logs with an order or a refund."""
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
    """Return what the jobs of a worker share."""
    return CustomerContext(
        customers=customers or MemoryCustomers(),
        progress=SettlementProgress(horizon_ms=605_000),
        rules=rules,
    )
