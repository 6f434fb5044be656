"""A worker that drops one event in five hundred, which a harness must notice."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from streams import cli
from streams.ingest.job import IngestJob

count = IngestJob._count


def forget(job: IngestJob, record: Any) -> Any:
    """Count the record, or drop it."""
    if crc32(record.value or b"") % 500 == 0:
        return None
    return count(job, record)


IngestJob._count = forget  # type: ignore[assignment, method-assign]

if __name__ == "__main__":
    cli.main()
