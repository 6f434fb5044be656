"""How state stands in its table, and what the watchdog takes for stuck."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from streams.engine import state
from streams.engine.stage import Output, Position, Snapshot, SourcePartition
from streams.engine.watchdog import Watchdog
from streams.errors import StateError

SOURCE = SourcePartition("clicks", 3)
SNAPSHOT = Snapshot(
    state=b"state",
    segments=[(b"ids/1", b"a"), (b"ids/0", None)],
    outputs=[Output(topic="t", key=b"k", value=b"v", partition=0)],
)


def test_a_head_and_its_segments_come_back_as_they_were() -> None:
    segments, head = state.encode_snapshot(SNAPSHOT, source=SOURCE, sequence=7, offset=42)
    assert segments[1] == (b"segment/clicks/ids/0", None)
    decoded = state.decode_head(head, source=SOURCE)
    assert decoded.as_outputs() == list(SNAPSHOT.outputs)
    kept = [(key, value) for key, value in segments if value is not None]
    saved, orphans = state.saved_from(decoded, kept, source=SOURCE)
    assert orphans == []
    assert (saved.offset, saved.state, saved.segments) == (42, b"state", {b"ids/1": b"a"})


def test_a_segment_newer_than_the_head_is_left_out_or_kept_as_the_stage_says() -> None:
    newer, _ = state.encode_snapshot(SNAPSHOT, source=SOURCE, sequence=8, offset=50)
    _, head = state.encode_snapshot(SNAPSHOT, source=SOURCE, sequence=7, offset=42)
    kept = [(key, value) for key, value in newer if value is not None]
    decoded = state.decode_head(head, source=SOURCE)
    saved, orphans = state.saved_from(decoded, kept, source=SOURCE)
    assert (saved.segments, orphans) == ({}, [b"segment/clicks/ids/1"])
    saved, orphans = state.saved_from(decoded, kept, source=SOURCE, keep_newer=True)
    assert (saved.segments, orphans) == ({b"ids/1": b"a"}, [])


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01"])
def test_broken_state_is_a_clear_error(data: bytes) -> None:
    with pytest.raises(StateError, match=r"clicks\[3\].*delete the local data folder"):
        state.decode_head(data, source=SOURCE)


def test_state_of_another_version_is_refused() -> None:
    other = msgspec.msgpack.encode([99, 1, 1, b"", []])
    with pytest.raises(StateError, match="schema version 99"):
        state.decode_head(other, source=SOURCE)


def test_the_watchdog_finds_sources_with_records_and_no_progress() -> None:
    running = {
        SourcePartition("clicks", number): SimpleNamespace(progressed_at=since)
        for number, since in enumerate((0.0, 0.0, 95.0))
    }
    runner: Any = SimpleNamespace(running=running)
    positions = {
        source: Position(caught_up_at_ms=None, behind=behind)
        for source, behind in zip(running, (5, 0, 5), strict=True)
    }
    stuck = Watchdog(runner, limit_s=90).stuck(positions, now=100.0)
    assert stuck == [SourcePartition("clicks", 0)]
