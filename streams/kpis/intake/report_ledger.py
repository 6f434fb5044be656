"""Report ledger: applies every report exactly once.

A report covers the offsets (from, to] of one source partition. The ledger keeps the last applied
report of each partition, and recognises a repeated report by its end. A worker that was taken for
dead may have reported offsets that its successor reports too. The successor has a higher epoch and
starts from the same checkpoint, so its report replaces the other one, which is retracted.

Example: worker A is taken for dead with its head at 41, and B succeeds it from there. A still
writes its next head and reports (41, 51].

    worker  epoch  report    verdict
    A       3      (41, 51]  APPLIED
    B       4      (41, 49]  REPLACED     A's cells are retracted, B's are added
    B       4      (41, 49]  REPEATED     sent again: ignored
    A       3      (51, 60]  OVERLAPPING  A wakes up: older epoch, does not follow on 49: refused
    B       4      (49, 60]  APPLIED
    B       4      (65, 70]  APPLIED      and `missing`: the report of (60, 65] was lost
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

import msgspec

from models.aggregates.ingest_report import PanesWire, Report, SourceStats


class Verdict(Enum):
    """The treatment of a report."""

    HEARTBEAT = auto()
    """Covers no offsets; it has only the progress of the partition."""
    APPLIED = auto()
    """To be added."""
    REPLACED = auto()
    """To be added, after the report that it replaces is retracted."""
    REPEATED = auto()
    """Ignored: the offsets up to its end were applied already."""
    OVERLAPPING = auto()
    """Refused: it overlaps applied offsets in part, or an older epoch does not follow on them."""


def counts_of(stats: SourceStats) -> dict[str, int]:
    """Return a report's counts by name.

    Those of dead letters are ``dead_letters/<reason>``, those of unknown names ``unknown/<kind>``,
    those of names that are shown otherwise ``renamed/<kind>/<change>``.
    """
    counts = {
        "records": stats.records,
        "counted": stats.counted,
        "duplicates": stats.duplicates,
        "late": stats.late,
        "mis_keyed": stats.mis_keyed,
        "guests": stats.guests,
        "rounded": stats.rounded,
        "not_kept": stats.not_kept,
    }
    for reason, count in stats.dead_letters.items():
        counts[f"dead_letters/{reason}"] = count
    for kind, count in stats.unknown.items():
        counts[f"unknown/{kind}"] = count
    for kind_and_change, count in stats.renamed.items():
        counts[f"renamed/{kind_and_change}"] = count
    return counts


class Entry(msgspec.Struct, array_like=True):
    """The last applied report of one source partition, as it is saved."""

    epoch: int
    from_offset: int
    to_offset: int
    panes: PanesWire
    counts: dict[str, int]


class _EntryHead(msgspec.Struct, array_like=True):
    """The first fields of an encoded `Entry`; the others are not decoded."""

    epoch: int
    from_offset: int
    to_offset: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode
_decode_head = msgspec.msgpack.Decoder(_EntryHead).decode


@dataclass(slots=True)
class _Last:
    """The last applied report of a source partition.

    It is kept encoded: its panes and counts are needed only if the report is replaced.
    """

    epoch: int
    from_offset: int
    to_offset: int
    written: bytes

    @classmethod
    def of(cls, written: bytes) -> _Last:
        """Wrap an encoded entry, of which only the first fields are decoded."""
        head = _decode_head(written)
        return cls(head.epoch, head.from_offset, head.to_offset, written)

    @property
    def entry(self) -> Entry:
        """The whole entry, decoded."""
        return _decode(self.written)


@dataclass(frozen=True, slots=True)
class Ruling:
    """The ledger's decision on a report.

    Args:
        verdict: how the report is treated.
        retracted: cells to retract before the report is added, by the start of their pane.
        retracted_counts: counts to subtract, by name.
        missing: whether reports between the last applied one and this one were lost.
    """

    verdict: Verdict
    retracted: PanesWire
    retracted_counts: dict[str, int]
    missing: bool = False


class Ledger:
    """The last applied report of each source partition.

    Args:
        entries: what `entries` returned when the state was saved.
    """

    def __init__(self, entries: Iterable[tuple[str, int, msgspec.Raw]] = ()) -> None:
        self._last = {
            (topic, partition): _Last.of(bytes(entry)) for topic, partition, entry in entries
        }

    def entries(self) -> list[tuple[str, int, msgspec.Raw]]:
        """Return the entries to be saved: topic, partition, and encoded `Entry`."""
        return [
            (topic, partition, msgspec.Raw(last.written))
            for (topic, partition), last in self._last.items()
        ]

    def rule(self, report: Report) -> Ruling:
        """Decide how a report is treated; record it as the last one if it is to be applied."""
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
            replacing = Ruling(Verdict.REPLACED, replaced.panes, replaced.counts)
            return self._record(key, report, replacing)
        if report.to_offset <= last.to_offset:
            return Ruling(Verdict.REPEATED, {}, {})
        stale = report.epoch < last.epoch and report.from_offset != last.to_offset
        if stale or report.from_offset < last.to_offset:
            return Ruling(Verdict.OVERLAPPING, {}, {})
        missing = report.from_offset > last.to_offset
        return self._record(key, report, Ruling(Verdict.APPLIED, {}, {}, missing))

    def _beat(self, report: Report, last: _Last | None) -> Ruling:
        """Rule on a heartbeat. If it is ahead of the last applied offset, reports were lost."""
        missing = (
            last is not None and report.epoch >= last.epoch and report.from_offset > last.to_offset
        )
        if missing and last is not None:
            # Reported once: the next report follows on from this offset.
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
