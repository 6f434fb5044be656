"""Silence is judged against a source's own rhythm."""

from __future__ import annotations

import pytest

from streams.kpis.coverage.source_rhythm import FORGOTTEN_MS, Activity, SourceName, SourceRhythm
from streams.kpis.intake.shares import Shares
from tests.support.offline import NOON

CLICKS, TOPIC = ("clicks", 0), ("clicks", -1)


def spoken(*, every_ms: int, for_ms: int) -> SourceRhythm:
    rhythm = SourceRhythm(silent_after_ms=20_000)
    for at in range(NOON - for_ms, NOON + 1, every_ms):
        assert not rhythm.spoke("clicks", 0, at_ms=at, listened_ms=at)
    return rhythm


def voices(rhythm: SourceRhythm, now_ms: int) -> dict[SourceName, Activity]:
    return {name: voice for name, (voice, _) in rhythm.quiet({CLICKS: now_ms}).items()}


@pytest.mark.parametrize(
    ("every_ms", "silence_ms", "voice"),
    [
        (500, 1_900, None),
        (500, 2_000, Activity.SUSPECT),
        (500, 19_999, Activity.SUSPECT),
        (500, 20_000, Activity.SILENT),
        (10_000, 29_000, None),
        (10_000, 30_000, Activity.SUSPECT),
        (10_000, 60_000, Activity.SILENT),
        (500, 7_200_000, Activity.SILENT),
        (500, FORGOTTEN_MS, None),
    ],
)
def test_suspect_then_silent(every_ms: int, silence_ms: int, voice: Activity | None) -> None:
    """A source is first suspect and then silent, in proportion to its longest pause."""
    rhythm = spoken(every_ms=every_ms, for_ms=120_000)
    expected = {} if voice is None else {CLICKS: voice, TOPIC: voice}
    assert voices(rhythm, NOON + silence_ms) == expected


def test_short_source_has_no_rhythm() -> None:
    """A source that had events for a moment only has no rhythm, and is never silent."""
    assert not voices(spoken(every_ms=10, for_ms=3_000), NOON + 600_000)


def test_ended_silence_is_reported_once() -> None:
    """A silence that ended is reported once, and then is part of the rhythm for a while."""
    rhythm = spoken(every_ms=500, for_ms=120_000)
    back = NOON + 50_000
    ended = rhythm.spoke("clicks", 0, at_ms=back, listened_ms=back)
    assert ended == [(CLICKS, 50_000), (TOPIC, 50_000)]
    assert not rhythm.spoke("clicks", 0, at_ms=back + 500, listened_ms=back + 500)
    assert not voices(rhythm, back + 500 + 149_000)
    assert voices(rhythm, back + 500 + 300_000)[TOPIC] is Activity.SILENT
    later = back + 11 * 60_000
    for at in range(back + 1_000, later + 1, 500):
        rhythm.spoke("clicks", 0, at_ms=at, listened_ms=at)
    assert voices(rhythm, later + 20_000)[TOPIC] is Activity.SILENT


def test_hourly_source_is_silent_once() -> None:
    """A source with events once an hour is silent once; then its rhythm is known."""
    rhythm = SourceRhythm(silent_after_ms=20_000)
    told = 0
    for hour in range(6):
        for second in range(41):
            at = NOON + hour * 3_600_000 + second * 1_000
            told += len(rhythm.spoke("spend", 0, at_ms=at, listened_ms=at))
        said = rhythm.quiet({("spend", 0): at + 3_000_000})
        assert bool(said) is (hour == 0)
    assert told == 2


def test_unread_time_is_no_silence() -> None:
    """Time that was not read is not counted as silence."""
    rhythm = spoken(every_ms=500, for_ms=120_000)
    listened = NOON
    for at in range(NOON + 100_000, NOON + 700_000, 100_000):
        assert not rhythm.spoke("clicks", 0, at_ms=at, listened_ms=listened)
        listened = at
    assert voices(rhythm, NOON + 620_000)[TOPIC] is Activity.SILENT


def test_topic_is_active_with_any_partition() -> None:
    """A topic is active while any of its partitions is."""
    rhythm = SourceRhythm(silent_after_ms=20_000)
    for at in range(NOON - 120_000, NOON + 40_001, 500):
        rhythm.spoke("clicks", 1, at_ms=at, listened_ms=at)
        if at <= NOON:
            rhythm.spoke("clicks", 0, at_ms=at, listened_ms=at)
    read_up_to = {CLICKS: NOON + 40_000, ("clicks", 1): NOON + 40_000}
    quiet = rhythm.quiet(read_up_to)
    assert {name: voice for name, (voice, _) in quiet.items()} == {CLICKS: Activity.SILENT}


def test_pause_within_the_rhythm_is_no_silence() -> None:
    """A pause as short as usual is no silence."""
    rhythm = spoken(every_ms=500, for_ms=120_000)
    assert not voices(rhythm, NOON + 1_000)


def test_a_rhythm_survives_a_restart() -> None:
    rhythm = spoken(every_ms=500, for_ms=120_000)
    again = SourceRhythm(silent_after_ms=20_000, wire=rhythm.to_wire())
    assert voices(again, NOON + 20_000) == voices(rhythm, NOON + 20_000) != {}


def test_shares_of_the_last_minutes() -> None:
    """Shares are those of the last minutes, and 0 without enough records."""
    shares = Shares()
    shares.record({"records": 99, "late": 99}, at_ms=NOON)
    assert shares.share("late", now_ms=NOON) == 0.0
    shares.record(
        {"records": 101, "dead_letters/not_json": 20, "dead_letters/empty": 30}, at_ms=NOON + 60_000
    )
    assert shares.share("dead_letters/", now_ms=NOON + 60_000) == 0.25
    shares.record({"records": 200}, at_ms=NOON + 301_000)
    assert shares.share("late", now_ms=NOON + 301_000) == 0.0
    assert shares.share("dead_letters/", now_ms=NOON + 301_000) == pytest.approx(50 / 301)
    assert shares.share("dead_letters/", now_ms=NOON + 601_000) == 0.0
