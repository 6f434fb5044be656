"""Stores rows in numbered segments: a checkpoint writes the rows that changed, and few others.

A segment has up to a number of rows of one group. A segment that changed is written under a new
number, and the head lists the numbers that belong to it. The old number is removed after the head.
So the rows are always those of the head, wherever a worker dies: a segment without a head that
lists it does not count.

Example: the head lists segments 4 and 5. A row of segment 4 changes::

    segments    alerts/6 is written: what segment 4 has, with the change
    head        lists 5 and 6
    removed     alerts/4

If the worker dies before the head is written, its successor finds 4, 5 and 6 and the head that
lists 4 and 5. It reads these, and removes 6. After a restart all rows are written again, so that
nothing depends on what a worker that was replaced may still remove.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from streams.engine.steps import Steps
from streams.errors import StateError
from streams.kpis.storage.bucket import Segment

Write = Callable[[Sequence[str]], Callable[[], bytes]]
"""Takes the rows with some keys as they are now; returns what encodes them."""


class _Segment:
    """The keys of the rows of one segment, in order."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.keys: dict[str, None] = {}
        self.number: int | None = None


class NumberedSegments:
    """The segments of some rows: which row is in which, and which have changed.

    Args:
        prefix: the beginning of the keys of the segments.
        size: the most rows in a segment.
        title: the rows in words, for errors, such as "the alerts".
    """

    def __init__(self, prefix: bytes, *, size: int, title: str) -> None:
        self._prefix = prefix
        self._size = size
        self._title = title
        self._segment_of: dict[str, _Segment] = {}
        self._with_room: defaultdict[str, dict[_Segment, None]] = defaultdict(dict)
        self._changed: dict[_Segment, None] = {}
        self._live: set[int] = set()
        self._expired: list[bytes] = []
        self._next = 0

    @property
    def live(self) -> Sequence[int]:
        """The numbers of the segments that the head must list, ascending."""
        return sorted(self._live)

    def put(self, key: str, group: str) -> None:
        """Record that a row of a group is new, or has changed."""
        segment = self._segment_of.get(key)
        if segment is None:
            segment = self._segment_of[key] = self._with_a_place(group)
            segment.keys[key] = None
            if len(segment.keys) == self._size:
                del self._with_room[group][segment]
        self._changed[segment] = None

    def _with_a_place(self, group: str) -> _Segment:
        """Return a segment of a group that is not full; a new one if there is none."""
        segment = next(iter(self._with_room[group]), None)
        if segment is None:
            segment = _Segment(group)
            self._with_room[group][segment] = None
        return segment

    def drop(self, key: str) -> None:
        """Record that a row is no more."""
        segment = self._segment_of.pop(key)
        del segment.keys[key]
        self._with_room[segment.group][segment] = None
        self._changed[segment] = None

    def take(self, write: Write) -> Iterator[Segment]:
        """Yield the segments that changed since the last call, and removals of the old ones."""
        for key in self._expired:
            yield Segment(key)
        self._expired = []
        for segment in self._changed:
            if segment.number is not None:
                self._live.discard(segment.number)
                yield Segment(self._key(segment.number))
                segment.number = None
            if segment.keys:
                segment.number = self._next
                self._next += 1
                self._live.add(segment.number)
                yield Segment(self._key(segment.number), write(list(segment.keys)))
            else:
                self._with_room[segment.group].pop(segment, None)
        self._changed = {}

    def read(self, segments: Mapping[bytes, bytes], *, live: Iterable[int]) -> Steps[list[bytes]]:
        """Read stored segments; all of them are removed by the next `take`.

        Args:
            segments: all segments that are stored; after a crash some may be newer than the head.
            live: the numbers that the head lists.

        Returns:
            The content of those that it lists, in the order of their numbers.

        Raises:
            StateError: a segment is missing.
        """
        found = []
        for number in live:
            data = segments.get(self._key(number))
            if data is None:
                raise StateError(
                    f"{self._title} of segment {number} are missing in the state of the KPI stage:"
                    " its changelog was truncated; restore it, or start over with `kpi-monitor "
                    "reset`"
                )
            found.append(data)
            yield
        self._expired = list(segments)
        numbers = (int(key.removeprefix(self._prefix)) for key in segments)
        self._next = 1 + max(numbers, default=-1)
        return found

    def _key(self, number: int) -> bytes:
        return self._prefix + b"%d" % number
