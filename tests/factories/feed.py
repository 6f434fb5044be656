"""Files with their mappings, read as `kpi-monitor feed` reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from streams.feed.events.event_sorter import MEMORY_BYTES
from streams.feed.events.file_set import FileSet
from streams.feed.events.mapped_file import MappedFile
from streams.feed.sending import records
from streams.operations.synthetic import FeedRecord
from streams.settings import Settings

TOPICS = ("clicks", "orders", "campaigns")
HASH_KEY = b"a key of sixteen characters"
VISITS: dict[str, Any] = {
    "time": {"value": "{at}", "format": "epoch_ms"},
    "events": [{"type": "visit", "fields": {"user_id": "{user}", "pages": "{pages}"}}],
}
AT = 1_700_000_000_000


def opened(
    folder: Path,
    text: str | bytes,
    mapping: dict[str, Any] | str,
    *,
    name: str = "log.csv",
    memory_bytes: int = MEMORY_BYTES,
) -> MappedFile:
    """Write a log and its mapping, and return the log before it is read."""
    log, mapped = folder / name, folder / "map.yaml"
    log.write_bytes(text if isinstance(text, bytes) else text.encode())
    mapped.write_text(
        mapping if isinstance(mapping, str) else yaml.safe_dump(mapping, sort_keys=False)
    )
    return MappedFile(
        log,
        mapped,
        largest_bytes=Settings.model_fields["largest_record_bytes"].default,
        refused_path=log.with_name(f"{name}.refused.ndjson"),
        hash_key=lambda: HASH_KEY,
        memory_bytes=memory_bytes,
    )


def read(
    folder: Path, text: str | bytes, mapping: dict[str, Any] | str, *, name: str = "log.csv"
) -> MappedFile:
    """Write a log and its mapping, and return the log after it was read."""
    mapped = opened(folder, text, mapping, name=name)
    mapped.read()
    return mapped


def sent(mapped: MappedFile) -> list[FeedRecord]:
    """Return the records of a file that was read."""
    return list(records(FileSet(mapped.path, [mapped]).events(), TOPICS))


def whole_events(mapped: MappedFile) -> list[dict[str, Any]]:
    """Return the events of a file that was read."""
    return [json.loads(record.value) for record in sent(mapped)]


def events(mapped: MappedFile) -> list[dict[str, Any]]:
    """Return the events of a file that was read, without their type, id and time."""
    common = {"type", "event_id", "event_time"}
    return [
        {name: value for name, value in one.items() if name not in common}
        for one in whole_events(mapped)
    ]


def refused(mapped: MappedFile) -> list[dict[str, Any]]:
    """Return the refused rows that are kept."""
    path = mapped.report.refused_path
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
