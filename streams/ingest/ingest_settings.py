"""The settings that ingest uses."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.names import NameBook
from models.window import BusinessDay


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """The settings that ingest uses.

    Durations are in ms, ``largest_record_bytes`` is in bytes.

    Args:
        day: finds business days; exchange rates hold by their date.
        allowed_disorder_ms: an event may be so much older than the newest before it without
            being late.
        correction_horizon_ms: a later event than this is a dead letter (``too_late``).
        dedupe_horizon_ms: for how much event time event ids are kept.
        future_tolerance_ms: an event may be so much newer than the broker time of its record.
        idle_after_ms: a partition without records for so long is idle.
        largest_record_bytes: larger records become dead letters without being decoded.
        reports_topic: receives the reports.
        registry_topic: receives the definitions, changes and ends of campaigns.
        dead_letters_topic: receives the records that are not counted.
        names: the defined channels, regions and segments.
        guests: what stands in the place of a user's id if there is no user; None among them.
    """

    day: BusinessDay
    allowed_disorder_ms: int
    correction_horizon_ms: int
    dedupe_horizon_ms: int
    future_tolerance_ms: int
    idle_after_ms: int
    largest_record_bytes: int
    reports_topic: str
    registry_topic: str
    dead_letters_topic: str
    names: NameBook = field(default_factory=NameBook)
    guests: frozenset[str | None] = frozenset({None, ""})
