"""Gaps: stretches of event time in which records of a source are missing."""

from __future__ import annotations

import msgspec


class Gap(msgspec.Struct, array_like=True, frozen=True):
    """Event time [start, end), in ms, in which a source has no records or its records were lost.

    Partition -1 stands for the whole topic.
    """

    topic: str
    partition: int
    start_ms: int
    end_ms: int
