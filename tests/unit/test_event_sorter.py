"""Sorting of events in bounded memory, and their ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import FeedError
from streams.feed.events.event_sorter import EventSorter
from streams.feed.rows.row_mapper import ID_PLACE, MappedEvent
from tests.factories.feed import AT, VISITS, opened, read, whole_events


def event(time_ms: int, line: int, *, user: str = "u") -> MappedEvent:
    """Return a click without an id."""
    body = {"event_id": ID_PLACE, "event_time": time_ms, "type": "click", "user_id": user}
    value = json.dumps(body, ensure_ascii=False).encode()
    return MappedEvent(time_ms, line, "click", user.encode(), value)


@given(st.lists(st.integers(0, 30)), st.sampled_from([0, 1_000, 3_000, 1 << 20]))
def test_sorted_whatever_the_memory(times: list[int], memory_bytes: int) -> None:
    """Events come in the order of their times, and of their lines where times are equal."""
    sorter = EventSorter(memory_bytes=memory_bytes)
    for line, time_ms in enumerate(times):
        sorter.add(event(time_ms, line))
    found = [(one.time_ms, one.line) for one in sorter.events()]
    assert found == sorted((time_ms, line) for line, time_ms in enumerate(times))
    assert found == [(one.time_ms, one.line) for one in sorter.events()], "the same again"
    assert len(sorter) == len(times)
    late = sum(time_ms < max(times[:at], default=0) for at, time_ms in enumerate(times))
    assert sorter.late == late
    sorter.close()


def test_memory_is_bounded() -> None:
    """Of a file in any order, no more than the given bytes are kept in memory."""
    sorter = EventSorter(memory_bytes=20_000)
    largest = 0
    for line in range(3_000):
        sorter.add(event(3_000 - line, line))
        largest = max(largest, len(sorter._kept))
    assert largest < 60
    assert [one.time_ms for one in sorter.events()] == list(range(1, 3_001))


def test_no_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the temporary file can't be written, the message says where and what to set."""

    def full(**_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("streams.feed.events.event_sorter.tempfile.TemporaryFile", full)
    with pytest.raises(FeedError, match="No space left on device; set TMPDIR"):
        EventSorter(memory_bytes=0).add(event(1, 1))


TEXT = """\
at,user,pages
3000000000000,u3,1
1000000000000,u1,1
1000000000000,u1,1
2000000000000,u2,1
"""


def ids(folder: Path, text: str, *, name: str = "log.csv", **changed: Any) -> list[tuple[str, str]]:
    """Return the users and ids of the events of a file."""
    rows = read(folder, text, {**VISITS, **changed}, name=name)
    return [(one["user_id"], one["event_id"]) for one in whole_events(rows)]


def test_ids_are_what_the_event_says(tmp_path: Path) -> None:
    """The id of an event depends on what it says and how many before it say the same."""
    found = ids(tmp_path, TEXT)
    (_, first), (_, second), *_ = found
    assert [user for user, _ in found] == ["u1", "u1", "u2", "u3"]
    assert second == f"{first}-2"
    assert len({one for _, one in found}) == 4
    head, *rows = TEXT.splitlines(keepends=True)
    assert ids(tmp_path, head + "".join(reversed(rows)), name="other.csv") == found


def test_corrected_file(tmp_path: Path) -> None:
    """A corrected file changes the ids of the rows that were corrected, and no others."""
    before = ids(tmp_path, TEXT)
    assert ids(tmp_path, TEXT.replace("u2,1", "u2,5"), name="b.csv")[3:] == before[3:]
    assert ids(tmp_path, TEXT.replace("u2,1", "u2,5"))[2][1] != before[2][1]
    assert ids(tmp_path, TEXT.replace("1000000000000,u1,1\n", "", 1)) == [before[0], *before[2:]]
    more = ids(tmp_path, TEXT + "1500000000000,new,1\n")
    assert [one for one in more if one[0] != "new"] == before


def test_order_id_of_the_event(tmp_path: Path) -> None:
    """`{event_id}` gives each row an order id of its own, which a corrected file keeps."""
    mapping = {
        "time": VISITS["time"],
        "events": [
            {
                "type": "order_placed",
                "fields": {
                    "user_id": "{user}",
                    "order_id": "shop-{event_id}",
                    "amount": "1",
                    "currency": "CNY",
                },
            }
        ],
    }
    made = whole_events(read(tmp_path, TEXT, mapping))
    assert [one["order_id"] for one in made] == [f"shop-{one['event_id']}" for one in made]
    assert len({one["order_id"] for one in made}) == 4


def test_ids_of_ones_own(tmp_path: Path) -> None:
    """With `event_id`, the ids are those of the file; without a value the row is refused."""
    text = f"at,user,pages,id\n{AT},u1,1,a\n{AT},u2,1,\n"
    rows = read(tmp_path, text, {**VISITS, "event_id": "v-{id}"})
    assert [one["event_id"] for one in whole_events(rows)] == ["v-a"]
    assert [*rows.report.refusals] == ["event_id: no value"]


def test_sorted_file_on_disk(tmp_path: Path) -> None:
    """A file that is larger than the memory is sent whole and in order."""
    text = "at,user,pages\n" + "".join(
        f"{AT - (line * 7919) % 997},u{line},1\n" for line in range(997)
    )
    rows = opened(tmp_path, text, VISITS, memory_bytes=10_000)
    rows.read()
    times = [one["event_time"] for one in whole_events(rows)]
    assert times == [AT - 996 + step for step in range(997)]
    assert "events not in order of time in the file; all are sent in it" in "\n".join(
        rows.report.lines()
    )


@given(st.lists(st.integers(0, 3), max_size=8))
def test_equal_events_once(times: list[int]) -> None:
    """Events that say the same have one id if they are to count once, and else ids of their own."""
    ids = {}
    for once in (False, True):
        sorter = EventSorter(equal_once=once)
        for line, time_ms in enumerate(times):
            sorter.add(event(time_ms, line))
        ids[once] = {json.loads(one.value)["event_id"] for one in sorter.events()}
    assert len(ids[False]) == len(times)
    assert len(ids[True]) == len({*times})
    assert ids[True] <= ids[False]
