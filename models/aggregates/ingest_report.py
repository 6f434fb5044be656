"""What ingest tells the KPI stage about one source partition.

A report is a delta: the cells of the events between two offsets of one source
partition. It is applied once, because each names the offsets it starts and
ends at and the receiver keeps the end of the last one it applied.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from models.aggregates.cell import CellWire
from models.aggregates.safe_decode import refusing
from models.scope import Facet


class SourceStats(msgspec.Struct, array_like=True):
    """What became of the records between a report's offsets.

    ``lost`` were removed from the broker before they were read.
    """

    records: int = 0
    counted: int = 0
    duplicates: int = 0
    late: int = 0
    mis_keyed: int = 0
    unknown_campaigns: int = 0
    dead_letters: dict[str, int] = {}
    unknown_samples: list[str] = []
    lost: int = 0


class FacetCell(msgspec.Struct, array_like=True, gc=False):
    """The cell of one facet, as it travels and is stored; append only."""

    campaign: str
    channel: str
    cell: CellWire
    region: str = ""
    segment: str = ""

    @property
    def facet(self) -> Facet:
        """What the cell is about."""
        return Facet(self.campaign, self.channel, self.region, self.segment)


PanesWire = dict[int, list[FacetCell]]
"""Cells by the start of their pane."""


class Report(msgspec.Struct, array_like=True, kw_only=True):
    """Progress and counts of one source partition.

    ``from_offset`` is the last offset of the report before, ``to_offset`` the
    last offset covered: the report is about offsets in (from, to]. A report
    with both equal is a heartbeat. ``read_up_to_ms`` is a broker time: all that
    was appended before it has been read. ``watermark_ms`` is the event time up
    to which the partition is then complete; ``idle`` says that it was read to
    its end and has been silent, so that it holds nobody back.
    ``last_append_ms`` is when, in the broker's time, the last record came.
    ``epoch`` grows with every opening of the source partition by a worker.
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


class Waiting(msgspec.Struct, array_like=True):
    """A source partition that can't go on, and what it waits for."""

    topic: str
    partition: int
    why: str


class Reports(msgspec.Struct, array_like=True):
    """One record of the topic of reports."""

    reports: list[Report]
    waiting: list[Waiting] = []


_encoder = msgspec.msgpack.Encoder()
_decode = refusing(msgspec.msgpack.Decoder(Reports).decode)


def encode(reports: list[Report], waiting: Sequence[Waiting] = ()) -> bytes:
    """Write reports as one record's value."""
    return _encoder.encode(Reports(reports, list(waiting)))


def decode(data: bytes) -> Reports:
    """Read the value of one record.

    Raises:
        msgspec.DecodeError: the bytes are not reports.
    """
    return _decode(data)
