"""A demo without an end: event time never passes the clock, and something goes wrong again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from models.window import MINUTE_MS
from streams.embedded import demo, processes
from streams.errors import EmbeddedError
from streams.operations import producer
from streams.operations.synthetic import SCENARIOS, FeedRecord, Recurring, staged
from tests.support.offline import NOON


class Clock:
    """A clock that moves when somebody sleeps, and a client that notes when it was sent to."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s
        self.sent: list[tuple[float, int]] = []

    def time(self) -> float:
        return self.now_s

    monotonic = time

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    async def send(self, _topic: str, value: bytes, _key: bytes) -> None:
        self.sent.append((self.now_s, int(value)))

    async def flush(self) -> None:
        pass


def test_without_extra() -> None:
    """What the extra brings is asked for by its name, not by a traceback."""
    with pytest.raises(EmbeddedError, match=r"no_such is not installed.*\[demo\].*KPI_KAFKA"):
        processes.from_extra("no_such.module")


def sent_at(
    monkeypatch: pytest.MonkeyPatch, *, behind_ms: int, never_ahead: bool
) -> list[tuple[float, int]]:
    """Return when records are sent, one for each second of event time, at four times the pace."""
    clock = Clock(NOON / 1000)
    monkeypatch.setattr(producer, "time", clock)
    monkeypatch.setattr("streams.operations.producer.asyncio.sleep", clock.sleep)
    first_ms = NOON - behind_ms
    records = [
        FeedRecord(first_ms + second * 1000, "clicks", b"", b"%d" % (first_ms + second * 1000))
        for second in range(120)
    ]
    client: Any = clock
    work = producer.send_paced(client, records, speed=4.0, never_ahead=never_ahead)
    assert asyncio.run(work) == len(records)
    return clock.sent


def test_never_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event time runs four times as fast until it has reached the clock, then at its pace."""
    sent = sent_at(monkeypatch, behind_ms=60_000, never_ahead=True)
    assert all(time_ms <= at_s * 1000 + 1 for at_s, time_ms in sent)
    at_s = [at - NOON / 1000 for at, _ in sent]
    assert at_s[40] == pytest.approx(10.0)
    assert at_s[119] == pytest.approx(59.0)


def test_history_keeps_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is played back keeps its pace, whatever its dates are."""
    sent = sent_at(monkeypatch, behind_ms=0, never_ahead=False)
    assert sent[119][0] - NOON / 1000 == pytest.approx(119 / 4)


def test_something_goes_wrong_again() -> None:
    """All scenarios take turns after the first one, and no two at a time."""
    length_ms = MINUTE_MS
    again = list(demo.recurring_faults("tracking-lost", first_ms=NOON, length_ms=length_ms))
    assert {one.name for one in again} == set(SCENARIOS)
    turn_ms = round(demo.AGAIN_EVERY_S * 1000)
    for number in range(1, 30):
        start_ms = NOON + number * turn_ms
        (active,) = (one.name for one in again if one.active(start_ms + 1))
        assert active == again[(number - 1) % len(again)].name
        assert not any(one.active(start_ms + length_ms) for one in again)
    assert not any(one.active(NOON + 1) for one in again)
    assert all(isinstance(one, Recurring) for one in again)


def test_the_campaign_lasts() -> None:
    """The campaign of a demo without an end does not end within days, and has money for them."""
    first, *_ = staged(NOON, days=demo.WITHOUT_END_DAYS)
    assert first.ends is not None
    assert first.starts is not None
    assert (first.ends - first.starts).days == demo.WITHOUT_END_DAYS > 3
    assert first.budget is not None
    one_day, *_ = staged(NOON)
    assert one_day.budget is not None
    assert first.budget.amount == one_day.budget.amount * demo.WITHOUT_END_DAYS
