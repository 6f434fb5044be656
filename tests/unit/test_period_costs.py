"""Costs of periods: their forms, restatement, credits, and what windows have of them."""

from __future__ import annotations

import random
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.aggregates.period_cost import PeriodCost
from models.dead_letters import Reason
from models.scope import Scope
from models.window import DAY_MS, HOUR_MS, MINUTE_MS, PANE_MS, BusinessDay
from streams.engine.steps import at_once
from streams.ingest.events.cost_periods import PeriodError, period_of
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.storage.bucket_store import DAY_LEVEL, BucketStore, kept_ms
from streams.kpis.storage.cost_book import CostBook, Outcome, merged_stretches
from tests.support import oracle
from tests.support.compare import differences
from tests.support.offline import NOON, ClosedKey, Path, event, ingest_job, kpi_job, record

DAY = BusinessDay(ZoneInfo("UTC"))
MIDNIGHT = NOON - 12 * HOUR_MS
SHANGHAI = BusinessDay(ZoneInfo("Asia/Shanghai"))
LATE_DAY = BusinessDay(ZoneInfo("Asia/Shanghai"), starts_at=time(6))
JUNE_18 = 1_781_712_000_000
"""2026-06-18T00:00+08:00."""


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-06-18", 0, DAY_MS),
        (" 2026-06-18 ", 0, DAY_MS),
        ("2026-06", -17 * DAY_MS, 13 * DAY_MS),
        ("2026-06-16/2026-06-18", -2 * DAY_MS, DAY_MS),
        ("2026-06-18T10", 10 * HOUR_MS, 11 * HOUR_MS),
        ("2026-06-18t10", 10 * HOUR_MS, 11 * HOUR_MS),
        ("2026-06-18T10+08:00", 10 * HOUR_MS, 11 * HOUR_MS),
        ("2026-06-18T02Z", 10 * HOUR_MS, 11 * HOUR_MS),
        ("2026-06-18T02:00:00Z/2026-06-18T04:30:00Z", 10 * HOUR_MS, 12 * HOUR_MS + 30 * MINUTE_MS),
        ("2026-06-18T10/2026-06-18T12", 10 * HOUR_MS, 12 * HOUR_MS),
        ("2026-06-18T10:00:01/2026-06-18T10:00:12", 10 * HOUR_MS, 10 * HOUR_MS + 20_000),
    ],
)
def test_periods(text: str, start: int, end: int) -> None:
    """Dates are business days, the last is included; hours are local unless they have an offset."""
    assert period_of(text, day=SHANGHAI) == (JUNE_18 + start, JUNE_18 + end)


def test_business_days_of_a_period() -> None:
    """A date is the business day, also if that starts at 6:00."""
    start, end = period_of("2026-06-18", day=LATE_DAY)
    assert (start, end) == (JUNE_18 + 6 * HOUR_MS, JUNE_18 + 30 * HOUR_MS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("yesterday", "neither a date"),
        ("", "neither a date"),
        ("2026-06-31", "neither a date"),
        ("2026-W25", "neither a date"),
        ("2026-W25-3", "neither a date"),
        ("20260618", "neither a date"),
        ("2026-06-01/2026-W25", "neither a date"),
        ("2026-06-18/", "neither a date"),
        ("2026-06-18T10:30", "does not end after"),
        ("2026-06-18/2026-06-16", "does not end after"),
        ("2026-01-01/2026-03-01", "longer than 35 days"),
        ("9999-12", "neither a date"),
    ],
)
def test_impossible_periods(text: str, why: str) -> None:
    with pytest.raises(PeriodError, match=why):
        period_of(text, day=SHANGHAI)


def spend(amount: object, period: str | None = "2023-11-14", **fields: Any) -> dict[str, Any]:
    """Return a report of spend on search for c1, made at `NOON`."""
    body = {"campaign_id": "c1", "channel": "search", "amount": amount, "currency": "CNY"}
    body |= {"at": NOON, "event_id": "s"} | fields
    return event("spend_reported", **body, **({} if period is None else {"period": period}))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (spend(1, "soon"), Reason.INVALID_TIME),
        (spend(1, "2023-11-15"), Reason.FAR_FUTURE),
        (spend(1, "2023-10-09"), Reason.TOO_LATE),
        (spend(1, "1989-10-09"), Reason.FAR_PAST),
        (spend(1, currency="XXX"), Reason.UNKNOWN_CURRENCY),
        (spend(10**12), Reason.INVALID_AMOUNT),
    ],
)
def test_refused_costs(body: dict[str, Any], reason: Reason) -> None:
    """A cost that can't count is a dead letter; the detail names the period."""
    job = ingest_job("campaigns")
    job.apply([record(body, offset=0, at=NOON)])
    assert job.snapshot().early_outputs
    job = ingest_job("campaigns")
    job.apply([record(body, offset=0, at=NOON)])
    assert job._stats.dead_letters == {reason: 1}


def test_a_late_report_of_a_period_counts() -> None:
    """Its event time may be hours behind: it is not the time at which the cost counts."""
    job = ingest_job("campaigns")
    job.apply([record(spend(1, None), offset=0, at=NOON)])
    late = spend(5, "2023-11-12", at=NOON - 30 * HOUR_MS, event_id="t")
    job.apply([record(late, offset=1, at=NOON)])
    assert (job._stats.counted, job._stats.late, job._stats.dead_letters) == (2, 0, {})
    (cost,) = job._costs
    assert cost.units == 50_000
    assert (cost.from_ms, cost.covered_ms) == (MIDNIGHT - 2 * DAY_MS, MIDNIGHT - DAY_MS)


def test_the_part_of_a_period_that_has_passed() -> None:
    """The spend of today to date is spread over the hours until the report came."""
    job = ingest_job("campaigns")
    job.apply([record(spend(7), offset=0, at=NOON + 12_345)])
    (cost,) = job._costs
    assert (cost.from_ms, cost.covered_ms) == (MIDNIGHT, NOON + 10_000)
    assert cost.until_ms == MIDNIGHT + DAY_MS


def cost(
    units: int,
    *,
    first: int = 0,
    last: int = 6,
    at: int = 0,
    tie: int = 0,
    campaign: str = "c1",
    named: str = "",
) -> PeriodCost:
    """Return a cost over panes [first, last) since `NOON`, reported at a time."""
    start, end = (NOON + pane * PANE_MS for pane in (first, last))
    return PeriodCost(
        campaign,
        "search",
        "spend",
        start,
        end,
        end,
        units,
        NOON + at,
        tie,
        named_campaign=named or campaign,
        named_channel="search",
    )


def book(*costs: PeriodCost) -> CostBook:
    """Return a book with these costs."""
    made = CostBook(DAY, FacetIndex().number)
    for one in costs:
        made.record(one, at_offset=0)
    return made


def spent(made: CostBook, first: int, last: int) -> int:
    """Return the units in panes [first, last) since `NOON`, and check the number of reports."""
    columns = at_once(made.columns(NOON + first * PANE_MS, NOON + last * PANE_MS))
    return int(
        sum(
            value
            for place, value in zip(columns.places, columns.values, strict=True)
            if place % 65_536 == 7
        )
    )


def test_parts_of_a_cost() -> None:
    """Parts are rounded towards 0, and those of adjacent windows add up to the whole."""
    made = book(cost(100))
    assert [spent(made, pane, pane + 1) for pane in range(-1, 7)] == [0, 16, 17, 17, 16, 17, 17, 0]
    assert spent(made, -10, 10) == 100
    credit = book(cost(-100))
    assert [spent(credit, pane, pane + 1) for pane in range(6)] == [-16, -17, -17, -16, -17, -17]
    huge = book(cost(10**15, last=300_000))
    assert spent(huge, 0, 150_000) == 10**15 // 2


def test_outcomes() -> None:
    """The latest report of a period counts; of two of the same time the one with the higher tie."""
    made = book()
    minute = NOON, NOON + MINUTE_MS
    assert made.record(cost(100, at=5), at_offset=3) == (Outcome.NEW, minute)
    assert made.record(cost(90, at=4), at_offset=4).outcome is Outcome.SUPERSEDED
    assert made.record(cost(100, at=5), at_offset=5) == (Outcome.REPEATED, None)
    assert made.record(cost(80, at=6), at_offset=6) == (Outcome.RESTATED, minute)
    assert made.record(cost(80, at=7), at_offset=7) == (Outcome.RESTATED, None)
    assert made.record(cost(70, at=7, tie=1), at_offset=8).outcome is Outcome.RESTATED
    assert spent(made, 0, 6) == 70
    assert made.counts == (1, 3)


def test_a_replayed_report_corrects_its_windows_again() -> None:
    """After a crash the corrections of stored costs may be lost; later repetitions cost nothing."""
    made = book()
    made.record(cost(100), at_offset=8)
    (segment,) = made.take_segments()
    assert segment.write is not None
    restored = book()
    restored.restore(segment.key, segment.write())
    assert restored.stored_up_to == 8
    again = cost(100)
    assert restored.record(again, at_offset=8) == (Outcome.REPEATED, (NOON, NOON + MINUTE_MS))
    assert restored.record(again, at_offset=9) == (Outcome.REPEATED, None)


def test_a_campaign_that_is_defined_late() -> None:
    """A restatement replaces what came before the definition, and moves it to the campaign."""
    made = book(cost(100, campaign="(unknown)", named="late"))
    moved = made.record(cost(100, campaign="c1", named="late", at=1), at_offset=1)
    assert moved == (Outcome.RESTATED, (NOON, NOON + MINUTE_MS))
    assert spent(made, 0, 6) == 100
    by_other_name = made.record(cost(80, campaign="c1", named="c1", at=2), at_offset=2)
    assert by_other_name.outcome is Outcome.RESTATED
    assert spent(made, 0, 6) == 80


def test_unknown_campaigns_have_their_own_costs() -> None:
    """Costs of two campaigns that nobody defined add up."""
    made = book(*(cost(5, campaign="(unknown)", named=name) for name in ("a", "b")))
    assert spent(made, 0, 6) == 10


@given(st.permutations([0, 1, 2, 3]))
def test_one_cost_by_several_names(order: list[int]) -> None:
    """Whatever the order, the last report counts once, in the campaign that is known by then."""
    reports = [
        cost(1, campaign="(unknown)", named="late"),
        cost(2, campaign="c1", named="late", at=1),
        cost(2, campaign="(unknown)", named="late", at=1),
        cost(3, campaign="c1", named="c1", at=2),
    ]
    made = book(*(reports[place] for place in order))
    assert spent(made, 0, 6) == 3
    assert made.counts.kept == 1


costs = st.builds(
    cost,
    st.integers(-1_000, 1_000),
    first=st.integers(0, 3),
    last=st.integers(4, 9),
    at=st.integers(0, 3),
    tie=st.integers(0, 3),
    campaign=st.sampled_from(["c1", "c2"]),
)


@given(st.lists(costs, max_size=12), st.randoms(use_true_random=False))
def test_any_order_of_reports(reports: list[PeriodCost], shuffling: random.Random) -> None:
    """Whatever their order and repetition, sums are those of the last report of each period."""
    last: dict[tuple[Any, ...], PeriodCost] = {}
    for one in sorted(reports, key=lambda one: (one.reported_ms, one.tie, one.units)):
        if one.subject not in last or one.supersedes(last[one.subject]):
            last[one.subject] = one
    kept = list(last.values())
    again = [*kept, *reports]
    same = {(one.subject, one.reported_ms, one.tie): one for one in reversed(again)}
    shuffled = [same[one.subject, one.reported_ms, one.tie] for one in again]
    shuffling.shuffle(shuffled)
    made = book(*shuffled)
    assert spent(made, 0, 9) == sum(one.units for one in kept)
    assert sum(spent(made, pane, pane + 1) for pane in range(9)) == spent(made, 0, 9)


def test_stretches_that_changed() -> None:
    assert list(merged_stretches([(1, 3), (7, 9), (2, 5), (9, 10)])) == [(1, 5), (7, 10)]
    assert list(merged_stretches([])) == []


def test_old_costs_are_added_to_all_time() -> None:
    """Costs of days that are not kept any more are in the all-time bucket, also after a restart."""
    store = BucketStore(DAY)
    store.record_cost(cost(100), at_offset=0)
    store.record_cost(cost(50, first=-9_000, last=-8_990), at_offset=0)

    def all_time(of: BucketStore, end: int) -> int:
        totals = at_once(of.totals(0, end))
        return totals[Scope("campaign", "c1")].sums[7]

    later = NOON + kept_ms()[DAY_LEVEL] + DAY_MS
    segments: dict[bytes, bytes] = {}
    for frontier_ms in (NOON + DAY_MS, later):
        assert all_time(store, frontier_ms) == 150
        at_once(store.expire(frontier_ms))
        for segment in store.take_segments():
            if segment.write is None:
                segments.pop(segment.key, None)
            else:
                segments[segment.key] = segment.write()
    assert all_time(store, later) == 150
    expired = store.record_cost(cost(7, first=-9_000, last=-8_990), at_offset=1)
    assert expired.outcome is Outcome.EXPIRED
    restored = BucketStore(DAY)
    at_once(restored.restore(segments, frontier_ms=later))
    assert all_time(restored, later) == 150


def test_restated_windows() -> None:
    """A restatement corrects the closed windows of its period; the KPIs are those of SQL.

    Spend of 14 November until noon is reported at noon, and again with a credit at 13:00. Short
    windows have their part of it, and clicks their cost. Of these the last are corrected, of the
    longer ones all that are still kept.
    """
    path = Path()
    clicks = [
        event(
            "click",
            at=NOON - 3 * HOUR_MS + minute * MINUTE_MS,
            event_id=f"c{minute}",
            channel="search",
            campaign_id="c1",
        )
        for minute in range(180)
    ]
    path.now_ms = NOON
    path.feed(clicks)
    path.feed([spend(2_400)])
    path.finish()
    at = ClosedKey("5m", NOON - MINUTE_MS + PANE_MS, "campaign", "c1")
    assert path.closed[at]["spend"][0] == pytest.approx(2_400 / 12 / 12, abs=0.01)
    assert path.closed[at]["cpc"][0] == pytest.approx(2_400 / 12 / 12 / 5, abs=0.01)

    path.now_ms = NOON + HOUR_MS
    path.feed([spend(1_950, at=NOON + HOUR_MS, event_id="again")])
    path.feed([spend(9_999, at=NOON - HOUR_MS, event_id="old")])
    path.kpis = kpi_job(saved=path.saved)
    path.finish()
    assert path.closed[at]["spend"][0] == pytest.approx(1_950 / 13 / 12, abs=0.01)
    assert path.kpis.view is not None
    assert path.kpis.view.costs == (1, 1)

    rows = [
        {
            "event_time_ms": one["event_time"],
            "kind": "click",
            "user_id": one["user_id"],
            "campaign": "c1",
            "channel": "search",
        }
        for one in clicks
    ]
    covered = NOON + HOUR_MS
    rows.append(
        {
            "event_time_ms": MIDNIGHT,
            "until_ms": covered,
            "kind": "spend",
            "campaign": "c1",
            "channel": "search",
            "amount": 19_500_000,
        }
    )
    ends = [key[:2] for key in path.closed if key.window not in {"1m", "5m"}]
    asked = [(window, oracle.window_start(window, end, "UTC"), end) for window, end in set(ends)]
    expected = oracle.values(
        pl.DataFrame(rows, schema=oracle.SCHEMA), asked, "UTC", compared=path.compared
    )
    assert len(expected) > 500
    assert not differences(
        {key: values for key, values in path.closed.items() if key in expected}, expected
    )


def test_costs_move_to_a_campaign_that_is_defined_late() -> None:
    """A day's cost is reported, then the campaign is defined, then the cost is restated."""
    path = Path()
    path.now_ms = NOON
    path.feed([spend(100, campaign_id="Late")])
    path.feed([event("click", at=NOON)])
    path.finish()
    path.feed([event("campaign_defined", at=NOON + 1, event_id="d", campaign_id="late", name="L")])
    path.now_ms = NOON + HOUR_MS
    path.feed([spend(240, at=path.now_ms, event_id="again", campaign_id="Late")])
    path.finish()
    view = path.kpis.view
    assert view is not None
    spends = {
        scope.campaign: values["spend"].value
        for scope, values in view.latest["day"].values.items()
        if scope.kind in {"all", "campaign"} and "spend" in values
    }
    assert spends[""] == spends["late"] == pytest.approx(240, abs=0.5)
    assert spends.get("(unknown)", 0) == 0
