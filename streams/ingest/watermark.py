"""Watermark: the event time up to which one source partition is complete.

A watermark is a pair. ``read_up_to_ms`` is a broker time: every record appended before it
was read. ``watermark_ms`` is an event time: with those records the partition is complete up
to it. It is the newest event time less the allowed disorder. Once the partition is read to
its end, ``watermark_ms`` advances with the broker's clock. Time in which the broker did not
answer is left out, because producers still hold back the events of that time. An event may be
ahead of the broker's clock by the tolerance; ``watermark_ms`` stays the allowed disorder behind
``read_up_to_ms``, so that no window is complete before it has ended.

A partition that has been silent for ``idle_after_ms`` is idle and does not delay the
frontier. The frontier compares partitions at equal ``read_up_to_ms``, so that history read
at full speed closes the same windows as it would have closed live.

Example, with 5 s of allowed disorder, idle after 5 s, and 0.2 s of clock slack:

    record appended 12:00:10.0, event 12:00:09   read up to 12:00:10, watermark 12:00:04
    record appended 12:00:10.0, event 12:00:06   unchanged: 3 s out of order is not late
    poll at 12:00:13.2 finds nothing             read up to 12:00:13, watermark 12:00:07
    poll at 12:00:15.2 finds nothing             read up to 12:00:15, watermark 12:00:09, idle
    record appended 12:00:16.0, event 12:00:16   read up to 12:00:16, watermark 12:00:11
"""

from __future__ import annotations

CLOCK_SLACK_MS = 200
"""The difference that is allowed between the clocks of the worker and the broker, in ms."""


class Watermark:
    """The progress of one source partition. All times are in ms since the epoch.

    ``newest_event_time`` is set by the job, and None before the first event.

    Args:
        allowed_disorder_ms: how much older than the newest an event may be without being late.
        idle_after_ms: after so long without a record the partition is idle.
    """

    def __init__(self, *, allowed_disorder_ms: int, idle_after_ms: int) -> None:
        self._allowed_disorder_ms = allowed_disorder_ms
        self._idle_after_ms = idle_after_ms
        self.newest_event_time: int | None = None
        self.last_append_ms = 0
        self.read_up_to_ms = 0
        self._silent_ms = 0
        """Broker time without a record, while the broker answered, in ms."""
        self._caught_up = False

    def appended(self, append_ms: int) -> None:
        """Record the broker time of the last record that was read."""
        self._silent_ms = 0
        self.last_append_ms = max(self.last_append_ms, append_ms)
        self.read_up_to_ms = max(self.read_up_to_ms, append_ms)

    def caught_up(self, *, at_ms: int, answering_since_ms: int = 0) -> None:
        """Record that a poll found nothing more to read.

        Args:
            at_ms: broker time of the poll.
            answering_since_ms: broker time since when the broker has answered without a break;
                silence before it does not count.
        """
        self._caught_up = True
        before_ms = max(self.read_up_to_ms, answering_since_ms)
        self.read_up_to_ms = max(self.read_up_to_ms, at_ms - CLOCK_SLACK_MS)
        self._silent_ms += max(0, self.read_up_to_ms - before_ms)

    def reading(self) -> None:
        """Record that the partition is not read to its end."""
        self._caught_up = False

    @property
    def watermark_ms(self) -> int:
        """Event time up to which the partition is complete; 0 without events."""
        if self.newest_event_time is None:
            return 0
        silent_ms = self._silent_ms if self._caught_up else 0
        complete_ms = self.newest_event_time - self._allowed_disorder_ms + silent_ms
        return min(complete_ms, self.read_up_to_ms - self._allowed_disorder_ms)

    @property
    def idle(self) -> bool:
        """Whether the partition is read to its end, and empty or silent for ``idle_after_ms``."""
        return self._caught_up and (
            self.newest_event_time is None or self._silent_ms >= self._idle_after_ms
        )

    def restore(self, *, newest_event_time: int | None, last_append_ms: int) -> None:
        """Continue from a saved state."""
        self.newest_event_time = newest_event_time
        self.last_append_ms = self.read_up_to_ms = last_append_ms
