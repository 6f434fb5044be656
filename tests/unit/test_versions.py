"""What cells of an older version do not know is absent after an upgrade, not 0."""

from __future__ import annotations

from typing import Any

import pytest

from models.aggregates.cell import CellWire
from models.aggregates.ingest_report import FacetCell
from models.kpi.measures import NEWEST_MEASURES, SUMS, WIDTH_BEFORE, known_since
from models.window import HOUR_MS, MINUTE_MS, PANE_MS, WINDOWS
from streams.kpis.coverage.observation import Observation
from tests.support.customers import context
from tests.support.offline import NOON, Path, event, taken_over

ONE_MINUTE, HOUR = WINDOWS[0], WINDOWS[2]


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("clicks", 3),
        ("measurements", 3),
        ("buyers", 3),
        ("visitors", 3),
        ("page_views", 4),
        ("sentiment_negative", 4),
        ("engaged", 4),
        ("active", 4),
        ("dwell_ms", 4),
        ("followers", 4),
        ("refunds_made", 5),
        ("orders_linear", 5),
        ("returning", 5),
    ],
)
def test_every_measure_is_known_from_a_version_on(name: str, version: int) -> None:
    assert known_since(name) == version


def of_width(width: int) -> list[FacetCell]:
    return [FacetCell("c1", "search", CellWire(sums=[1] * width))]


def test_a_window_is_of_the_oldest_version_that_measured_a_part_of_it() -> None:
    observation = Observation()
    widths = [WIDTH_BEFORE[4], WIDTH_BEFORE[4], WIDTH_BEFORE[5], len(SUMS), WIDTH_BEFORE[5]]
    for pane, width in enumerate(widths):
        observation.pane_seen(pane * PANE_MS, of_width(width))
    versions = [observation.version_at(pane * PANE_MS) for pane in range(7)]
    assert versions == [3, 3, 4, 4, 4, NEWEST_MEASURES, NEWEST_MEASURES]


def orders(minutes: range) -> list[dict[str, Any]]:
    return [
        event(
            "order_placed",
            at=NOON + minute * MINUTE_MS + 500,
            event_id=f"e{minute}",
            order_id=f"o{minute}",
            user_id=f"u{minute}",
        )
        for minute in minutes
    ]


@pytest.mark.parametrize(
    ("version", "absent", "present"),
    [
        (3, {"new_customers", "active_users", "aov"}, {"orders", "revenue_gross", "buyers"}),
        (4, {"new_customers", "orders_linear", "refund_outflow"}, {"orders", "active_users"}),
        (5, set(), {"orders", "active_users", "new_customers", "orders_linear"}),
    ],
)
def test_what_an_older_version_did_not_measure_is_absent_until_a_window_is_newer(
    version: int, absent: set[str], present: set[str]
) -> None:
    path = Path(now_ms=NOON + 5 * HOUR_MS, customers=context())
    path.feed(orders(range(0, 30)), batch=1)
    path.kpis = taken_over(path, version=version)
    path.feed(orders(range(30, 120)), batch=1)
    path.finish()
    upgraded_ms = NOON + 30 * MINUTE_MS
    before = path.closed["1h", upgraded_ms + 30 * MINUTE_MS, "all", "", "", "", ""]
    assert present <= before.keys()
    assert not absent & before.keys()
    after = path.closed["1h", upgraded_ms + 70 * MINUTE_MS, "all", "", "", "", ""]
    assert absent | present <= after.keys()
    assert after["new_customers"][0] == 60


def test_growth_waits_until_the_period_before_is_newer_too() -> None:
    path = Path(now_ms=NOON + 5 * HOUR_MS, customers=context())
    path.feed(orders(range(0, 130)), batch=1)
    path.kpis = taken_over(path, version=4)
    path.feed(orders(range(130, 270)), batch=1)
    path.finish()
    shown = {
        minute: path.closed["1h", NOON + minute * MINUTE_MS, "all", "", "", "", ""]
        for minute in (180, 200, 260)
    }
    growing = {minute: "sales_growth" in kpis for minute, kpis in shown.items()}
    assert growing == {180: True, 200: True, 260: True}
    retained = {minute: "retention_rate" in kpis for minute, kpis in shown.items()}
    assert retained == {180: False, 200: False, 260: True}
