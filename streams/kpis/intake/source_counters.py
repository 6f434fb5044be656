"""What was counted of the sources: records, dead letters and campaigns that nobody knows."""

from __future__ import annotations

from collections.abc import Mapping

from models.aggregates.ingest_report import Report
from streams.kpis.intake.report_ledger import counts_of

UNKNOWN_SAMPLES = 20


class SourceCounters:
    """Counts by topic, and samples of unknown campaigns.

    Args:
        totals: the counts of each topic.
        unknown: the samples.
    """

    def __init__(
        self, totals: dict[str, dict[str, int]] | None = None, unknown: list[str] | None = None
    ) -> None:
        self.totals = totals or {}
        self.unknown = unknown or []

    @property
    def records(self) -> int:
        """How many records were read."""
        return sum(counts.get("records", 0) for counts in self.totals.values())

    def record(self, report: Report, *, undo: Mapping[str, int]) -> None:
        """Add what a report counted, less what it replaces."""
        totals = self.totals.setdefault(report.topic, {})
        for name, count in counts_of(report.stats).items():
            totals[name] = totals.get(name, 0) + count
        for name, count in undo.items():
            totals[name] -= count
        for sample in report.stats.unknown_samples:
            if sample not in self.unknown:
                self.unknown = [*self.unknown, sample][-UNKNOWN_SAMPLES:]
