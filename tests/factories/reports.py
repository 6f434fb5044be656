"""Reports of ingest, and what is in the snapshots that they come from."""

from __future__ import annotations

from typing import Any

from models import dead_letters
from models.aggregates import ingest_report
from models.aggregates.ingest_report import Report, SourceStats
from streams.engine.contracts import Snapshot
from streams.ingest.job import IngestJob
from tests.support.cells import from_wire
from tests.support.offline import NOON, record


def report(topic: str = "clicks", **changed: Any) -> Report:
    """Return a report without cells; ``changed`` replaces its fields."""
    made: dict[str, Any] = {
        "topic": topic,
        "partition": 0,
        "epoch": 1,
        "from_offset": -1,
        "to_offset": -1,
        "read_up_to_ms": 1_000,
        "watermark_ms": 0,
        "idle": False,
        "stats": SourceStats(),
    }
    return Report(**made | changed)


def apply(job: IngestJob, *bodies: object, first: int = 0, at: int = NOON) -> None:
    """Apply events to a job as records with successive offsets."""
    job.apply([record(body, offset=first + i, at=at) for i, body in enumerate(bodies)])


def reported(snapshot: Snapshot) -> Report:
    """Return the only report of a snapshot."""
    (output,) = snapshot.outputs
    (made,) = ingest_report.decode(output.value).reports
    return made


def letters(snapshot: Snapshot) -> list[dead_letters.DeadLetter]:
    """Return the dead letters of a snapshot."""
    return [
        dead_letters.decode(output.value)
        for output in snapshot.early_outputs
        if output.topic == "dead-letters"
    ]


def sums(made: Report, *, pane: int = NOON, campaign: str = "c1") -> list[int]:
    """Return the sums of a campaign's only cell in a pane of a report."""
    (wire,) = [row.cell for row in made.panes[pane] if row.campaign == campaign]
    return from_wire(wire).sums
