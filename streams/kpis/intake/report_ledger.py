"""Applies every report once.

Each report covers the offsets (from, to] of one source partition, so a report
that was sent again is known by where it ends. A worker that was taken for dead
and came back may have reported offsets that its successor reports too: the
successor's epoch is higher and its report starts where the other did, so
the other's sums are taken back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

import msgspec

from models.aggregates.ingest_report import PanesWire, Report, SourceStats


class Verdict(Enum):
    """What becomes of a report."""

    HEARTBEAT = auto()
    APPLIED = auto()
    REPLACED = auto()
    """Applied, after the report that it overlaps was taken back."""
    REPEATED = auto()
    OVERLAPPING = auto()
    """Refused: it can't be split from what was applied before."""


def counts_of(stats: SourceStats) -> dict[str, int]:
    """Return a report's counts by name; dead letters by ``dead_letters/reason``."""
    counts = {
        "records": stats.records,
        "counted": stats.counted,
        "duplicates": stats.duplicates,
        "late": stats.late,
        "mis_keyed": stats.mis_keyed,
        "unknown_campaigns": stats.unknown_campaigns,
    }
    for reason, count in stats.dead_letters.items():
        counts[f"dead_letters/{reason}"] = count
    return counts


class Entry(msgspec.Struct, array_like=True):
    """The last report that was applied of one source partition."""

    epoch: int
    from_offset: int
    to_offset: int
    panes: PanesWire
    counts: dict[str, int]


class _EntryHead(msgspec.Struct, array_like=True):
    """The head of a written `Entry`; the rest is skipped."""

    epoch: int
    from_offset: int
    to_offset: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode
_decode_head = msgspec.msgpack.Decoder(_EntryHead).decode


@dataclass(slots=True)
class _Last:
    """The last report of a source partition, whose panes and counts are seldom asked for."""

    epoch: int
    from_offset: int
    to_offset: int
    written: bytes

    @classmethod
    def of(cls, written: bytes) -> _Last:
        """Take a written entry, of which only the head is read."""
        head = _decode_head(written)
        return cls(head.epoch, head.from_offset, head.to_offset, written)

    @property
    def entry(self) -> Entry:
        """The entry as it was applied."""
        return _decode(self.written)


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict, and the panes and counts that must be taken back first.

    ``missing`` says that reports between the last one and this were lost.
    """

    verdict: Verdict
    undo: PanesWire
    undo_counts: dict[str, int]
    missing: bool = False


class Ledger:
    """The last applied report of every source partition."""

    def __init__(self, entries: Iterable[tuple[str, int, msgspec.Raw]] = ()) -> None:
        self._last = {
            (topic, partition): _Last.of(bytes(entry)) for topic, partition, entry in entries
        }

    def entries(self) -> list[tuple[str, int, msgspec.Raw]]:
        """Return what is to be saved."""
        return [
            (topic, partition, msgspec.Raw(last.written))
            for (topic, partition), last in self._last.items()
        ]

    def rule(self, report: Report) -> Ruling:
        """Decide on a report and, if it is to be applied, note it."""
        key = (report.topic, report.partition)
        last = self._last.get(key)
        if report.from_offset == report.to_offset:
            return self._beat(report, last)
        if last is None:
            return self._record(key, report, Ruling(Verdict.APPLIED, {}, {}))
        if (
            report.epoch > last.epoch
            and report.from_offset == last.from_offset
            and report.to_offset != last.to_offset
        ):
            replaced = last.entry
            undone = Ruling(Verdict.REPLACED, replaced.panes, replaced.counts)
            return self._record(key, report, undone)
        if report.to_offset <= last.to_offset:
            return Ruling(Verdict.REPEATED, {}, {})
        stale = report.epoch < last.epoch and report.from_offset != last.to_offset
        if stale or report.from_offset < last.to_offset:
            return Ruling(Verdict.OVERLAPPING, {}, {})
        missing = report.from_offset > last.to_offset
        return self._record(key, report, Ruling(Verdict.APPLIED, {}, {}, missing))

    def _beat(self, report: Report, last: _Last | None) -> Ruling:
        """Rule on a heartbeat: one that is past what was applied shows that reports are missing."""
        missing = (
            last is not None and report.epoch >= last.epoch and report.from_offset > last.to_offset
        )
        if missing and last is not None:
            # Told once; what comes next follows on from here.
            key = (report.topic, report.partition)
            entry = msgspec.structs.replace(last.entry, to_offset=report.from_offset)
            self._last[key] = _Last.of(_encode(entry))
        return Ruling(Verdict.HEARTBEAT, {}, {}, missing)

    def _record(self, key: tuple[str, int], report: Report, ruling: Ruling) -> Ruling:
        entry = Entry(
            report.epoch,
            report.from_offset,
            report.to_offset,
            report.panes,
            counts_of(report.stats),
        )
        self._last[key] = _Last.of(_encode(entry))
        return ruling
