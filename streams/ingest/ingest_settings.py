"""What ingest needs to know of the settings."""

from __future__ import annotations

from dataclasses import dataclass

from models.window import BusinessDay


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """What ingest needs to know of the settings. Durations in ms."""

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
