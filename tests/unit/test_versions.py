"""What cells of an older version do not know is absent after an upgrade, not 0."""

from __future__ import annotations

from typing import Any

import pytest

from models.aggregates import ingest_report
from models.kpi import measures
from models.window import HOUR_MS, MINUTE_MS, PANE_MS, WINDOWS
from streams.engine.contracts import BesideRecordsError
from streams.errors import StateError
from streams.kpis.coverage.observation import Observation
from tests.support.customers import context
from tests.support.offline import NOON, ClosedKey, Path, Record, event, taken_over

ONE_MINUTE, HOUR = WINDOWS[0], WINDOWS[2]


@pytest.fixture
def third_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures of version 3: version 2 added engaged users, version 3 orders of customers."""
    since = dict.fromkeys(("first_orders", "orders_attributed"), 3) | {"engaged": 2}
    monkeypatch.setattr(measures, "VERSION", 3)
    monkeypatch.setattr(
        measures,
        "known_since",
        lambda name: max(since.get(part, 1) for part in measures.UNIONS.get(name, (name,))),
    )


def test_first_version() -> None:
    """The measures of the first version stay what they are: a new one has a later `since`."""
    tables = (measures.SUMS, measures.USER_SETS, measures.DISTRIBUTIONS, measures.LEVELS)
    first = [[one.name for one in table if one.since == 1] for table in tables]
    assert [len(names) for names in first] == [52, 6, 3, 4]
    assert [names[-1] for names in first] == [
        *("revenue_linear", "returning", "complaint_response_ms", "stock")
    ]
    for table in tables:
        versions = [one.since for one in table]
        assert versions == sorted(versions)


def test_union_with_a_newer_part(third_version: None) -> None:
    """A union is known since its newest part is."""
    assert measures.known_since("participants") == 2
    assert measures.known_since("visitors") == 1


def test_newer_state_is_refused() -> None:
    """A state with measures that this version does not know is refused, with what to do."""
    path = Path(now_ms=NOON + HOUR_MS)
    path.feed(orders(range(3)), batch=1)
    known, newer = measures.VERSION, measures.VERSION + 1
    why = f"measures of version {newer}, this worker knows those up to {known}"
    with pytest.raises(StateError, match=why):
        taken_over(path, measures_version=newer)


def test_newer_report_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report with newer measures ends the worker, and is not set aside as a broken record."""
    path = Path(now_ms=NOON + HOUR_MS)
    known, newer = measures.VERSION, measures.VERSION + 1
    monkeypatch.setattr(measures, "VERSION", newer)
    reported = ingest_report.encode([])
    monkeypatch.setattr(measures, "VERSION", known)
    with pytest.raises(BesideRecordsError, match=f"measures of version {newer}"):
        path.kpis.apply([Record(9_999, path.now_ms, None, reported)])


@pytest.mark.usefixtures("third_version")
def test_oldest_version() -> None:
    """A window is of the oldest version that measured a part of it."""
    observation = Observation()
    for pane, version in enumerate((1, 1, 2, 3, 2)):
        observation.pane_seen(pane * PANE_MS, measures_version=version)
    versions = [observation.measured_at(pane * PANE_MS).version for pane in range(7)]
    assert versions == [1, 1, 2, 2, 2, 3, 3]


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


@pytest.mark.usefixtures("third_version")
@pytest.mark.parametrize(
    ("version", "absent", "present"),
    [
        (1, {"new_customers", "active_users"}, {"orders", "revenue_gross", "aov", "buyers"}),
        (2, {"new_customers", "orders_linear", "refund_outflow"}, {"orders", "active_users"}),
        (3, set(), {"orders", "active_users", "new_customers", "orders_linear"}),
    ],
)
def test_older_measures(version: int, absent: set[str], present: set[str]) -> None:
    """What an older version did not measure is absent until a window is newer."""
    path = Path(now_ms=NOON + 5 * HOUR_MS, customers=context())
    click = event("click", at=NOON, user_id="u0")  # so that an order has a touch
    path.feed([click, *orders(range(0, 30))], batch=1)
    path.kpis = taken_over(path, measures_version=version)
    path.feed(orders(range(30, 120)), batch=1)
    path.finish()
    upgraded_ms = NOON + 30 * MINUTE_MS
    before = path.closed[ClosedKey("1h", upgraded_ms + 30 * MINUTE_MS)]
    assert present <= before.keys()
    assert not absent & before.keys()
    after = path.closed[ClosedKey("1h", upgraded_ms + 70 * MINUTE_MS)]
    assert absent | present <= after.keys()
    assert after["new_customers"][0] == 60


@pytest.mark.usefixtures("third_version")
def test_older_period_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A KPI that looks back is absent until the period before is newer, too."""
    monkeypatch.setattr(measures, "known_since", lambda name: 3 if name == "revenue_gross" else 1)
    path = Path(now_ms=NOON + 5 * HOUR_MS, customers=context())
    path.feed(orders(range(0, 130)), batch=1)
    path.kpis = taken_over(path, measures_version=2)
    path.feed(orders(range(130, 270)), batch=1)
    path.finish()
    shown = {
        minute: path.closed[ClosedKey("1h", NOON + minute * MINUTE_MS)]
        for minute in (180, 200, 260)
    }
    known = {minute: "revenue_gross" in kpis for minute, kpis in shown.items()}
    assert known == {180: False, 200: True, 260: True}
    growing = {minute: "sales_growth" in kpis for minute, kpis in shown.items()}
    assert growing == {180: False, 200: False, 260: True}
