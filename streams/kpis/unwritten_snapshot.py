"""A snapshot of the KPI stage whose buckets and alerts are encoded while the stage goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.engine.contracts import Output, Snapshot
from streams.kpis.storage.bucket import Segment


@dataclass(slots=True, kw_only=True)
class UnwrittenSnapshot:
    """The state of the stage at one moment; later changes do not affect it.

    After months of history were read at once, tens of thousands of buckets have to be encoded.
    Each call of `settle` encodes one.

    Args:
        segments: the buckets and alerts that changed or expired since the last snapshot.
        state: the encoded `KpiState`.
        early_outputs: dead letters and records of closed windows, sent before the state.
        outputs: changes of alerts, saved with the state and sent after it.
    """

    segments: Sequence[Segment]
    state: bytes
    early_outputs: Sequence[Output]
    outputs: Sequence[Output]
    _written: list[tuple[bytes, bytes | None]] = field(default_factory=list, init=False)

    async def settle(self) -> Snapshot | None:
        """Encode the next segment; return the snapshot after the last one, None before."""
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
