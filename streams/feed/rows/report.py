"""Report about the rows of a file: how many were read, became events, or were refused, and why.

Every row is counted in exactly one of `FeedReport.mapped_rows`, ``left_out``, ``unmatched`` and
``refused``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SHOWN_ROWS = 3
"""Refused rows that are shown of each reason."""
SHOWN_REASONS = 10


@dataclass(slots=True)
class Refusals:
    """The refused rows of one reason."""

    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)
    """Lines and details of the first rows."""

    def add(self, line: int, why: str) -> None:
        """Count a row."""
        self.count += 1
        if len(self.first) < SHOWN_ROWS:
            self.first.append((line, why))


@dataclass(slots=True)
class FeedReport:
    """Counts of the rows of a file.

    Args:
        path: the file.
        refused_path: the file of the refused rows.
    """

    path: Path
    refused_path: Path
    rows: int = 0
    mapped_rows: int = 0
    """Rows that became one event or several."""
    several: int = 0
    """Rows that became more than one."""
    events: Counter[str] = field(default_factory=Counter)
    """Events by type."""
    by_entry: Counter[int] = field(default_factory=Counter)
    """Events by the place of their entry in the mapping."""
    left_out: int = 0
    unmatched: int = 0
    first_unmatched: int = 0
    """Line of the first row that matched no entry."""
    refusals: dict[str, Refusals] = field(default_factory=dict)
    """Refused rows by reason."""
    out_of_order: int = 0
    """Events that were older than one before them."""
    notes: list[str] = field(default_factory=list)
    """Notes on what is probably not intended."""

    @property
    def refused(self) -> int:
        """The number of refused rows."""
        return sum(one.count for one in self.refusals.values())

    def add(self, entries: Sequence[tuple[int, str]], count: int) -> None:
        """Count rows that became an event of each of some entries.

        Args:
            entries: the places of the entries in the mapping, and their types of event.
            count: the number of rows.
        """
        self.mapped_rows += count
        self.several += count if len(entries) > 1 else 0
        for place, name in entries:
            self.by_entry[place] += count
            self.events[name] += count

    def refuse(self, line: int, reason: str, why: str) -> None:
        """Count a refused row."""
        self.refusals.setdefault(reason, Refusals()).add(line, why)

    def lines(self) -> Iterator[str]:
        """Yield the report as lines of text."""
        by_type = ", ".join(f"{count:,} {name}" for name, count in self.events.most_common())
        yield f"{self.path}: {counted(self.rows, 'row')}"
        yield f"  {counted(self.events.total(), 'event')}" + (f": {by_type}" if by_type else "")
        if self.several:
            yield f"  {counted(self.several, 'row')} gave several events"
        if self.left_out:
            yield f"  {counted(self.left_out, 'row')} left out by leave_out"
        if self.unmatched:
            yield (
                f"  {counted(self.unmatched, 'row')} matched no entry of events; "
                f"the first is line {self.first_unmatched}"
            )
        if self.out_of_order:
            yield (
                f"  {counted(self.out_of_order, 'event')} not in order of time in the file; all "
                "are sent in it"
            )
        for note in self.notes:
            yield f"  note: {note}"
        yield from self._refused_lines()

    def _refused_lines(self) -> Iterator[str]:
        if not self.refused:
            return
        yield f"  {counted(self.refused, 'row')} refused, and kept in {self.refused_path}:"
        ordered = sorted(self.refusals.items(), key=lambda one: -one[1].count)
        for reason, rows in ordered[:SHOWN_REASONS]:
            yield f"    {counted(rows.count, 'row')}: {reason}"
            for line, why in rows.first:
                yield f"      line {line}: {why}"
        if len(ordered) > SHOWN_REASONS:
            yield f"    and {counted(len(ordered) - SHOWN_REASONS, 'reason')} more"


def counted(number: int, thing: str) -> str:
    """Return a number of things: ``1 row``, ``2,000 rows``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
