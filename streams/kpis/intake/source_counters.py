"""Counters of source topics: records, dead letters, and samples of unknown names."""

from __future__ import annotations

from collections.abc import Mapping

from models.aggregates.ingest_report import Report
from streams.kpis.intake.report_ledger import counts_of

SAMPLES_SHOWN = 20
"""The number of unknown names of each kind that are kept: the newest ones."""


class SourceCounters:
    """Counts of all records by topic, and names that nobody defined.

    Args:
        totals: saved counts by topic and name (`counts_of`).
        unknown: saved unknown names by kind, the newest last.
    """

    def __init__(
        self,
        totals: dict[str, dict[str, int]] | None = None,
        unknown: dict[str, list[str]] | None = None,
    ) -> None:
        self.totals = totals or {}
        self.unknown = unknown or {}

    @property
    def records(self) -> int:
        """The number of records read of all topics."""
        return sum(counts.get("records", 0) for counts in self.totals.values())

    def count(self, topic: str, name: str) -> None:
        """Add one to a count of a topic."""
        totals = self.totals.setdefault(topic, {})
        totals[name] = totals.get(name, 0) + 1

    def record(self, report: Report, *, retracted: Mapping[str, int]) -> None:
        """Add the counts of a report, and subtract those of a report that it replaces.

        Args:
            report: the applied report.
            retracted: the counts to subtract (`Ruling.retracted_counts`).
        """
        totals = self.totals.setdefault(report.topic, {})
        for name, count in counts_of(report.stats).items():
            totals[name] = totals.get(name, 0) + count
        for name, count in retracted.items():
            totals[name] -= count
        for kind, samples in report.stats.unknown_samples.items():
            known = self.unknown.get(kind, [])
            new = [sample for sample in samples if sample not in known]
            self.unknown[kind] = [*known, *new][-SAMPLES_SHOWN:]
