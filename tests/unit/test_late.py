"""Data that come hours and days late correct the long windows that they belong to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.window import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS
from tests.factories.events import as_table
from tests.support import oracle
from tests.support.compare import differences
from tests.support.customers import context
from tests.support.offline import NOON, RULES, ClosedKey, Path, event, ingest_job

MIDNIGHT = NOON + 12 * HOUR_MS


def patient_path() -> Path:
    """Return a path whose ingest takes data of the last weeks."""
    rules = replace(RULES, correction_horizon_ms=100 * DAY_MS, dedupe_horizon_ms=101 * DAY_MS)
    path = Path(now_ms=NOON + 150 * DAY_MS)
    path.sources = {source: ingest_job(*source, rules=rules) for source in path.sources}
    return path


def every_hour(days: int) -> list[dict[str, Any]]:
    return [
        event(at=NOON + hour * HOUR_MS + 1_000, event_id=f"e{hour}", user_id=f"u{hour % 7}")
        for hour in range(days * 24)
    ]


def late(hours: int, *, now: int) -> dict[str, Any]:
    return event(
        at=now - hours * HOUR_MS, event_id=f"late{hours}", campaign_id="c2", user_id=f"v{hours}"
    )


def test_late_data_correct_long_windows() -> None:
    """Late data correct every long window that can still be summed up."""
    path, days = patient_path(), 9
    now = NOON + days * DAY_MS
    events = every_hour(days)
    path.feed(events, batch=4)
    more = [late(hours, now=now) for hours in (2, 5, 26, 75, 150)]
    path.feed(more, batch=1)
    path.finish()
    midnights = {MIDNIGHT + number * DAY_MS for number in range(days)}
    frontier_ms = max(end for window, end, *_ in path.closed if window == "1m")
    named = {
        (window, end)
        for window, end, *_ in path.closed
        if (window in {"day", "week", "month"} and end in midnights)
        or (window in {"24h", "day", "week", "month", "so_far"} and end > frontier_ms - 2 * HOUR_MS)
    }
    assert named >= {
        ("day", MIDNIGHT + 3 * DAY_MS),
        ("day", MIDNIGHT + 6 * DAY_MS),
        ("week", MIDNIGHT + 7 * DAY_MS),
        ("month", MIDNIGHT + 7 * DAY_MS),
    }
    ends = {(window, oracle.window_start(window, end, "UTC"), end) for window, end in named}
    shown = {key: values for key, values in path.closed.items() if key[:2] in named}
    expected = oracle.values(as_table(events + more), ends, "UTC", compared=path.compared)
    assert not differences(shown, expected)
    assert path.kpis.view is not None
    assert path.kpis.view.uncorrected_panes == len(more)  # their minutes are too old


def test_after_a_silence() -> None:
    """An event that comes late from a source that was silent counts, and corrects what is kept.

    Lateness is judged by the source's own newest event: one that sends each hour's events at once
    must not lose them. An order 50 minutes late corrects the windows that are still kept. The
    minutes around it are not, which is counted.
    """
    path = Path(now_ms=NOON)
    first = event("order_placed", at=NOON, event_id="o1", order_id="o1")
    clicks = [event(at=NOON + minute * MINUTE_MS, event_id=f"c{minute}") for minute in range(61)]
    path.feed([clicks[0], first])
    for click in clicks[1:]:
        path.now_ms = click["event_time"]
        path.feed([click])
    order = event("order_placed", at=NOON + 10 * MINUTE_MS, event_id="o2", order_id="o2")
    path.feed([order])
    path.finish()
    assert path.kpis.view is not None
    assert path.kpis.view.total("dead_letters/") == 0
    assert path.kpis.view.uncorrected_panes == 1
    kept = {key[:2] for key in path.closed if key.window in {"1h", "day", "so_far"}}
    ends = [(window, oracle.window_start(window, end, "UTC"), end) for window, end in kept]
    expected = oracle.values(as_table([*clicks, first, order]), ends, "UTC", compared=path.compared)
    shown = {key: values for key, values in path.closed.items() if key[:2] in kept}
    assert len(shown) > 100
    assert not differences(shown, expected)


def test_very_late_data_count_in_all_time() -> None:
    """An event older than all kept days counts in the all-time window only."""
    path = patient_path()
    path.feed(every_hour(1))
    assert path.kpis.view is not None
    buckets = path.kpis.view.buckets
    path.feed([late(24 * 90, now=NOON + DAY_MS)])
    path.feed([event(at=NOON + hour * HOUR_MS, event_id=f"e{hour}") for hour in (25, 26)])
    path.finish()
    end = NOON + 25 * HOUR_MS + 15 * MINUTE_MS
    assert path.closed[ClosedKey("so_far", end)]["clicks"][0] == 26
    assert path.closed[ClosedKey("month", end)]["clicks"][0] == 25
    assert path.kpis.view is not None
    assert path.kpis.view.uncorrected_panes == 1
    assert path.kpis.view.buckets <= buckets + 6


def test_late_data_make_no_fine_buckets() -> None:
    path = patient_path()
    path.feed(every_hour(2), batch=4)
    now = NOON + 2 * DAY_MS - HOUR_MS
    path.feed([late(30, now=now)])
    late_ms = now - 30 * HOUR_MS
    panes, minutes, quarters = (path.bucket_starts(level) for level in range(3))
    assert not any(start <= late_ms for start in (*panes, *minutes))
    assert late_ms - late_ms % QUARTER_MS in quarters


def order(at: int, amount: str) -> dict[str, Any]:
    return event("order_placed", at=at, event_id=f"order-{at}", amount=amount)


def test_an_edited_order_corrects_its_windows() -> None:
    """An order that is edited days later has its new amount in the windows of its own time."""
    path = Path(now_ms=NOON + 150 * DAY_MS, customers=context())
    for hour in range(0, 75, 12):
        path.feed([event(at=NOON + hour * HOUR_MS, event_id=f"e{hour}")])
        if hour == 0:
            path.feed([order(NOON + 3 * HOUR_MS + 5_000, "100")])
    path.feed([order(NOON + 72 * HOUR_MS + 9_000, "80")])
    path.feed([event(at=NOON + 72 * HOUR_MS + QUARTER_MS, event_id="last")])
    path.finish()

    def told(window: str, end: int, kpi: str) -> Any:
        return path.closed[ClosedKey(window, end)][kpi][0]

    newest = NOON + 72 * HOUR_MS + QUARTER_MS
    for window, end in (("day", MIDNIGHT), ("week", newest), ("so_far", newest)):
        assert told(window, end, "orders") == 1
        assert told(window, end, "revenue_gross") == told(window, end, "aov") == 80.0
        assert told(window, end, "order_value_median") == pytest.approx(80, rel=0.02)
        assert told(window, end, "repeat_orders") == 0
    assert told("week", newest, "clv") == 80.0
    today = path.closed[ClosedKey("day", NOON + 72 * HOUR_MS + MINUTE_MS)]
    assert "orders" not in today or today["orders"][0] == 0


@pytest.mark.parametrize("at", [NOON + 9 * HOUR_MS - 5_000, MIDNIGHT - 5_000])
def test_a_correction_keeps_what_was_shown(at: int) -> None:
    """A window is corrected only if itself and its business day can still be summed up.

    After eight days the window of an hour that ends at 21:00 can be summed up, but not the day up
    to it: KPIs would become absent whose input was seen in the morning. Of the window of a minute
    that ends at midnight the day can be summed up, but not the minute.
    """
    path = Path(now_ms=NOON + 150 * DAY_MS, customers=context())
    registered = event("registration", at=NOON - 3 * HOUR_MS, event_id="r")
    path.feed([registered, order(at, "100")], batch=1)
    for hours in range(6, 8 * 24, 12):
        path.feed([event(at=at + hours * HOUR_MS, event_id=f"e{hours}")])
    keys = [ClosedKey(window, at + 5_000) for window in ("1m", "1h", "day")]
    before = {key: path.closed[key] for key in keys}
    assert before[keys[1]]["registrations"][0] == 0
    path.feed([order(at + 8 * DAY_MS + 2 * HOUR_MS, "80")])
    path.finish()
    for key in keys:
        assert path.closed[key].keys() == before[key].keys()
        assert path.closed[key]["orders"][0] == 1
        assert path.closed[key]["revenue_gross"][0] in {80.0, 100.0}
