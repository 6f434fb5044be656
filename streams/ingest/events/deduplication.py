"""Deduplication: finds events whose type and id were counted before.

Ids are kept as 64-bit hashes, for a horizon of event time, in the minute of their event time. An id
is unique among events of one type: a shop may give an order and its registration the same one. A
repeated event carries the same event time, so one lookup in one minute finds it. An id that comes
again with a time in another minute is a new event.

The newest minutes are sets, at about 70 bytes an id. At a checkpoint, older minutes of at least
1,000 ids are sealed: their ids move to a sorted array, at 8 bytes an id. Ids that arrive late for
a sealed minute are kept in a small set beside its array until they are a sixteenth of it. With ten
million ids held, the chance that a new id is taken for another is 5e-13.

Example, with a horizon of 12 minutes and thousands of ids a minute:

    c1 at 12:00:30                   new; added to the set of minute 12:00
    c1 at 12:00:30, sent again       duplicate
    checkpoint at 12:05:10           the sets of 12:04 and 12:05 stay, older ones are sealed
    c1 at 12:00:30, sent again       duplicate, found in the array of 12:00
    c2 at 12:00:40, late             new; added to a set beside the array of 12:00
    checkpoint at 12:13:05           minute 12:00 has expired and is dropped

The segments of a checkpoint hold only the ids added since the one before, a segment for each
minute. They are removed when their minute expires.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import xxhash

from models.window import MINUTE_MS

FILLING_MINUTES = 2
"""The number of newest minutes that are kept as sets, because most events fall into them."""
SEAL_LEAST = 1_000
"""A set with fewer ids is not sealed."""
SEAL_SHARE = 16
"""Late ids are merged into their array once there is one for each so many ids in it."""

_Hashes = npt.NDArray[np.uint64]


class SeenIds:
    """The event ids of one source partition within the horizon.

    Args:
        horizon_ms: how long before the newest event time ids are kept, in ms.
    """

    def __init__(self, *, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._minutes: dict[int, set[int]] = {}
        self._sealed: dict[int, _Hashes] = {}
        self._fresh: dict[int, list[int]] = {}
        self._segments: dict[int, list[bytes]] = {}
        self._counter = 0

    def __len__(self) -> int:
        """Return the number of ids held."""
        return sum(len(ids) for kept in (self._minutes, self._sealed) for ids in kept.values())

    def first_time(self, event_id: str, event_time: int, *, seed: int = 0) -> bool:
        """Record an id and return whether it is new.

        Args:
            event_id: the id.
            event_time: in ms.
            seed: of the type of the event: ids are unique among events of one type.
        """
        hashed = xxhash.xxh3_64_intdigest(event_id.encode(), seed)
        minute = event_time // MINUTE_MS
        if minute in self._sealed and _holds(self._sealed[minute], hashed):
            return False
        ids = self._minutes.get(minute)
        if ids is None:
            self._minutes[minute] = {hashed}
            self._fresh.setdefault(minute, []).append(hashed)
            return True
        if hashed in ids:
            return False
        ids.add(hashed)
        fresh = self._fresh.get(minute)
        if fresh is None:
            self._fresh[minute] = [hashed]
        else:
            fresh.append(hashed)
        return True

    def take_segments(self, *, newest_event_time: int) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield new segments by key, and the keys of expired ones with None; seal older minutes."""
        self._counter += 1
        for minute, hashes in self._fresh.items():
            key = b"ids/%d/%d" % (minute, self._counter)
            self._segments.setdefault(minute, []).append(key)
            yield key, array("Q", hashes).tobytes()
        self._fresh = {}
        newest = newest_event_time // MINUTE_MS
        self._seal(before=newest - FILLING_MINUTES + 1)
        oldest = (newest_event_time - self._horizon_ms) // MINUTE_MS
        for minute in [minute for minute in self._segments if minute < oldest]:
            self._minutes.pop(minute, None)
            self._sealed.pop(minute, None)
            for key in self._segments.pop(minute):
                yield key, None

    def _seal(self, *, before: int) -> None:
        """Move the ids of minutes before ``before`` from their sets to sorted arrays."""
        for minute in [minute for minute in self._minutes if minute < before]:
            ids, sealed = self._minutes[minute], self._sealed.get(minute)
            known = 0 if sealed is None else len(sealed)
            if len(ids) < max(SEAL_LEAST, known // SEAL_SHARE):
                continue
            parts = [np.fromiter(ids, np.uint64, len(ids))]
            self._sealed[minute] = _sorted(parts if sealed is None else [sealed, *parts])
            del self._minutes[minute]

    @property
    def counter(self) -> int:
        """The number in the keys of the newest segments; it is part of the state."""
        return self._counter

    def restore(self, segments: dict[bytes, bytes], *, counter: int) -> None:
        """Continue from saved segments."""
        self._counter = counter
        parts: dict[int, list[_Hashes]] = {}
        for key, data in segments.items():
            _, minute, _ = key.split(b"/")
            parts.setdefault(int(minute), []).append(np.frombuffer(data, np.uint64))
            self._segments.setdefault(int(minute), []).append(key)
        self._sealed = {minute: _sorted(hashes) for minute, hashes in parts.items()}


def _sorted(parts: Sequence[_Hashes]) -> _Hashes:
    hashes = np.concatenate(parts)
    hashes.sort()
    return hashes


def _holds(hashes: _Hashes, wanted: int) -> bool:
    """Return whether a sorted array contains a hash; takes about 2 µs."""
    place = int(hashes.searchsorted(np.uint64(wanted)))
    return place < len(hashes) and int(hashes[place]) == wanted
