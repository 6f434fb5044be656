"""Stretches of event time in which something is missing."""

from __future__ import annotations

import msgspec


class Gap(msgspec.Struct, array_like=True, frozen=True):
    """Event time in which records of a source partition are missing: [start, end).

    Partition -1 is the topic as a whole.
    """

    topic: str
    partition: int
    start_ms: int
    end_ms: int
