"""Parts of the KPI stage that finish their work at once, and slices for those that do not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec

from streams.alerting.judge import AlertJudge
from streams.engine.contracts import PendingSnapshot, Position, Snapshot
from streams.engine.steps import at_once
from streams.kpis.columnar.scope_totals import ScopeTotals
from streams.kpis.job import KpiJob
from streams.kpis.judging import EarlierPeriods, LiveSegments
from streams.kpis.storage.bucket_store import BucketStore
from streams.kpis.view import Evaluation


def after(steps: int) -> Callable[[], bool]:
    """Return a slice of time that is used up after so many steps, as `KpiJob.work` asks for it."""
    left = iter(range(steps - 1))
    return lambda: next(left, None) is None


def settled(snapshot: Snapshot | PendingSnapshot) -> Snapshot:
    """Return the snapshot of a pending checkpoint, whose customers must answer at once."""
    while not isinstance(snapshot, Snapshot):
        try:
            snapshot.settle().send(None)
        except StopIteration as done:
            snapshot = done.value or snapshot
        else:
            raise AssertionError("the customers made it wait")
    return snapshot


class BucketsAtOnce(BucketStore):
    """A bucket store whose methods run all of their steps before they return."""

    def apply(self, *arguments: Any, **options: Any) -> None:  # type: ignore[override]
        """Add the cells of a report to their panes."""
        at_once(super().apply(*arguments, **options))

    def expire(self, frontier_ms: int) -> None:  # type: ignore[override]
        """Sum up fine buckets, drop expired ones and spill others."""
        at_once(super().expire(frontier_ms))

    def restore(self, *arguments: Any, **options: Any) -> None:  # type: ignore[override]
        """Restore saved buckets."""
        at_once(super().restore(*arguments, **options))

    def totals(self, start: int, end: int) -> ScopeTotals:  # type: ignore[override]
        """Return the totals of every scope in [start, end)."""
        return at_once(super().totals(start, end))

    def totals_of(  # type: ignore[override]
        self, campaigns: Collection[str], start: int, end: int
    ) -> ScopeTotals:
        """Return the totals of the scopes of campaigns in [start, end)."""
        return at_once(super().totals_of(campaigns, start, end))

    def take_segments(self) -> Iterator[tuple[bytes, bytes | None]]:  # type: ignore[override]
        """Yield the changed segments as bytes; None for removed ones."""
        for key, write in super().take_segments():
            yield key, None if write is None else write()


NO_EARLIER: EarlierPeriods = {}


class JudgeAtOnce(AlertJudge):
    """A judge that runs all of its steps at once, and ignores windows while it is held back."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._stored: dict[bytes, bytes] = {}

    def to_bytes(self) -> bytes:
        """Return the stored segments after a checkpoint, and which of them the head lists."""
        for key, write in self.take_segments():
            if write is None:
                self._stored.pop(key, None)
            else:
                self._stored[key] = write()
        return msgspec.msgpack.encode((self._stored, self.live_segments))

    def restore(self, data: bytes) -> bool:  # type: ignore[override]
        """Restore what `to_bytes` returned."""
        self._stored, live = msgspec.msgpack.decode(
            data, type=tuple[dict[bytes, bytes], LiveSegments]
        )
        return at_once(super().restore(b"[]", self._stored, live=live))

    def closed(  # type: ignore[override]
        self, evaluation: Evaluation, earlier: EarlierPeriods = NO_EARLIER
    ) -> None:
        """Judge a window that closed."""
        if not self.held_back:
            at_once(super().closed(evaluation, earlier))

    def corrected(  # type: ignore[override]
        self, evaluation: Evaluation, earlier: EarlierPeriods = NO_EARLIER
    ) -> None:
        """Record the new evaluation of a closed window that late data changed."""
        at_once(super().corrected(evaluation, earlier))


class KpiJobAtOnce(KpiJob):
    """A KPI job that does all of its work before it returns, and whose snapshots are settled."""

    def apply(self, records: Any) -> None:
        """Apply the next reports and do all work that follows."""
        super().apply(records)
        self.work(lambda: False)

    def tick(self, position: Position, *, now_ms: int) -> None:
        """Tick twice, so that the view has what the first tick evaluated for it."""
        for _ in range(2):
            super().tick(position, now_ms=now_ms)
            self.work(lambda: False)

    def snapshot(self) -> Snapshot:  # type: ignore[override]
        """Return the state to save and the outputs to send."""
        return settled(super().snapshot())
