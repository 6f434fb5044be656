"""How state stands in its table, and what the watchdog takes for stuck."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine import state_log
from streams.engine.contracts import Output, Position, Saved, Snapshot, SourcePartition
from streams.engine.runtime.watchdog import Watchdog
from streams.engine.state_log import Checkpoint, StateLog
from streams.errors import StateError

SOURCE = SourcePartition("clicks", 3)
SNAPSHOT = Snapshot(
    state=b"state",
    segments=[(b"ids/1", b"a"), (b"ids/0", None)],
    outputs=[Output(topic="t", key=b"k", value=b"v", partition=0)],
)
Store = dict[bytes, bytes]


class Read(NamedTuple):
    """A state that was found."""

    saved: Saved
    outputs: Sequence[Output]
    log: StateLog


def read(store: Store, *, keep_newer: bool = False) -> Read:
    found = state_log.read(list(store.items()), source=SOURCE, generation=0, keep_newer=keep_newer)
    assert found.saved is not None
    return Read(found.saved, found.outputs, found.log)


def write(store: Store, checkpoint: Checkpoint, *, steps: int = 99) -> None:
    """Write the first steps of a checkpoint, as a worker that dies would."""
    writes = [*checkpoint.segments, checkpoint.head, *checkpoint.removals]
    for key, value in writes[:steps]:
        if value is None:
            store.pop(key, None)
        else:
            store[key] = value


def test_a_head_and_its_segments_come_back_as_they_were() -> None:
    store: Store = {b"head/other/1": b"", b"segments/click/1/ids/9": b""}
    write(store, StateLog(SOURCE, 5).checkpoint(SNAPSHOT, offset=42))
    found = read(store)
    assert found.outputs == list(SNAPSHOT.outputs)
    assert (found.saved.offset, found.saved.state) == (42, b"state")
    assert found.saved.segments == {b"ids/1": b"a"}
    assert (found.log.epoch, found.log.sequence) == (6, 1)


def test_nothing_written_is_no_state() -> None:
    found = state_log.read([], source=SOURCE, generation=3)
    assert found.saved is None
    assert found.log.epoch == 3 << 20


def test_segments_without_a_head_are_removed() -> None:
    """Segments without a head are removed, and their epoch is not used again."""
    store: Store = {}
    write(store, StateLog(SOURCE, 7 << 20).checkpoint(SNAPSHOT, offset=1), steps=1)
    found = state_log.read(list(store.items()), source=SOURCE, generation=7)
    assert found.saved is None
    assert found.log.epoch == (7 << 20) + 1
    assert found.log.obsolete == list(store)


def test_segment_newer_than_the_head() -> None:
    """A segment that is newer than the head is ignored, unless the stage keeps newer ones."""
    store: Store = {}
    log = StateLog(SOURCE, 1)
    write(store, log.checkpoint(Snapshot(state=b"1"), offset=1))
    write(store, log.checkpoint(SNAPSHOT, offset=2), steps=1)
    found = read(store)
    assert found.saved.segments == {}
    assert b"segments/clicks/1/ids/1" in found.log.obsolete
    assert read(store, keep_newer=True).saved.segments == {b"ids/1": b"a"}


def test_each_opening_has_its_own_epoch() -> None:
    """A second opening in the same generation has a higher epoch."""
    store: Store = {}
    write(store, StateLog(SOURCE, 7).checkpoint(SNAPSHOT, offset=1))
    first = read(store)
    assert first.log.epoch == 8
    write(store, first.log.checkpoint(SNAPSHOT, offset=2), steps=1)
    assert read(store).log.epoch == 9


@pytest.mark.parametrize("keep_newer", [False, True])
def test_rewritten_segment_without_a_head(*, keep_newer: bool) -> None:
    """Segments that an opening rewrote without writing a head change nothing."""
    store: Store = {}
    write(store, StateLog(SOURCE, 1).checkpoint(SNAPSHOT, offset=1))
    log = read(store).log
    again = Snapshot(state=b"2", segments=[(b"ids/1", b"newer")])
    write(store, log.checkpoint(again, offset=2), steps=1)
    assert read(store, keep_newer=keep_newer).saved.segments == {b"ids/1": b"a"}


def test_rewritten_segment_replaces_the_old_one() -> None:
    """A rewritten segment replaces that of the epoch before."""
    store: Store = {}
    write(store, StateLog(SOURCE, 1).checkpoint(SNAPSHOT, offset=1))
    log = read(store).log
    again = Snapshot(state=b"2", segments=[(b"ids/1", b"b")])
    write(store, log.checkpoint(again, offset=2))
    assert set(store) == {b"head/clicks/2", b"segments/clicks/2/ids/1"}
    assert read(store).saved.segments == {b"ids/1": b"b"}


def test_missing_segments_are_an_error() -> None:
    """Missing segments are an error that says how many there are."""
    store: Store = {}
    write(store, StateLog(SOURCE, 1).checkpoint(SNAPSHOT, offset=1))
    del store[b"segments/clicks/1/ids/1"]
    with pytest.raises(StateError, match=r"1 of 1 segments .* clicks\[3\].* truncated"):
        read(store)


@given(
    zombie_writes=st.integers(1, 4),
    zombie_steps=st.integers(0, 5),
    successor_writes=st.integers(0, 4),
    successor_steps=st.integers(0, 5),
    first=st.booleans(),
)
def test_writes_of_a_replaced_worker_are_ignored(
    *,
    zombie_writes: int,
    zombie_steps: int,
    successor_writes: int,
    successor_steps: int,
    first: bool,
) -> None:
    """Whatever a replaced worker still writes, its successors never read it."""
    store: Store = {}
    zombie = StateLog(SOURCE, 1)
    write(store, zombie.checkpoint(Snapshot(state=b"0", segments=[(b"k", b"0")]), offset=0))
    successor = read(store).log
    expected = (b"0", {b"k": b"0"})

    def haunt() -> None:
        for number in range(1, zombie_writes + 1):
            segments = [(b"k%d" % number, b"zombie")]
            checkpoint = zombie.checkpoint(Snapshot(state=b"z", segments=segments), offset=99)
            write(store, checkpoint, steps=zombie_steps if number == zombie_writes else 99)

    def succeed() -> tuple[bytes, dict[bytes, bytes]]:
        known = {b"k": b"0"}
        state_now = b"0"
        for number in range(1, successor_writes + 1):
            value = b"s%d" % number
            segments = [(b"k%d" % number, value)]
            last = number == successor_writes
            steps = successor_steps if last else 99
            checkpoint = successor.checkpoint(Snapshot(state=value, segments=segments), offset=1)
            write(store, checkpoint, steps=steps)
            if steps > len(checkpoint.segments):
                known[b"k%d" % number] = value
                state_now = value
        return state_now, known

    if first:
        haunt()
        expected = succeed()
    else:
        expected = succeed()
        haunt()
    if expected[0] == b"0":
        # The successor never finished a checkpoint: the other's last one stands.
        return
    found = read(store)
    assert (found.saved.state, dict(found.saved.segments)) == expected


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01"])
@pytest.mark.parametrize("key", [b"head/clicks/1", b"head/clicks"])
def test_broken_state_is_a_clear_error(key: bytes, data: bytes) -> None:
    with pytest.raises(StateError, match=r"clicks\[3\].*delete the local data folder"):
        read({key: data})


@pytest.mark.parametrize("key", [b"head/clicks/1", b"head/clicks"])
@pytest.mark.parametrize(
    "head",
    [
        [1, 7, 42, b"state", [["t", b"k", b"v", 0]]],
        [state_log.SCHEMA_VERSION - 1, 1, 5, b"kept", [], {}, 0],
        [99, 1, 1, b"", [], {}, 0, "a field"],
    ],
)
def test_another_version_is_refused(key: bytes, head: list[Any]) -> None:
    """State of an older or later schema version is refused, and nothing is decoded of it."""
    store = {key: msgspec.msgpack.encode(head)}
    with pytest.raises(StateError, match=rf"schema version {head[0]}, .*another KPI_APP_ID"):
        read(store)
    with pytest.raises(StateError, match=f"schema version {head[0]}"):
        state_log.last_offset(store.items(), source=SOURCE)


def test_watchdog_finds_stuck_sources() -> None:
    """The watchdog finds sources that have records waiting and make no progress."""
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
