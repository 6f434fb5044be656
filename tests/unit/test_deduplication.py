"""Seen ids: the same answer whether they lie in sets or in sorted arrays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.window import MINUTE_MS
from streams.ingest.events import deduplication
from streams.ingest.events.deduplication import SeenIds
from tests.support.offline import NOON

HORIZON_MS = 12 * MINUTE_MS


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 30), st.integers(0, 9)),
            st.sampled_from(["checkpoint", "restart"]),
        ),
        max_size=120,
    )
)
def test_an_id_is_new_once_whatever_happens_between(steps: list[tuple[int, int] | str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deduplication, "SEAL_LEAST", 1)
        check(steps)


def check(steps: list[tuple[int, int] | str]) -> None:
    seen, model = SeenIds(horizon_ms=HORIZON_MS), set[tuple[int, int]]()
    segments: dict[bytes, bytes] = {}
    newest = NOON
    for one in steps:
        if isinstance(one, tuple):
            name, minute = one
            at = NOON + minute * MINUTE_MS
            newest = max(newest, at)
            assert seen.first_time(f"e{name}", at) is ((name, minute) not in model)
            model.add((name, minute))
            continue
        for key, value in seen.take_segments(newest_event_time=newest):
            assert value is not None
            segments[key] = value
        if one == "restart":
            counter = seen.counter
            seen = SeenIds(horizon_ms=HORIZON_MS)
            seen.restore(segments, counter=counter)
    assert len(seen) == len(model)


def test_sealed_minutes_take_eight_bytes_an_id() -> None:
    """Ids of sealed minutes take eight bytes each."""
    seen = SeenIds(horizon_ms=HORIZON_MS)
    for number in range(20_000):
        seen.first_time(f"e{number}", NOON + number)
    list(seen.take_segments(newest_event_time=NOON + 5 * MINUTE_MS))
    # In which of the two forms an id is kept shows in no answer, only in memory.
    assert not seen._minutes
    assert sum(hashes.nbytes for hashes in seen._sealed.values()) == 8 * 20_000
    assert not seen.first_time("e7", NOON + 7)
    assert seen.first_time("late", NOON + 7)
    assert not seen.first_time("late", NOON + 7)
