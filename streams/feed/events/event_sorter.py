"""Sorts events by their time in bounded memory, and gives them their ids.

Events are kept in memory up to `MEMORY_BYTES`. More of them are sorted in parts, which are written
to one temporary file and merged when they are read. The file has no name, so nothing of it is left
behind, however the process ends.

The id of an event is a hash of its record; of events that say the same, the second has ``-2`` at
its end, the third ``-3``, unless they are to count once. Such events have the same time, so only
those of one moment have to be remembered.
"""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import chain, pairwise
from operator import attrgetter
from typing import IO, NamedTuple

import msgspec

from streams.errors import FeedError
from streams.feed.rows.row_mapper import ID_PLACE, MappedEvent

MEMORY_BYTES = 64 << 20
"""Records that are kept in memory before they are written to disk, with `_OVERHEAD` for each."""
_OVERHEAD = 400
_CHUNK = 256
"""Events that are read at once from each part."""
_PLACE = ID_PLACE.encode()
_ID_BYTES = 12
_time_of = attrgetter("time_ms")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[MappedEvent]).decode


class _Run(NamedTuple):
    """A sorted part in the temporary file.

    Args:
        chunks: the offset and length of each chunk, in bytes.
        first_ms: the event time of its first event.
        last_ms: that of its last.
    """

    chunks: list[tuple[int, int]]
    first_ms: int
    last_ms: int


class EventSorter:
    """Collects events, and yields them in the order of their times.

    Events of the same time keep the order in which they were added. `late` counts the events that
    are older than one before them; ``first_late`` is the line of the first. ``newest_ms`` is the
    time of the newest event, None without any.

    Args:
        memory_bytes: how much is kept in memory.
        equal_once: whether events that say the same have the same id.
    """

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, equal_once: bool = False) -> None:
        self.late = 0
        self.first_late: int | None = None
        self._memory_bytes = memory_bytes
        self._equal_once = equal_once
        self._count = 0
        self.newest_ms: int | None = None
        self._kept: list[MappedEvent] = []
        self._kept_bytes = 0
        self._runs: list[_Run] = []
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        """Return the number of events that were added."""
        return self._count

    def add(self, event: MappedEvent) -> None:
        """Add an event.

        Raises:
            FeedError: the temporary file can't be written.
        """
        if self.newest_ms is None or event.time_ms >= self.newest_ms:
            self.newest_ms = event.time_ms
        else:
            self.late += 1
            if self.first_late is None:
                self.first_late = event.line
        self._count += 1
        self._kept.append(event)
        self._kept_bytes += len(event.value) + _OVERHEAD
        if self._kept_bytes > self._memory_bytes:
            self._write_run()

    def _write_run(self) -> None:
        events = self._sorted()
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="kpi-feed-")  # noqa: SIM115 - close()
            chunks = []
            for at in range(0, len(events), _CHUNK):
                encoded = _encode(events[at : at + _CHUNK])
                chunks.append((self._file.tell(), len(encoded)))
                self._file.write(encoded)
            self._file.flush()
        except OSError as error:
            raise FeedError(
                f"{tempfile.gettempdir()}: events can't be kept there to be sorted: "
                f"{error.strerror}; set TMPDIR to a folder with more space"
            ) from None
        self._runs.append(_Run(chunks, events[0].time_ms, events[-1].time_ms))
        self._kept, self._kept_bytes = [], 0

    def _sorted(self) -> list[MappedEvent]:
        if self.late:
            self._kept.sort(key=_time_of)
        return self._kept

    def events(self) -> Iterator[MappedEvent]:
        """Yield all events in order, with their ids; the same each time."""
        return with_ids(self._ordered(), equal_once=self._equal_once)

    def _ordered(self) -> Iterator[MappedEvent]:
        parts: list[Iterable[MappedEvent]] = [self._read(run) for run in self._runs]
        ends = [(run.first_ms, run.last_ms) for run in self._runs]
        if self._kept:
            events = self._sorted()
            parts.append(events)
            ends.append((events[0].time_ms, events[-1].time_ms))
        if all(last <= first for (_, last), (first, _) in pairwise(ends)):
            return chain.from_iterable(parts)
        return heapq.merge(*parts, key=_time_of)

    def _read(self, run: _Run) -> Iterator[MappedEvent]:
        assert self._file is not None
        for offset, length in run.chunks:
            yield from _decode(os.pread(self._file.fileno(), length, offset))

    def close(self) -> None:
        """Remove what was written."""
        if self._file is not None:
            self._file.close()


def with_ids(events: Iterable[MappedEvent], *, equal_once: bool) -> Iterator[MappedEvent]:
    """Yield events with their ids.

    Example: of three equal clicks at 12:00 the ids are ``h``, ``h-2`` and ``h-3``, where h is the
    hash of what they say. Without the second row in the file, they are ``h`` and ``h-2``.

    Args:
        events: in the order of their times.
        equal_once: whether all three have the id ``h``.
    """
    at_ms = None
    seen: dict[str, int] = {}
    for event in events:
        value = event.value
        if _PLACE not in value:
            yield event
            continue
        if event.time_ms != at_ms:
            at_ms, seen = event.time_ms, {}
        event_id = blake2b(value, digest_size=_ID_BYTES).hexdigest()
        number = seen.get(event_id, 0) + 1
        seen[event_id] = number
        if number > 1 and not equal_once:
            event_id = f"{event_id}-{number}"
        whole = value.replace(_PLACE, event_id.encode())
        yield MappedEvent(event.time_ms, event.line, event.type, event.key, whole)
