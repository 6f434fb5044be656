"""A worker with a fault in its ingest stage: it fails on events whose id begins with poison."""

from __future__ import annotations

from typing import Any

from streams import cli
from streams.ingest.job import IngestJob

count = IngestJob._count


def fail_on_poison(job: IngestJob, record: Any) -> Any:
    """Count the record, then raise if its event is poison."""
    result = count(job, record)
    if b'"event_id": "poison' in (record.value or b""):
        raise ZeroDivisionError("a fault that tests put in")
    return result


IngestJob._count = fail_on_poison  # type: ignore[assignment, method-assign]

if __name__ == "__main__":
    cli.main()
