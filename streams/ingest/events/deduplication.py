"""Counts every event id once within a horizon of event time.

Ids are kept as 64-bit hashes, by the minute of their event time: a repetition
carries the same time, so one minute is looked at. The minutes that are being
filled are sets, of about 70 bytes an id; those that are over are sorted arrays,
of 8, with a small set beside each for what comes late. With ten million ids
held, the chance that a new one is taken for another is 5e-13.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import xxhash

from models.window import MINUTE_MS

FILLING_MINUTES = 2
"""The newest so many minutes are sets: most events fall into them."""
SEAL_LEAST = 1_000
"""Fewer ids stay a set."""
SEAL_SHARE = 16
"""What came late is sorted in once it is a sixteenth of its minute."""

_Hashes = npt.NDArray[np.uint64]


class SeenIds:
    """The event ids of one source partition within the horizon."""

    def __init__(self, *, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._minutes: dict[int, set[int]] = {}
        self._sealed: dict[int, _Hashes] = {}
        self._fresh: dict[int, list[int]] = {}
        self._segments: dict[int, list[bytes]] = {}
        self._counter = 0

    def __len__(self) -> int:
        """Return how many ids are held."""
        return sum(len(ids) for kept in (self._minutes, self._sealed) for ids in kept.values())

    def first_time(self, event_id: str, event_time: int) -> bool:
        """Note the id; say whether it was new."""
        hashed = xxhash.xxh3_64_intdigest(event_id.encode())
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
        """Yield what was added since the last call, and what expired (None)."""
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
        """Sort the ids of minutes that are over into arrays."""
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
        """The number of the last segments, to be kept in the state."""
        return self._counter

    def restore(self, segments: dict[bytes, bytes], *, counter: int) -> None:
        """Take up saved segments."""
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
    """Say whether a sorted array has a hash; about 2 µs."""
    place = int(hashes.searchsorted(np.uint64(wanted)))
    return place < len(hashes) and int(hashes[place]) == wanted
