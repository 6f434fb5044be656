"""Files that are fed together: their events are merged by time, so that topics stay in step.

Example: clicks.csv has events at 10:00 and 12:00, orders.csv at 11:00 and 13:00. They are sent in
the order 10:00, 11:00, 12:00, 13:00, so the monitor does not read the last click before the first
order.

Each file is sorted on its own, in bounded memory; one event of each is held while they are merged.
The ids of equal events are numbered in each file, so a row that two files have is one event.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from models.campaigns.campaign import Campaign
from models.events import KIND_OF_TYPE, SourceKind
from streams.feed.events.mapped_file import MappedFile
from streams.feed.rows.row_mapper import MappedEvent


class NamedEvent(NamedTuple):
    """An event with its id.

    Args:
        file: the name of its file; empty if it is the only one.
        event: the event.
    """

    file: str
    event: MappedEvent


class FileSet:
    """Files that were read, to be sent together.

    Args:
        path: the file that stands for all of them in messages: the only one, or the project file.
        files: the files.
        campaigns: campaigns to define beside those of the mappings.
        campaigns_path: the file that they are from; None without one.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[MappedFile],
        *,
        campaigns: Sequence[Campaign] = (),
        campaigns_path: Path | None = None,
    ) -> None:
        self.path = path
        self.files = tuple(files)
        of_mappings = (one for file in files for one in file.mapping.campaigns)
        self.campaigns: tuple[Campaign, ...] = (*campaigns, *of_mappings)
        """The campaigns to define before the first event."""
        given = [part for file in files for part in (file.path, file.mapping_path)]
        self.inputs = (*given, *(() if campaigns_path is None else (campaigns_path,)))
        """All files on which the events and campaigns depend."""

    def __len__(self) -> int:
        """Return the number of events."""
        return sum(len(file.sorter) for file in self.files)

    @property
    def newest_by_kind(self) -> dict[SourceKind, int]:
        """The time, in ms, of the last event of the files with events of each kind of topic.

        Example: a log of clicks and orders ends with a click of 18:07, so it has all orders up to
        18:07, too.
        """
        newest: dict[SourceKind, int] = {}
        for file in self.files:
            last_ms = file.sorter.newest_ms
            for kind in {KIND_OF_TYPE[name] for name in file.report.events}:
                if last_ms is not None:
                    newest[kind] = max(last_ms, newest.get(kind, last_ms))
        return newest

    @property
    def refused(self) -> int:
        """The number of refused rows."""
        return sum(file.report.refused for file in self.files)

    def events(self) -> Iterator[MappedEvent]:
        """Yield the events of all files in the order of their times; the same each time."""
        parts = [file.sorter.events() for file in self.files]
        return parts[0] if len(parts) == 1 else heapq.merge(*parts, key=attrgetter("time_ms"))

    def named_events(self) -> Iterator[NamedEvent]:
        """Yield the events in the same order, with the names of their files."""
        several = len(self.files) > 1
        parts = [
            _named(file.path.name if several else "", file.sorter.events()) for file in self.files
        ]
        return heapq.merge(*parts, key=_time_of)


def _named(name: str, events: Iterable[MappedEvent]) -> Iterator[NamedEvent]:
    for event in events:
        yield NamedEvent(name, event)


def _time_of(one: NamedEvent) -> int:
    return one.event.time_ms
