"""The broker's clock: learned from acknowledgements, never ahead of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.engine.broker_clock import FORGET_S, SILENCE_S, BrokerClock
from streams.ingest.watermark import Watermark

EPOCH_MS = 1_700_000_000_000


def test_broker_time_needs_an_acknowledgement() -> None:
    """The broker's time is unknown until the first acknowledgement."""
    clock = BrokerClock(monotonic=lambda: 10.0)
    assert not clock.known
    assert clock.at_ms(10.0) is None
    clock.record(EPOCH_MS, sent_at=9.9, acked_at=10.0)
    assert clock.known
    assert clock.at_ms(12.5) == EPOCH_MS + 2_500
    assert clock.now_ms() == EPOCH_MS


@given(
    st.lists(
        st.tuples(st.floats(0.001, 20.0), st.floats(0.0, 5.0), st.floats(0.0, 5.0)), min_size=1
    )
)
def test_it_is_never_ahead_of_the_broker(steps: list[tuple[float, float, float]]) -> None:
    """Steps are (pause, way there, way back) in s; the broker's clock is EPOCH_MS + monotonic."""
    clock, now = BrokerClock(), 0.0
    for pause, there, back in steps:
        sent_at = now + pause
        appended_at = sent_at + there
        now = appended_at + back
        clock.record(int(EPOCH_MS + appended_at * 1000), sent_at=sent_at, acked_at=now)
        shown = clock.at_ms(now)
        assert shown is not None
        assert shown <= EPOCH_MS + now * 1000 + 1e-3


def test_tight_bound_is_kept_for_a_while() -> None:
    """The tightest bound of the broker's time is kept, and dropped when it is old."""
    clock = BrokerClock()
    clock.record(EPOCH_MS, sent_at=0.0, acked_at=0.0)
    clock.record(EPOCH_MS + 1_000, sent_at=1.0, acked_at=1.5)
    assert clock.at_ms(2.0) == EPOCH_MS + 2_000
    for acked_at in (FORGET_S + 2, 2 * FORGET_S + 4):
        clock.record(
            EPOCH_MS + int(acked_at * 1000) - 500, sent_at=acked_at - 0.6, acked_at=acked_at
        )
    assert clock.at_ms(100.0) == EPOCH_MS + 99_500


def test_slow_acknowledgement_means_an_outage() -> None:
    """An acknowledgement that took long shows that the broker did not answer meanwhile."""
    clock = BrokerClock()
    clock.record(EPOCH_MS, sent_at=0.0, acked_at=0.1)
    assert clock.answering_since_ms == 0
    clock.record(EPOCH_MS + 9_000, sent_at=1.0, acked_at=1.1 + SILENCE_S)
    assert clock.answering_since_ms == EPOCH_MS + 9_000


def test_outage_does_not_advance_the_watermark() -> None:
    """Time in which the broker did not answer does not advance the watermark or count as idle."""
    mark = Watermark(allowed_disorder_ms=5_000, idle_after_ms=5_000)
    mark.newest_event_time = EPOCH_MS
    mark.appended(EPOCH_MS)
    mark.caught_up(at_ms=EPOCH_MS + 2_200)
    assert mark.watermark_ms == EPOCH_MS - 5_000 + 2_000
    back_ms = EPOCH_MS + 60_000
    mark.caught_up(at_ms=back_ms + 1_200, answering_since_ms=back_ms)
    assert mark.watermark_ms == EPOCH_MS - 5_000 + 2_000 + 1_000
    assert not mark.idle
    mark.caught_up(at_ms=back_ms + 6_000, answering_since_ms=back_ms)
    assert mark.idle
    # A short break later does not undo what was carried on before it.
    before = mark.watermark_ms
    mark.caught_up(at_ms=back_ms + 10_200, answering_since_ms=back_ms + 9_000)
    assert mark.watermark_ms == before + 1_000
    mark.appended(back_ms + 11_000)
    assert mark.watermark_ms == EPOCH_MS - 5_000


@given(st.integers(-60_000, 60_000), st.lists(st.integers(0, 20_000), max_size=20))
def test_watermark_is_not_ahead_of_the_clock(ahead_ms: int, polls: list[int]) -> None:
    """With an event stamped ahead of the broker's clock, nothing is complete before it ended."""
    mark = Watermark(allowed_disorder_ms=5_000, idle_after_ms=5_000)
    mark.newest_event_time = EPOCH_MS + ahead_ms
    mark.appended(EPOCH_MS)
    before, at_ms = mark.watermark_ms, EPOCH_MS
    for step_ms in [0, *polls]:
        at_ms += step_ms
        mark.caught_up(at_ms=at_ms)
        assert before <= mark.watermark_ms <= mark.read_up_to_ms
        before = mark.watermark_ms
