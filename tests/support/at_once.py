"""Parts of the KPI stage whose work is done before they return: most tests do not cut it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from streams.alerting.judge import AlertJudge
from streams.engine.contracts import PendingSnapshot, Position, Snapshot
from streams.engine.steps import at_once
from streams.kpis.columnar.scope_totals import ScopeTotals
from streams.kpis.job import KpiJob
from streams.kpis.storage.bucket_store import BucketStore
from streams.kpis.view import Evaluation


def settled(snapshot: Snapshot | PendingSnapshot) -> Snapshot:
    """Return a snapshot whose customers answer at once."""
    while not isinstance(snapshot, Snapshot):
        try:
            snapshot.settle().send(None)
        except StopIteration as done:
            snapshot = done.value or snapshot
        else:
            raise AssertionError("the customers made it wait")
    return snapshot


class BucketsAtOnce(BucketStore):
    """Buckets without steps."""

    def apply(self, *arguments: Any, **options: Any) -> None:  # type: ignore[override]
        """Take panes."""
        at_once(super().apply(*arguments, **options))

    def expire(self, frontier_ms: int) -> None:  # type: ignore[override]
        """Sum up, forget and freeze."""
        at_once(super().expire(frontier_ms))

    def restore(self, *arguments: Any, **options: Any) -> None:  # type: ignore[override]
        """Take up saved buckets."""
        at_once(super().restore(*arguments, **options))

    def totals(self, start: int, end: int) -> ScopeTotals:  # type: ignore[override]
        """Return what each scope had."""
        return at_once(super().totals(start, end))

    def totals_of(  # type: ignore[override]
        self, campaigns: Collection[str], start: int, end: int
    ) -> ScopeTotals:
        """Return what campaigns had."""
        return at_once(super().totals_of(campaigns, start, end))

    def take_segments(self) -> Iterator[tuple[bytes, bytes | None]]:  # type: ignore[override]
        """Yield what is to be stored, written as bytes."""
        for key, write in super().take_segments():
            yield key, None if write is None else write()


class JudgeAtOnce(AlertJudge):
    """A judge without steps, which is not asked while it is held back."""

    def closed(self, evaluation: Evaluation) -> None:  # type: ignore[override]
        """Judge a window that closed."""
        if not self.held_back:
            at_once(super().closed(evaluation))


class KpiJobAtOnce(KpiJob):
    """Does what there is to do before it returns, and has its snapshots written."""

    def apply(self, records: Any) -> None:
        """Take the next reports and do what follows."""
        super().apply(records)
        self.work(lambda: False)

    def tick(self, position: Position, *, now_ms: int) -> None:
        """See the time, and renew the view with what is evaluated for it."""
        for _ in range(2):
            super().tick(position, now_ms=now_ms)
            self.work(lambda: False)

    def snapshot(self) -> Snapshot:  # type: ignore[override]
        """Return what to save and send."""
        return settled(super().snapshot())
