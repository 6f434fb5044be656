"""Reports that ingest sends to the KPI stage.

A report is a delta: the cells and counts of the events between two offsets of one source
partition. The KPI stage keeps the end of the last report that it applied, so that it applies
each one once.

Example: after (41, 51] is applied, the report (51, 60] is next. If (41, 51] is sent again, it is
ignored. (60, 60] is a heartbeat: it has no events, and only moves the watermark.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from models.aggregates.cell import CellWire
from models.aggregates.period_cost import PeriodCost
from models.aggregates.safe_decode import refusing
from models.kpi import measures
from models.scope import Facet

UNKNOWN_SAMPLES = 5
"""The number of unknown names of each kind that a report has as samples."""


class SourceStats(msgspec.Struct, array_like=True):
    """Counts of the records between a report's offsets.

    ``records`` is the number read, of which ``counted`` are neither duplicates nor dead letters.
    ``ends`` are statements that history has ended (`models.events.CompleteThrough`), which are none
    of these.
    ``dead_letters`` are by reason. ``unknown`` counts the events with a name that nobody defined,
    by kind of name (``campaign``, ``channel``, …), and ``unknown_samples`` are some of these names.
    ``lost`` records were removed from the broker before they were read. ``renamed`` counts the
    events with a name that is shown otherwise than it was reported, by ``<kind>/<change>``
    (`models.names.Change`). ``guests`` are events without a user. ``rounded`` events have an amount
    or a value of more than 4 decimals, which was rounded. ``not_kept`` events were not taken by the
    full logs of their customers.
    """

    records: int = 0
    counted: int = 0
    duplicates: int = 0
    late: int = 0
    mis_keyed: int = 0
    unknown: dict[str, int] = {}
    dead_letters: dict[str, int] = {}
    unknown_samples: dict[str, list[str]] = {}
    lost: int = 0
    renamed: dict[str, int] = {}
    guests: int = 0
    rounded: int = 0
    not_kept: int = 0
    ends: int = 0


def count_renamed(stats: SourceStats, kind: str, change: str) -> None:
    """Count an event with a name of a kind that is shown otherwise than it was reported."""
    key = f"{kind}/{change}"
    stats.renamed[key] = stats.renamed.get(key, 0) + 1


def count_unknown(stats: SourceStats, kind: str, name: str) -> None:
    """Count an event with an unknown name of a kind, and keep the name if there are few samples."""
    stats.unknown[kind] = stats.unknown.get(kind, 0) + 1
    samples = stats.unknown_samples.setdefault(kind, [])
    if len(samples) < UNKNOWN_SAMPLES and name not in samples:
        samples.append(name)


class FacetCell(msgspec.Struct, array_like=True, gc=False):
    """The cell of one facet, as it is sent and stored. Fields may only be appended."""

    campaign: str
    channel: str
    cell: CellWire
    region: str = ""
    segment: str = ""

    @property
    def facet(self) -> Facet:
        """The facet of the cell."""
        return Facet(self.campaign, self.channel, self.region, self.segment)


PanesWire = dict[int, list[FacetCell]]
"""Cells by the start of their pane, in ms."""


class Report(msgspec.Struct, array_like=True, kw_only=True):
    """Cells, counts and progress of one source partition.

    Args:
        topic: the source topic.
        partition: the number of the source partition.
        epoch: the number of the job's opening; each opening by a worker has a higher one.
        from_offset: the last offset of the report before.
        to_offset: the last offset that is covered: the report is about (from, to]. If both are
            equal, it is a heartbeat.
        read_up_to_ms: broker time in ms before which all appended records have been read.
        watermark_ms: event time in ms up to which the partition is then complete.
        idle: whether the partition is read to its end and has been silent. It then does not
            delay the frontier.
        behind: the number of records that wait in the broker.
        stats: the counts of the records.
        panes: the cells.
        last_append_ms: broker time in ms of the last record.
        costs: costs that were reported for a period. They are not in the cells.
    """

    topic: str
    partition: int
    epoch: int
    from_offset: int
    to_offset: int
    read_up_to_ms: int
    watermark_ms: int
    idle: bool
    behind: int = 0
    stats: SourceStats
    panes: PanesWire = {}
    last_append_ms: int = 0
    costs: list[PeriodCost] = []


class Waiting(msgspec.Struct, array_like=True):
    """A source partition that can't go on, and the reason."""

    topic: str
    partition: int
    why: str


class Reports(msgspec.Struct, array_like=True):
    """The value of one record in the topic of reports.

    ``measures_version`` is the version of the measures in the cells, and ``custom`` has the names
    of the custom sums that were declared when the cells were made.
    """

    reports: list[Report]
    waiting: list[Waiting] = []
    measures_version: int = measures.FIRST_VERSION
    custom: tuple[str, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decode = refusing(msgspec.msgpack.Decoder(Reports).decode)


def encode(
    reports: list[Report], waiting: Sequence[Waiting] = (), *, custom: tuple[str, ...] = ()
) -> bytes:
    """Encode reports as the value of one record.

    Args:
        reports: the reports.
        waiting: source partitions that can't go on.
        custom: the names of the custom sums that are declared.
    """
    return _encoder.encode(Reports(reports, list(waiting), measures.VERSION, custom))


def decode(data: bytes) -> Reports:
    """Decode the value of one record.

    Raises:
        msgspec.DecodeError: the bytes are not reports.
    """
    return _decode(data)
