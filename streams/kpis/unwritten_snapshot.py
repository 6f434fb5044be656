"""A snapshot of the KPI stage whose buckets are written as bytes while the stage goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.engine.contracts import Output, Snapshot
from streams.kpis.storage.bucket import Segment


@dataclass(slots=True, kw_only=True)
class UnwrittenSnapshot:
    """What the stage held at one moment; later changes do not show in it.

    After months of history were read at once there are tens of thousands of buckets to
    write, so one is written at a time.
    """

    segments: Sequence[Segment]
    state: bytes
    early_outputs: Sequence[Output]
    outputs: Sequence[Output]
    _written: list[tuple[bytes, bytes | None]] = field(default_factory=list, init=False)

    async def settle(self) -> Snapshot | None:
        """Write one more bucket; return the snapshot once there is none left."""
        if len(self._written) < len(self.segments):
            key, write = self.segments[len(self._written)]
            self._written.append((key, None if write is None else write()))
        if len(self._written) < len(self.segments):
            return None
        return Snapshot(
            state=self.state,
            segments=self._written,
            early_outputs=self.early_outputs,
            outputs=self.outputs,
        )
