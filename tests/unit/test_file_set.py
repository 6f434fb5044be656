"""Files that are fed together: merged by time, and what would be too late is found."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.feed.events.file_set import FileSet
from streams.feed.events.late_events import Newest, late_events
from streams.feed.sending import records
from streams.operations.key_check import expected_partition
from streams.operations.synthetic import FeedRecord
from tests.factories.feed import AT, TOPICS, VISITS, opened

ORDERS = {
    "time": {"value": "{at}", "format": "epoch_ms"},
    "events": [
        {
            "type": "order_placed",
            "fields": {
                "user_id": "{user}",
                "order_id": "{pages}",
                "amount": "1",
                "currency": "CNY",
            },
        }
    ],
}
times = st.lists(st.integers(0, 20), max_size=12)
files = st.lists(st.tuples(times, st.booleans()), min_size=1, max_size=4)


def file_set(folder: Path, several: Sequence[tuple[list[int], bool]]) -> FileSet:
    """Read a file for each list of times, of orders or visits; few events fit into memory."""
    read = []
    for number, (at, orders) in enumerate(several):
        rows = "".join(f"{AT + one},u{one},{place}\n" for place, one in enumerate(at))
        (folder / str(number)).mkdir()
        mapping = ORDERS if orders else VISITS
        file = opened(
            folder / str(number),
            f"at,user,pages\n{rows}{AT},none,0\n",
            mapping,
            name=f"{number}.csv",
            memory_bytes=1_500,
        )
        file.read()
        read.append(file)
    return FileSet(folder / "shop.yaml", read)


@given(several=files)
def test_merged(several: list[tuple[list[int], bool]]) -> None:
    """All events of all files come once, in the order of their times, and each time the same."""
    with tempfile.TemporaryDirectory() as folder:
        merged = file_set(Path(folder), several)
        events = list(merged.named_events())
        assert len(events) == len(merged) == sum(len(at) + 1 for at, _ in several)
        found = [event.time_ms for _, event in events]
        assert found == sorted(found)
        for number, file in enumerate(merged.files):
            name = f"{number}.csv" if len(several) > 1 else ""
            assert [one for of, one in events if of == name] == list(file.sorter.events())
        assert list(merged.named_events()) == events
        assert list(merged.events()) == [event for _, event in events]


def test_row_of_two_files(tmp_path: Path) -> None:
    """A row that two files have is the same event in both, so the monitor counts it once."""
    events = file_set(tmp_path, [([5], False), ([5, 5], False)]).events()
    ids = [event.value for event in events if event.time_ms == AT + 5]
    assert len(ids) == 3
    assert len(set(ids)) == 2  # pages are another number in the third


def late(
    several: Sequence[FeedRecord], newest: dict[tuple[str, int], int], accepted_ms: int
) -> dict[str, int]:
    """Return the number of late events by topic."""
    times = {source: Newest(at_ms) for source, at_ms in newest.items()}
    return dict(late_events(several, times, partitions=4, accepted_ms=accepted_ms).events)


@given(
    at=st.lists(st.tuples(st.integers(0, 100), st.sampled_from(["a", "b", "c", "d"])), max_size=20),
    newest=st.dictionaries(
        st.tuples(st.sampled_from(TOPICS), st.integers(0, 3)), st.integers(0, 100)
    ),
    accepted_ms=st.integers(0, 30),
)
def test_late(
    at: list[tuple[int, str]], newest: dict[tuple[str, int], int], accepted_ms: int
) -> None:
    """Late is what is too much older than the newest event of its own partition."""
    several = [FeedRecord(ms, "orders", key.encode(), b"{}") for ms, key in sorted(at)]
    expected = sum(
        ms < newest.get(("orders", expected_partition(key.encode(), 4)), 0) - accepted_ms
        for ms, key in at
    )
    assert late(several, newest, accepted_ms).get("orders", 0) == expected


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        ("campaigns", b'{"type":"spend_reported","period":"2026-11-25"}'),
        ("orders", b'{"type":"identity","user_id":"erin","same_as":"cookie"}'),
    ],
)
def test_events_of_any_time(topic: str, value: bytes) -> None:
    """Costs of a period and links of ids are never too late: they are sent after newer events."""
    newest = {(topic, number): 1_000 for number in range(4)}
    cost = FeedRecord(5, topic, b"c", value)
    assert not late([cost], newest, 10)
    assert late([cost._replace(value=b"{}")], newest, 10) == {topic: 1}


def test_merged_files_are_not_late(tmp_path: Path) -> None:
    """Files of one topic would be late one after the other, and are not when they are merged."""
    merged = file_set(tmp_path, [([1, 9], True), ([2, 3], True)])
    newest: dict[tuple[str, int], int] = {}
    for record in records(merged.events(), TOPICS):
        assert not late([record], newest, 0)
        newest[record.topic, expected_partition(record.key, 4)] = record.due_ms
    second = FileSet(merged.files[1].path, [merged.files[1]])
    assert late(list(records(second.events(), TOPICS)), newest, 0)


def test_message(tmp_path: Path) -> None:
    """The error says how many are late, up to when the topic has events, and what to do."""
    merged = file_set(tmp_path, [([2, 3], True)])
    newest = {("orders", number): Newest(AT + 60_000) for number in range(4)}
    found = late_events(records(merged.events(), TOPICS), newest, partitions=4, accepted_ms=5_000)
    message = str(found.error(3, accepted_s=5))
    assert message.startswith(
        "3 of 3 events are too late for the topic orders, which has events up to 14 Nov 2023 "
        "22:14:20 UTC: the monitor refuses what is over 5 s older\nnothing is sent."
    )
    for remedy in ("`kpi-monitor reset --sources`", "`kpi-monitor feed --all PROJECT`", "--late"):
        assert remedy in message


def test_message_after_an_end(tmp_path: Path) -> None:
    """If an earlier feed said that the topic is complete, the error says so, and how not to."""
    merged = file_set(tmp_path, [([2, 3], True)])
    newest = {("orders", number): Newest(AT + 60_000, ended=True) for number in range(4)}
    found = late_events(records(merged.events(), TOPICS), newest, partitions=4, accepted_ms=5_000)
    message = str(found.error(3, accepted_s=5))
    assert message.startswith(
        "3 of 3 events are too late for the topic orders, which is complete through 14 Nov 2023 "
        "22:14:20 UTC, as an earlier feed said at its end: the monitor refuses what is over 5 s "
        "older\nnothing is sent."
    )
    assert "give --through none with all of them but the last" in message


def test_newest_by_kind(tmp_path: Path) -> None:
    """A topic has the last time of the files with its events, not of others."""
    merged = file_set(tmp_path, [([5], False), ([9, 7], True), ([8], True)])
    assert merged.newest_by_kind == {"clicks": AT + 5, "orders": AT + 9}
