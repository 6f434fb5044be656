"""How far a source partition is complete, in event time.

``read_up_to_ms`` is a time of the broker: everything appended before it was
read. ``watermark_ms`` is the event time up to which the partition is complete
then: the newest event time less the allowed disorder, carried on at the
broker's pace once the partition is read to its end. Time in which the broker
did not answer is not carried on: what producers held back meanwhile is still to
come. A partition that was silent for a while is idle and holds nobody back; how
far the others may then go is decided by ``read_up_to_ms``, so that history read
at full speed closes the same windows as it would have live.
"""

from __future__ import annotations

CLOCK_SLACK_MS = 200
"""How far the worker's clock and the broker's may differ."""


class Watermark:
    """The progress of one source partition."""

    def __init__(self, *, allowed_disorder_ms: int, idle_after_ms: int) -> None:
        self._allowed_disorder_ms = allowed_disorder_ms
        self._idle_after_ms = idle_after_ms
        self.newest_event_time: int | None = None
        self.last_append_ms = 0
        self.read_up_to_ms = 0
        self._silent_ms = 0
        """For how long nothing came although the broker answered."""
        self._caught_up = False

    def appended(self, append_ms: int) -> None:
        """Take note of the broker time of the last record that was read."""
        self._silent_ms = 0
        self.last_append_ms = max(self.last_append_ms, append_ms)
        self.read_up_to_ms = max(self.read_up_to_ms, append_ms)

    def caught_up(self, *, at_ms: int, answering_since_ms: int = 0) -> None:
        """The partition was read to its end by a poll at that time."""
        self._caught_up = True
        before_ms = max(self.read_up_to_ms, answering_since_ms)
        self.read_up_to_ms = max(self.read_up_to_ms, at_ms - CLOCK_SLACK_MS)
        self._silent_ms += max(0, self.read_up_to_ms - before_ms)

    def reading(self) -> None:
        """There is more to read."""
        self._caught_up = False

    @property
    def watermark_ms(self) -> int:
        """Event time up to which the partition is complete; 0 without events."""
        if self.newest_event_time is None:
            return 0
        silent_ms = self._silent_ms if self._caught_up else 0
        return self.newest_event_time - self._allowed_disorder_ms + silent_ms

    @property
    def idle(self) -> bool:
        """Whether the partition is read to its end and was silent for a while."""
        return self._caught_up and (
            self.newest_event_time is None or self._silent_ms >= self._idle_after_ms
        )

    def restore(self, *, newest_event_time: int | None, last_append_ms: int) -> None:
        """Take up a saved state."""
        self.newest_event_time = newest_event_time
        self.last_append_ms = self.read_up_to_ms = last_append_ms
